//! `car inspect` and `car verify`, which need no repository.

use std::io::Read;

use peerage_content::{hash, name};
use peerage_peer::{CarCheck, CarProblem, check_car};

use super::super::{look, without_repository};
use super::{bad, input, progress, read_kind};
use crate::api::{CarFound, CarKind, CarLook, CarSummary, CarV2, Event, Failure, Kind};
use crate::backend::{Cancel, Sink};
use crate::render::Output;

/// Looks at one file.
pub(crate) async fn look(request: CarLook, output: &Output, cancel: &Cancel) -> Result<(), Failure> {
    let CarLook { file, input, verify } = request;
    let work = async |out: Sink| {
        let (path, input) = input::open(&file, &mut input.into_iter()).await?;
        checked(&path, input, verify, &out).await
    };
    without_repository(output, cancel, work).await
}

async fn checked(
    path: &str,
    input: impl Read + Send + 'static,
    verifies: bool,
    out: &Sink,
) -> Result<(), Failure> {
    let how = if verifies { CarCheck::Verify } else { CarCheck::Inspect };
    let (summary, result) = check_car(input, how, progress(out, None)).await;
    for fault in &summary.faults {
        let told = bad(path, fault.cid, fault.offset, &fault.problem);
        let unchecked = matches!(fault.problem, CarProblem::Unchecked(_));
        out.send(if unchecked { Event::Unchecked(told) } else { Event::Bad(told) }).await;
    }
    if summary.header.is_some() {
        out.send(Event::Car(Box::new(told(path, &summary)))).await;
    }
    let shown = name::escape(path);
    result.map_err(|error| Failure::new(read_kind(&error), format!("{shown}: {error}")))?;
    let Some(found) = summary.found.filter(|found| !found.is_good()) else { return Ok(()) };
    // Nothing may be wrong, but nobody can rely on it either.
    let unknown = peerage_peer::CarFound { unchecked: 0, ..found.clone() }.is_good();
    let message = match found.unchecked {
        1 if unknown => format!("{shown}: nothing is wrong, but 1 block could not be checked"),
        blocks if unknown => format!("{shown}: nothing is wrong, but {blocks} blocks could not be checked"),
        _ => format!("{shown} is not a whole and right CAR"),
    };
    Err(Failure::new(Kind::Verification, message))
}

fn told(path: &str, summary: &peerage_peer::CarSummary) -> CarSummary {
    let header = summary.header.as_ref();
    let kinds = |kinds: &std::collections::BTreeMap<u64, u64>, name: fn(u64) -> String| {
        kinds.iter().map(|(code, blocks)| CarKind { name: name(*code), blocks: *blocks }).collect()
    };
    CarSummary {
        path: path.to_owned(),
        version: header.map_or(0, peerage_content::car::Header::version),
        roots: header.iter().flat_map(|header| &header.roots).map(ToString::to_string).collect(),
        blocks: summary.blocks,
        bytes: summary.bytes,
        file_bytes: summary.file_bytes,
        largest_block: summary.largest,
        codecs: kinds(&summary.codecs, look::codec_name),
        hashes: kinds(&summary.hashes, hash_name),
        v2: header.and_then(|header| header.v2).map(|v2| CarV2 {
            data_offset: v2.data_offset,
            data_size: v2.data_size,
            index_offset: v2.index_offset,
            fully_indexed: v2.fully_indexed(),
        }),
        found: summary.found.as_ref().map(|found| CarFound {
            bad: found.bad_blocks,
            unchecked: found.unchecked,
            missing: found.missing,
            repeated: found.repeated,
            unreadable: found.unreadable,
            index_entries: found.index_entries,
            index_wrong: found.index_wrong,
            not_indexed: found.not_indexed,
        }),
    }
}

fn hash_name(code: u64) -> String {
    match hash::Algorithm::try_from(code) {
        Ok(algorithm) => algorithm.to_string(),
        Err(_) if code == hash::IDENTITY => "identity".to_owned(),
        Err(_) => format!("0x{code:x}"),
    }
}
