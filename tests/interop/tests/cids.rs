//! The same input has the same CID everywhere: `peerage add --only-hash`
//! against what Helia computes in both profiles, and Kubo in the one that it
//! has.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context as _, Result, ensure};
use peerage_interop::helia::Hashed;
use peerage_interop::inputs::{self, Input, Size};
use peerage_interop::kubo::Kind;
use peerage_interop::{Helia, Kubo, Peerage, Profile};

/// What Helia calls a folder of one block, and a sharded one.
const FOLDER: &str = "directory";
const SHARDED: &str = "hamt-sharded-directory";

/// A folder full of inputs, and the profiles to try them in.
struct Set {
    folder: PathBuf,
    inputs: Vec<Input>,
    profiles: &'static [Profile],
}

impl Set {
    fn new(
        folder: PathBuf,
        profiles: &'static [Profile],
        generate: impl FnOnce(&Path) -> Result<Vec<Input>>,
    ) -> Result<Self> {
        fs::create_dir(&folder)?;
        Ok(Self { inputs: generate(&folder)?, folder, profiles })
    }
}

/// By the input's name, in each profile of the set.
type Answers<T> = Vec<(Profile, BTreeMap<String, T>)>;

fn ours(set: &Set) -> Result<Answers<String>> {
    let paths: Vec<PathBuf> = set.inputs.iter().map(|input| input.path.clone()).collect();
    let peerage = Peerage::new()?;
    let in_profile = |&profile| {
        let cids = peerage.hash_each(&paths, profile)?;
        ensure!(cids.len() == paths.len(), "{} CIDs of {} inputs", cids.len(), paths.len());
        Ok((profile, set.inputs.iter().map(Input::name).zip(cids).collect()))
    };
    set.profiles.iter().map(in_profile).collect()
}

fn helias(set: &Set) -> Result<Answers<Hashed>> {
    let mut helia = Helia::start()?;
    set.profiles.iter().map(|&profile| Ok((profile, helia.hash_each(&set.folder, profile)?))).collect()
}

fn kubos(set: &Set) -> Result<BTreeMap<String, String>> {
    let mut kubo = Kubo::start(Kind::Noise)?;
    set.inputs.iter().map(|input| Ok((input.name(), kubo.hash(&input.path)?))).collect()
}

/// How the answers of Helia differ from ours.
fn differences_from_helia(
    set: &Set,
    ours: &Answers<String>,
    helias: &Answers<Hashed>,
) -> Result<Vec<String>> {
    let mut differences = Vec::new();
    for ((profile, ours), (_, helias)) in ours.iter().zip(helias) {
        ensure!(helias.len() == ours.len(), "{} CIDs of Helia, {} of ours", helias.len(), ours.len());
        for input in &set.inputs {
            let name = input.name();
            let helia = helias.get(&name).with_context(|| format!("Helia left out {name:?}"))?;
            // Without this the sizes could be beside the mark, and nobody would notice.
            if let Size::Edge(of, above) = input.size
                && of == *profile
            {
                let kind = if above > 0 { SHARDED } else { FOLDER };
                ensure!(helia.kind == kind, "{name:?} is a {} in Helia, not a {kind}", helia.kind);
            }
            // Helia measures a folder without those of its sub-folders that are not empty.
            if input.size == Size::Subfolders {
                ensure!(helia.kind == FOLDER, "Helia counts sub-folders now: compare {name:?} as well");
            } else if helia.cid != ours[&name] {
                let (theirs, ours) = (&helia.cid, &ours[&name]);
                differences.push(format!("{name:?}: {theirs} in Helia, {ours} in ours"));
            }
        }
    }
    Ok(differences)
}

/// How the answers of Kubo differ from ours.
fn differences_from_kubo(
    set: &Set,
    ours: &Answers<String>,
    kubos: &BTreeMap<String, String>,
) -> Result<Vec<String>> {
    let mut differences = Vec::new();
    let of_profile = ours.iter().find(|(profile, _)| *profile == Profile::V0);
    let (_, ours) = of_profile.context("no CIDs of ours in Kubo's profile")?;
    for input in &set.inputs {
        let name = input.name();
        let (theirs, ours) = (&kubos[&name], &ours[&name]);
        // Kubo before 0.40 shards a folder that is just as large as the threshold.
        let same_expected = input.size != Size::Edge(Profile::V0, 0);
        if (theirs == ours) != same_expected {
            differences.push(format!("{name:?}: {theirs} in Kubo, {ours} in ours"));
        }
    }
    Ok(differences)
}

#[test]
fn cids_are_those_of_helia_and_kubo() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let many = Set::new(dir.path().join("many"), &Profile::ALL, inputs::generate)?;
    ensure!(many.inputs.len() >= 200, "only {} inputs", many.inputs.len());
    // Their size means nothing to the other profile.
    let huge = Set::new(dir.path().join("huge"), &[Profile::V1], inputs::generate_huge)?;

    let differences = thread::scope(|scope| {
        let kubos = scope.spawn(|| kubos(&many));
        let helias = scope.spawn(|| anyhow::Ok((self::helias(&many)?, self::helias(&huge)?)));
        let (ours_many, ours_huge) = (ours(&many)?, ours(&huge)?);
        let (helias_many, helias_huge) = helias.join().expect("no panic")?;
        let mut differences = differences_from_helia(&many, &ours_many, &helias_many)?;
        differences.extend(differences_from_helia(&huge, &ours_huge, &helias_huge)?);
        differences.extend(differences_from_kubo(&many, &ours_many, &kubos.join().expect("no panic")?)?);
        anyhow::Ok(differences)
    })?;
    ensure!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
    Ok(())
}
