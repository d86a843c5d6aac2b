//! JSON lines of bounded length over an async stream.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt};

use super::LINE_MAX;

/// The next line as a `T`; `None` at the end of the stream.
pub(crate) async fn read<T: DeserializeOwned>(
    from: &mut (impl AsyncBufRead + Unpin),
) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    loop {
        let buffer = from.fill_buf().await?;
        if buffer.is_empty() {
            // Half a line is what a process leaves that was killed.
            return Ok(None);
        }
        let end = buffer.iter().position(|&byte| byte == b'\n');
        let taken = end.map_or(buffer.len(), |end| end + 1);
        if line.len() + taken > LINE_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a control line that is too long"));
        }
        line.extend_from_slice(&buffer[..taken]);
        from.consume(taken);
        if end.is_some() {
            let value = serde_json::from_slice(&line);
            return value.map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
        }
    }
}

/// Writes `value` as a line, waiting for the other side to read.
pub(crate) async fn write<T: Serialize>(to: &mut (impl AsyncWrite + Unpin), value: &T) -> io::Result<()> {
    to.write_all(&encode(value)?).await?;
    to.flush().await
}

/// `value` as a line.
pub(crate) fn encode<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::BufReader;

    #[tokio::test]
    async fn lines_come_back_and_the_last_half_does_not() {
        let mut bytes = Vec::new();
        write(&mut bytes, &"a\nb").await.unwrap();
        write(&mut bytes, &"c").await.unwrap();
        bytes.extend(b"\"cut");
        let mut reader = BufReader::with_capacity(3, &bytes[..]);
        assert_eq!(read::<String>(&mut reader).await.unwrap().as_deref(), Some("a\nb"));
        assert_eq!(read::<String>(&mut reader).await.unwrap().as_deref(), Some("c"));
        assert_eq!(read::<String>(&mut reader).await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_endless_line_is_refused() {
        let bytes = vec![b' '; LINE_MAX + 1];
        let error = read::<String>(&mut BufReader::new(&bytes[..])).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(read::<String>(&mut BufReader::new(&b"{\n"[..])).await.is_err());
    }
}
