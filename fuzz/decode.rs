//! One decoder of the table under libFuzzer: the one that `PEERAGE_DECODER` names,
//! so that all of them are built and linked once. `cargo xtask fuzz` runs it.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use peerage_decoders::{Decoder, decoder};

/// Names the decoder.
const DECODER: &str = "PEERAGE_DECODER";

static CHOSEN: OnceLock<&'static Decoder> = OnceLock::new();

fn choose() -> &'static Decoder {
    let name = std::env::var(DECODER).unwrap_or_default();
    decoder(&name)
        .unwrap_or_else(|| panic!("{DECODER}={name} names no decoder; `cargo xtask fuzz --list` does"))
}

fuzz_target!(|bytes: &[u8]| {
    (CHOSEN.get_or_init(choose).run)(bytes);
});
