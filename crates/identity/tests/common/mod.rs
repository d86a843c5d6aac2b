//! Reading the published vectors.

use serde_json::Value;

/// The JSON file `path` below `tests/vectors`.
pub(crate) fn vectors(path: &str) -> Value {
    serde_json::from_slice(&bytes(path)).expect("JSON")
}

/// The bytes of the file `path` below `tests/vectors`.
pub(crate) fn bytes(path: &str) -> Vec<u8> {
    let full = format!("{}/../../tests/vectors/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&full).unwrap_or_else(|error| panic!("{full}: {error}"))
}

/// The rows of the list `name`; fails if there are none.
pub(crate) fn rows<'a>(file: &'a Value, name: &str) -> &'a [Value] {
    let rows = file[name].as_array().unwrap_or_else(|| panic!("no list `{name}`"));
    assert!(!rows.is_empty(), "`{name}` is empty");
    rows
}

/// The text in the field `name`.
pub(crate) fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap_or_else(|| panic!("no text `{name}` in {row}"))
}

/// The bytes in the field `name`, which is hexadecimal.
pub(crate) fn hex(row: &Value, name: &str) -> Vec<u8> {
    hex::decode(text(row, name)).expect("hexadecimal")
}
