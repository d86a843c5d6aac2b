//! A router (`/routing/v1`) that gives everyone the same answer, or none.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use anyhow::{Context as _, Result};

use crate::process::PATIENCE;

/// A running router. Its thread ends with the test's process.
#[derive(Debug)]
pub struct Router {
    /// For `--router`.
    pub url: String,
    asked: Receiver<String>,
}

impl Router {
    /// Answers every question with these peers, given as (id, address); or
    /// keeps who asks waiting.
    ///
    /// # Errors
    /// If the system gives no port.
    pub fn start(peers: Option<&[(&str, &str)]>) -> Result<Self> {
        Self::start_speaking(&["transport-bitswap"], peers)
    }

    /// The same of peers that are said to speak these protocols.
    ///
    /// # Errors
    /// As [`Router::start`].
    pub fn start_speaking(protocols: &[&str], peers: Option<&[(&str, &str)]>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let record = |(id, addr): &(&str, &str)| {
            serde_json::json!({
                "Schema": "peer", "ID": id, "Addrs": [addr], "Protocols": protocols,
            })
        };
        let records = peers.map(|peers| peers.iter().map(record).collect::<Vec<_>>());
        let (sender, asked) = channel();
        thread::spawn(move || {
            let mut waiting = Vec::new();
            for stream in listener.incoming().map_while(Result::ok) {
                let Ok(path) = path(&stream) else { continue };
                match &records {
                    Some(records) => drop(answer(&stream, &path, records)),
                    None => waiting.push(stream),
                }
                if sender.send(path).is_err() {
                    break;
                }
            }
        });
        Ok(Self { url, asked })
    }

    /// The path of the next question.
    ///
    /// # Errors
    /// If none comes.
    pub fn question(&self) -> Result<String> {
        self.asked.recv_timeout(PATIENCE).context("the router was asked nothing")
    }
}

/// The path of a request, whose head is read to its end.
fn path(stream: &TcpStream) -> Result<String> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().context("no request")??;
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    Ok(first.split(' ').nth(1).context("no path")?.to_owned())
}

fn answer(mut stream: &TcpStream, path: &str, records: &[serde_json::Value]) -> Result<()> {
    let list = if path.contains("/providers/") { "Providers" } else { "Peers" };
    let body = serde_json::json!({ list: records }).to_string();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    Ok(stream.flush()?)
}
