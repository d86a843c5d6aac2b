//! A DAG of dag-cbor and dag-json with a UnixFS file at the end of its links.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use crate::helia::Helia;
use crate::profile::Profile;

/// What a Helia holds: a node of dag-cbor that links to one of dag-json, that
/// to another of dag-cbor, that to a file.
#[derive(Debug)]
pub struct Dag {
    /// The dag-cbor node above all others.
    pub cbor: String,
    /// The dag-json node below it.
    pub json: String,
    /// What these two hold, in DAG-JSON.
    pub nodes: [Value; 2],
    /// The file.
    pub file: String,
}

impl Dag {
    /// Made by `helia` above the file at `path`.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn new(helia: &mut Helia, path: &Path) -> Result<Self> {
        let file = helia.add(path, Profile::V1)?;
        let lowest = helia.put("dag-cbor", &json!({ "file": { "/": file } }))?;
        let below = json!({ "lowest": { "/": lowest }, "note": "größe" });
        let json = helia.put("dag-json", &below)?;
        let top = json!({
            "below": { "json": { "/": json } },
            "list": [true, { "/": file }],
            "number": -1.5,
            "raw": { "/": { "bytes": "AAEC" } },
        });
        let cbor = helia.put("dag-cbor", &top)?;
        Ok(Self { cbor, json, nodes: [top, below], file })
    }

    /// Paths to the file, each along other links.
    #[must_use]
    pub fn paths(&self) -> [String; 3] {
        [
            format!("{}/below/json/lowest/file", self.cbor),
            format!("{}/list/1", self.cbor),
            format!("{}/lowest/file", self.json),
        ]
    }
}
