//! Files: around the boundaries of chunks, around what a node has room for,
//! and of any size.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use anyhow::Result;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

use super::Inputs;
use crate::data;
use crate::profile::Profile;

/// How many files of any size.
const RANDOM: usize = 70;

/// The largest of them has fewer bytes than two to this power.
const RANDOM_BITS: u32 = 22;

pub(super) fn generate(inputs: &mut Inputs<'_>) -> Result<()> {
    let mut lens = BTreeSet::from([0, 1, 2, 127, 128]);
    for chunk in Profile::ALL.map(Profile::chunk) {
        for end in [chunk, 2 * chunk, 3 * chunk] {
            lens.extend([end - 1, end, end + 1]);
        }
    }
    // A node of the profile with small chunks holds 45.6 MB, one of two levels 7.9 GB.
    let full = Profile::V0.chunk() * Profile::V0.width();
    lens.extend([full - 1, full, full + 1, full + Profile::V0.chunk() + 1, 2 * full + 1]);
    for (seed, len) in lens.into_iter().enumerate() {
        data::file(&inputs.file(&format!("file of {len}")), len, seed as u64)?;
    }

    let mut random = ChaCha8Rng::seed_from_u64(1000);
    for i in 0..RANDOM {
        let mask = (1 << (random.next_u32() % RANDOM_BITS + 1)) - 1;
        let len = random.next_u32() & mask;
        data::file(&inputs.file(&format!("random file {i} of {len}")), len as usize, random.next_u64())?;
    }

    for len in [Profile::V1.chunk(), full, full + 1] {
        File::create_new(inputs.file(&format!("zeros {len}")))?.set_len(len as u64)?;
    }
    Ok(())
}

/// Files with a number at the start of each chunk and holes elsewhere.
pub(super) fn huge(inputs: &mut Inputs<'_>) -> Result<()> {
    let (chunk, width) = (Profile::V1.chunk() as u64, Profile::V1.width() as u64);
    for len in [chunk * width, chunk * width + 1] {
        let file = File::create_new(inputs.file(&format!("huge file of {len}")))?;
        for number in 0..width {
            file.write_all_at(&number.to_be_bytes(), number * chunk)?;
        }
        file.set_len(len)?;
    }
    Ok(())
}
