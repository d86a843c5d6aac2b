//! A plain TCP stream, which is what a transfer is measured beside: one process sends
//! bytes, another takes them. Neither sets any option of its socket, so that the kernel
//! sizes the buffers.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use anyhow::{Context as _, Result, ensure};
use clap::Subcommand;

/// Bytes that are written, or may be read, by one call. Larger ones gain nothing.
const PIECE: usize = 256 << 10;

/// What a sender prints once it can be connected to.
pub(crate) const READY: &str = "ready";

/// The two processes.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum Stream {
    /// Waits for one connection and sends so many bytes
    #[command(hide = true)]
    Send { at: SocketAddr, bytes: u64 },
    /// Connects and takes so many bytes
    #[command(hide = true)]
    Receive { from: SocketAddr, bytes: u64 },
}

impl Stream {
    /// Does it.
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::Send { at, bytes } => send(&TcpListener::bind(at).context("listening")?, bytes),
            Self::Receive { from, bytes } => receive(from, bytes),
        }
    }

    /// The arguments that stand for it.
    pub(crate) fn args(self) -> [String; 3] {
        match self {
            Self::Send { at, bytes } => ["send".to_owned(), at.to_string(), bytes.to_string()],
            Self::Receive { from, bytes } => ["receive".to_owned(), from.to_string(), bytes.to_string()],
        }
    }
}

fn send(listener: &TcpListener, bytes: u64) -> Result<()> {
    println!("{READY}");
    let (mut stream, _) = listener.accept().context("accepting")?;
    let piece = vec![0x5a; PIECE];
    let mut left = bytes;
    while left > 0 {
        let some = left.min(PIECE as u64);
        stream.write_all(&piece[..usize::try_from(some)?]).context("sending")?;
        left -= some;
    }
    stream.shutdown(Shutdown::Write)?;
    // It ends when the other has all of it.
    let answer = stream.read_to_end(&mut Vec::new())?;
    ensure!(answer == 0, "the receiver answered");
    Ok(())
}

fn receive(from: SocketAddr, bytes: u64) -> Result<()> {
    let mut stream = TcpStream::connect(from).with_context(|| format!("connecting to {from}"))?;
    let mut piece = vec![0; PIECE];
    let mut taken = 0;
    loop {
        match stream.read(&mut piece).context("receiving")? {
            0 => break,
            some => taken += some as u64,
        }
    }
    ensure!(taken == bytes, "{taken} bytes came, not {bytes}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn all_bytes_come_and_fewer_are_an_error() {
        for (sent, wanted) in [(3 * PIECE as u64 + 5, 3 * PIECE as u64 + 5), (10, 11)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let at = listener.local_addr().unwrap();
            let sender = thread::spawn(move || send(&listener, sent));
            assert_eq!(receive(at, wanted).is_ok(), sent == wanted);
            sender.join().unwrap().unwrap();
        }
    }
}
