//! What is allowed inside a component, and the text forms that need more than
//! `Display`: Tor, I2P, HTTP paths.
//!
//! Rules are such that text and bytes map one to one: no text value has an
//! empty form, a control character, or a slash where a component would end.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, BASE64, Encoding, Specification};
use peerage_wire::varint;

use crate::limits::DNS_NAME_MAX_BYTES;

/// A decimal number without sign.
pub(super) fn number<T: FromStr>(text: &str) -> Option<T> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// A value that is one path segment.
pub(super) fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|c| c == '/' || c.is_control())
}

/// Printable ASCII: whatever a resolver may take, nothing that a terminal acts on.
pub(super) fn is_dns_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= DNS_NAME_MAX_BYTES
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b'/')
}

pub(super) fn is_unix_path(path: &str) -> bool {
    path.len() > 1 && path.starts_with('/') && !path.ends_with('/') && !path.chars().any(char::is_control)
}

pub(super) fn is_http_path(path: &str) -> bool {
    !path.is_empty()
}

pub(super) fn is_garlic64(bytes: &[u8]) -> bool {
    // An I2P destination is at least 386 bytes (go-multiaddr).
    bytes.len() >= 386
}

pub(super) fn is_garlic32(bytes: &[u8]) -> bool {
    // A plain hash, or an encrypted destination of 35 and more (go-multiaddr).
    bytes.len() == 32 || bytes.len() >= 35
}

/// True if `bytes` are exactly one multihash, of whatever function.
pub(super) fn is_multihash(mut bytes: &[u8]) -> bool {
    let bytes = &mut bytes;
    let code = varint::take(bytes);
    let len = varint::take(bytes);
    code.is_some() && len == Some(bytes.len() as u64)
}

/// `/HASH:PORT`, both forms of Tor address.
pub(super) fn write_onion(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    let (hash, port) = bytes.split_at(bytes.len() - 2);
    let port = u16::from_be_bytes([port[0], port[1]]);
    write!(f, "/{}:{port}", BASE32_NOPAD.encode(hash).to_ascii_lowercase())
}

pub(super) fn onion_bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (hash, port) = text.split_once(':')?;
    let port: u16 = number(port).filter(|&port| port != 0)?;
    let mut bytes = BASE32_NOPAD.decode(hash.to_ascii_uppercase().as_bytes()).ok()?;
    bytes.extend(port.to_be_bytes());
    bytes.try_into().ok()
}

/// I2P's own alphabet: `-` and `~` where base64 has `+` and `/`.
fn i2p_base64() -> Encoding {
    let mut spec: Specification = BASE64.specification();
    spec.symbols = spec.symbols.replace('+', "-").replace('/', "~");
    spec.encoding().expect("64 different symbols")
}

pub(super) fn garlic64_text(bytes: &[u8]) -> String {
    i2p_base64().encode(bytes)
}

pub(super) fn garlic64_bytes(text: &str) -> Option<Vec<u8>> {
    i2p_base64().decode(text.as_bytes()).ok()
}

pub(super) fn garlic32_text(bytes: &[u8]) -> String {
    BASE32_NOPAD.encode(bytes).to_ascii_lowercase()
}

/// Bits beyond the last whole byte are ignored, as I2P and go-multiaddr do.
pub(super) fn garlic32_bytes(text: &str) -> Option<Vec<u8>> {
    let mut spec = BASE32_NOPAD.specification();
    spec.check_trailing_bits = false;
    let lax = spec.encoding().expect("the standard alphabet");
    lax.decode(text.to_ascii_uppercase().as_bytes()).ok()
}

/// Everything outside RFC 3986's unreserved characters as `%XX`.
pub(super) fn write_percent_encoded(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                f.write_char(byte.into())?;
            }
            _ => write!(f, "%{byte:02X}")?,
        }
    }
    Ok(())
}

/// The reverse; `+` is a space, since go-multiaddr writes one so.
pub(super) fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (&[high, low], tail) = rest.split_first_chunk()?;
                rest = tail;
                u8::try_from(char::from(high).to_digit(16)? * 16 + char::from(low).to_digit(16)?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}
