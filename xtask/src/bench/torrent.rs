//! A BitTorrent description of one file, and a tracker for its peers.
//!
//! BEP 3 and, for the compact peer list, BEP 23; just what `aria2c` needs to
//! find others on loopback.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use sha1::{Digest as _, Sha1};

/// As the blocks of our own default profile.
const PIECE_LEN: usize = 1 << 20;

/// How long a seeder may check its file before it announces itself.
const SEEDER_READY: Duration = Duration::from_secs(300);

/// How long a getter may take.
const GETTER_DONE: Duration = Duration::from_secs(900);

/// The `.torrent` file of `source`, whose keys are sorted as BEP 3 demands.
pub(crate) fn describe(source: &Path, announce: &str) -> Result<Vec<u8>> {
    let name = source.file_name().and_then(|name| name.to_str()).context("a file name in UTF-8")?;
    let mut file = File::open(source).with_context(|| format!("opening {}", source.display()))?;
    let (mut pieces, mut len) = (Vec::new(), 0);
    let mut piece = Vec::with_capacity(PIECE_LEN);
    loop {
        piece.clear();
        let some = (&mut file).take(PIECE_LEN as u64).read_to_end(&mut piece)?;
        if some == 0 {
            break;
        }
        pieces.extend_from_slice(&Sha1::digest(&piece));
        len += some;
    }
    let mut out = Vec::new();
    out.push(b'd');
    string(&mut out, b"announce");
    string(&mut out, announce.as_bytes());
    string(&mut out, b"info");
    out.push(b'd');
    string(&mut out, b"length");
    integer(&mut out, len);
    string(&mut out, b"name");
    string(&mut out, name.as_bytes());
    string(&mut out, b"piece length");
    integer(&mut out, PIECE_LEN);
    string(&mut out, b"pieces");
    string(&mut out, &pieces);
    out.extend_from_slice(b"ee");
    Ok(out)
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(format!("{}:", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
}

fn integer(out: &mut Vec<u8>, value: usize) {
    out.extend_from_slice(format!("i{value}e").as_bytes());
}

/// A tracker on a free port of loopback, until dropped. Its peers are all at
/// 127.0.0.1, told apart by port.
pub(crate) struct Tracker {
    port: u16,
    seeders: Receiver<()>,
    /// When each of the others said that it had everything.
    done: Receiver<Instant>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Tracker {
    /// Starts one.
    pub(crate) fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let (tell_seeder, seeders) = channel();
        let (tell_done, done) = channel();
        let ended = Arc::new(AtomicBool::new(false));
        let thread = {
            let ended = Arc::clone(&ended);
            thread::spawn(move || {
                let mut ports = BTreeSet::new();
                for client in listener.incoming().map_while(Result::ok) {
                    if ended.load(Ordering::Relaxed) {
                        break;
                    }
                    // A client that breaks off is no concern of the next one.
                    answer(&client, &mut ports, &tell_seeder, &tell_done).ok();
                }
            })
        };
        Ok(Self { port, seeders, done, ended, thread: Some(thread) })
    }

    /// What a `.torrent` file names.
    pub(crate) fn announce_url(&self) -> String {
        format!("http://127.0.0.1:{}/announce", self.port)
    }

    /// Waits until one more peer announced that it has everything from the start.
    pub(crate) fn wait_for_seeder(&self) -> Result<()> {
        self.seeders.recv_timeout(SEEDER_READY).context("no seeder announced itself")
    }

    /// Waits until one more peer announced that it has got everything; when that was.
    pub(crate) fn wait_for_getter(&self) -> Result<Instant> {
        self.done.recv_timeout(GETTER_DONE).context("a getter did not finish")
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the thread from its wait for a client.
        TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn answer(
    mut client: &TcpStream,
    ports: &mut BTreeSet<u16>,
    seeders: &Sender<()>,
    done: &Sender<Instant>,
) -> Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut lines = BufReader::new(client).take(16 << 10).lines();
    let request = lines.next().context("an empty request")??;
    // To the end of the headers, or closing would reset the connection.
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let number = |key: &str| parameter(&request, key).and_then(|value| value.parse::<u64>().ok());
    let others: Vec<u8> =
        ports.iter().flat_map(|port| [[127, 0, 0, 1].as_slice(), &port.to_be_bytes()].concat()).collect();
    if let Some(port) = number("port").and_then(|port| u16::try_from(port).ok()) {
        if parameter(&request, "event") == Some("stopped") {
            ports.remove(&port);
        } else {
            ports.insert(port);
        }
    }
    let mut body = Vec::new();
    body.push(b'd');
    string(&mut body, b"interval");
    integer(&mut body, 60);
    string(&mut body, b"peers");
    string(&mut body, &others);
    body.push(b'e');
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    client.write_all(&[head.as_bytes(), &body].concat())?;
    match parameter(&request, "event") {
        Some("completed") => done.send(Instant::now())?,
        Some("started") if number("left") == Some(0) => seeders.send(())?,
        _ => {}
    }
    Ok(())
}

/// A parameter of the request line `GET /announce?a=b&c=d HTTP/1.1`.
fn parameter<'a>(request: &'a str, key: &str) -> Option<&'a str> {
    let (_, query) = request.split(' ').nth(1)?.split_once('?')?;
    query
        .split('&')
        .find_map(|pair| pair.split_once('=').filter(|(name, _)| *name == key).map(|(_, value)| value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torrent_is_bencoded() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x");
        std::fs::write(&file, b"abc").unwrap();
        let torrent = describe(&file, "u").unwrap();
        let (head, tail) = torrent.split_at(torrent.len() - 22);
        assert_eq!(
            std::str::from_utf8(head).unwrap(),
            "d8:announce1:u4:infod6:lengthi3e4:name1:x12:piece lengthi1048576e6:pieces20:"
        );
        assert_eq!(tail[..4], [0xa9, 0x99, 0x3e, 0x36], "SHA-1 of abc");
    }

    #[test]
    fn the_second_peer_hears_of_the_first() {
        let tracker = Tracker::start().unwrap();
        let announce = |query: &str| {
            let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, tracker.port)).unwrap();
            write!(client, "GET /announce?{query} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).unwrap();
            answer
        };
        assert!(announce("port=258&event=started&left=0").ends_with(b"5:peers0:e"));
        tracker.wait_for_seeder().unwrap();
        assert!(announce("port=772&left=9").ends_with(b"5:peers6:\x7f\0\0\x01\x01\x02e"));
        announce("port=772&event=completed&left=0");
        tracker.wait_for_getter().unwrap();
        announce("port=258&event=stopped");
        assert!(announce("port=1&left=9").ends_with(b"5:peers6:\x7f\0\0\x01\x03\x04e"));
    }
}
