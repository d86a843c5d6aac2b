//! The ceiling of a transfer between two processes: what encrypting, hashing
//! and moving the bytes costs with one thread a side and no protocol at all.
//!
//!     ceiling send FILE         prints its port, serves one peer
//!     ceiling recv ADDR OUT     prints the seconds it took
//!
//! The sender reads 1 MiB pieces, seals Noise frames of 65,519 bytes and
//! writes TCP. The receiver reads 256 KiB, opens, hashes SHA-256 per MiB and
//! writes the file. The handshake (NN: nobody is authenticated) only makes keys.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};
use snow::{Builder, HandshakeState, TransportState};

/// Bytes read from the file at once, and hashed together.
const PIECE: usize = 1 << 20;
/// The largest Noise message less its tag.
const FRAME: usize = 65_519;
/// Bytes of the tag that follows what is sealed.
const TAG: usize = 16;
/// Bytes read from the socket at once.
const READ: usize = 256 << 10;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["send", file] => send(Path::new(file)),
        ["recv", addr, out] => receive(addr, Path::new(out)),
        _ => bail!("ceiling send FILE | ceiling recv ADDR OUT"),
    }
}

fn builder() -> Result<Builder<'static>> {
    Ok(Builder::new("Noise_NN_25519_ChaChaPoly_SHA256".parse()?))
}

fn send(path: &Path) -> Result<()> {
    let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?.port());
    let (mut socket, _) = listener.accept()?;
    socket.set_nodelay(true)?;
    let mut noise = shake_hands(builder()?.build_responder()?, &mut socket, false)?;

    let mut piece = vec![0; PIECE];
    let mut sealed = vec![0; PIECE + PIECE.div_ceil(FRAME) * (2 + TAG)];
    loop {
        let len = fill(&mut file, &mut piece)?;
        let mut end = 0;
        for frame in piece[..len].chunks(FRAME) {
            let size = noise.write_message(frame, &mut sealed[end + 2..])?;
            sealed[end..end + 2].copy_from_slice(&u16::try_from(size)?.to_be_bytes());
            end += 2 + size;
        }
        socket.write_all(&sealed[..end])?;
        if len < PIECE {
            return Ok(());
        }
    }
}

fn receive(addr: &str, out: &Path) -> Result<()> {
    let start = Instant::now();
    let mut file = File::create(out).with_context(|| format!("making {}", out.display()))?;
    let mut socket = TcpStream::connect(addr).with_context(|| format!("connecting to {addr}"))?;
    socket.set_nodelay(true)?;
    let mut noise = shake_hands(builder()?.build_initiator()?, &mut socket, true)?;

    let mut sealed = vec![0; READ + 2 + FRAME + TAG];
    let (mut held, mut blocks) = (0, Blocks::new());
    let mut piece = vec![0; PIECE + FRAME];
    let mut filled = 0;
    loop {
        let read = socket.read(&mut sealed[held..][..READ])?;
        if read == 0 {
            break;
        }
        held += read;
        let mut at = 0;
        while held - at >= 2 {
            let size = usize::from(u16::from_be_bytes([sealed[at], sealed[at + 1]]));
            if held - at < 2 + size {
                break;
            }
            filled += noise.read_message(&sealed[at + 2..at + 2 + size], &mut piece[filled..])?;
            at += 2 + size;
            if filled >= PIECE {
                blocks.take(&piece[..PIECE], &mut file)?;
                piece.copy_within(PIECE..filled, 0);
                filled -= PIECE;
            }
        }
        sealed.copy_within(at..held, 0);
        held -= at;
    }
    ensure!(held == 0, "the stream ended within a frame");
    if filled > 0 {
        blocks.take(&piece[..filled], &mut file)?;
    }
    println!("{:.3} s, {} bytes, {:02x?}..", start.elapsed().as_secs_f64(), blocks.bytes, &blocks.last[..4]);
    Ok(())
}

/// What a receiver does with a block: hash it, write it.
struct Blocks {
    bytes: u64,
    /// Printed, so that no compiler drops the hashing.
    last: [u8; 32],
}

impl Blocks {
    fn new() -> Self {
        Self { bytes: 0, last: [0; 32] }
    }

    fn take(&mut self, block: &[u8], file: &mut File) -> Result<()> {
        self.last = Sha256::digest(block).into();
        self.bytes += block.len() as u64;
        Ok(file.write_all(block)?)
    }
}

/// Two messages, each with its length in front.
fn shake_hands(mut state: HandshakeState, socket: &mut TcpStream, first: bool) -> Result<TransportState> {
    let mut message = [0; 128];
    let mut speak = first;
    while !state.is_handshake_finished() {
        if speak {
            let len = state.write_message(&[], &mut message)?;
            socket.write_all(&[&u16::try_from(len)?.to_be_bytes(), &message[..len]].concat())?;
        } else {
            let mut len = [0; 2];
            socket.read_exact(&mut len)?;
            let mut heard = vec![0; usize::from(u16::from_be_bytes(len))];
            socket.read_exact(&mut heard)?;
            state.read_message(&heard, &mut message)?;
        }
        speak = !speak;
    }
    Ok(state.into_transport_mode()?)
}

/// Reads until `buffer` is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            some => filled += some,
        }
    }
    Ok(filled)
}
