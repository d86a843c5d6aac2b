//! Writes the seeds of every decoder, or of those that are named, to their folders
//! below `fuzz/corpus`, each named by a digest of itself. What is there stays.

use std::fs;

use anyhow::{Context as _, Result};
use peerage_content::hash;
use peerage_decoders::{corpus, decoder, decoders};

fn main() -> Result<()> {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let named =
        names.iter().map(|name| decoder(name).with_context(|| format!("there is no decoder `{name}`")));
    let mut chosen = named.collect::<Result<Vec<_>>>()?;
    if chosen.is_empty() {
        chosen = decoders().collect();
    }
    for decoder in chosen {
        let folder = corpus(decoder.name);
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        for seed in (decoder.seeds)() {
            let digest = hash::digest(0x11, &seed)?;
            fs::write(folder.join(hex::encode(digest.digest())), seed)?;
        }
    }
    Ok(())
}
