//! The few parts of the protobuf wire format that dag-pb and UnixFS need: a
//! reader that walks the fields of a message in place, and a writer.
//!
//! Left out on purpose: groups, which neither format has.

use crate::limits::BLOCK_MAX;

/// The value of one field, still in the message's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64,
    Bytes { bytes: &'a [u8], at: usize },
    Fixed32(u32),
}

/// Bytes that are no protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The message ends inside a field.
    #[error("cut short")]
    Truncated,
    /// A number of more than 64 bits.
    #[error("a number that is too large")]
    Overflow,
    /// A wire type that does not exist or is not used, or field number 0.
    #[error("an unknown wire type or field number")]
    Key,
    /// More than a block may hold.
    #[error("larger than any block")]
    TooLarge,
}

/// Walks over the fields of a message.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    base: usize,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`, which start at offset `base` of their block.
    pub(crate) fn new(bytes: &'a [u8], base: usize) -> Result<Self, WireError> {
        if bytes.len() > BLOCK_MAX {
            return Err(WireError::TooLarge);
        }
        Ok(Self { bytes, at: 0, base })
    }

    /// The next field's number and value; none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, WireError> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| WireError::Key)?;
        if number == 0 {
            return Err(WireError::Key);
        }
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => {
                self.take(8)?;
                Value::Fixed64
            }
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| WireError::Truncated)?;
                let at = self.base + self.at;
                Value::Bytes { bytes: self.take(len)?, at }
            }
            5 => {
                let bytes = self.take(4)?;
                Value::Fixed32(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            }
            _ => return Err(WireError::Key),
        };
        Ok(Some((number, value)))
    }

    /// A bare varint; none at the end. For packed fields.
    pub(crate) fn next_varint(&mut self) -> Result<Option<u64>, WireError> {
        if self.at == self.bytes.len() { Ok(None) } else { self.varint().map(Some) }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..len).ok_or(WireError::Truncated)?;
        self.at += len;
        Ok(taken)
    }

    /// Longer than necessary forms pass, as in every protobuf reader.
    fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or(WireError::Truncated)?;
            self.at += 1;
            let low = u64::from(byte & 0x7f);
            if shift == 63 && low > 1 {
                return Err(WireError::Overflow);
            }
            value |= low << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(WireError::Overflow)
    }
}

/// Appends a varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Appends field `number` with a varint.
pub(crate) fn put_u64(out: &mut Vec<u8>, number: u32, value: u64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value);
}

/// Appends the key and length of field `number`, whose `len` bytes come next.
pub(crate) fn put_len(out: &mut Vec<u8>, number: u32, len: usize) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, len as u64);
}

/// Appends field `number` with bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_len(out, number, bytes.len());
    out.extend_from_slice(bytes);
}

/// Bytes that a varint takes.
pub(crate) const fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip_at_their_edges() {
        for bits in 0..64 {
            for value in [(1u64 << bits) - 1, 1 << bits, u64::MAX] {
                let mut out = Vec::new();
                put_u64(&mut out, 3, value);
                assert_eq!(out.len(), 1 + varint_len(value), "{value}");
                let mut reader = Reader::new(&out, 0).unwrap();
                assert_eq!(reader.next(), Ok(Some((3, Value::Varint(value)))));
                assert_eq!(reader.next(), Ok(None));
            }
        }
    }

    #[test]
    fn refuses_broken_fields() {
        for (bytes, error) in [
            (&[0x08][..], WireError::Truncated),
            (&[0x08, 0xff], WireError::Truncated),
            (&[0x0a, 5, 1], WireError::Truncated),
            (&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], WireError::Truncated),
            (&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], WireError::Overflow),
            (&[0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0], WireError::Overflow),
            (&[0x0b], WireError::Key),
            (&[0x00, 1], WireError::Key),
        ] {
            assert_eq!(Reader::new(bytes, 0).unwrap().next(), Err(error), "{bytes:?}");
        }
    }
}
