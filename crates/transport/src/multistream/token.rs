//! One token: a varint length, text, a newline that the length counts.

use peerage_wire::varint::{self, VarintError};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::NegotiateError;

/// The longest token, newline included, in bytes, as go-multistream.
pub const MAX_TOKEN: usize = 1024;

/// Bytes that are not a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The length is not a varint.
    #[error("its length: {0}")]
    Length(#[from] VarintError),
    /// Longer than [`MAX_TOKEN`].
    #[error("a token of {0} bytes, over the limit of {MAX_TOKEN}")]
    TooLong(u64),
    /// No newline at the end.
    #[error("a token without its newline")]
    NoNewline,
}

/// Appends `text` as a token.
pub(super) fn put(out: &mut Vec<u8>, text: &str) {
    varint::put(out, text.len() as u64 + 1);
    out.extend_from_slice(text.as_bytes());
    out.push(b'\n');
}

/// Reads one token, without its newline, and not a byte more.
pub(super) async fn read<T: AsyncRead + Unpin>(io: &mut T) -> Result<Vec<u8>, NegotiateError> {
    // Two bytes of varint reach 16,383, beyond the limit; a third is never
    // asked for, so that garbage is refused as early as possible.
    let mut prefix = [0u8; 2];
    let mut used = 0;
    let len = loop {
        prefix[used] = io.read_u8().await?;
        used += 1;
        match varint::decode(&prefix[..used]).map_err(TokenError::from)? {
            Some((len, _)) => break len,
            None if used == prefix.len() => return Err(TokenError::TooLong(1 << 14).into()),
            None => {}
        }
    };
    let fits = usize::try_from(len).ok().filter(|&len| len <= MAX_TOKEN).ok_or(TokenError::TooLong(len))?;
    let mut token = vec![0; fits];
    io.read_exact(&mut token).await?;
    if token.pop() != Some(b'\n') {
        return Err(TokenError::NoNewline.into());
    }
    Ok(token)
}
