//! What the answer of a hostile router costs: a process of its own, as the
//! peak of its memory is measured. Linux tells it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

use peerage_peer::router::{Limits, Router};

/// Room that an answer may take, in bytes: the text itself, as it grows and as
/// it is received, and what is kept of it. A tree of values takes 100 MB.
const ROOM: u64 = 16 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_answer_takes_little_more_than_its_text() {
    let size = Limits::default().body - 100;
    let many = |item: &str| vec![item; size / (item.len() + 1)].join(",");
    let bodies = [
        format!("{{\"Extra\":[{}]}}", many("{\"\":0}")),
        format!("{{\"Providers\":[{}]}}", many("{\"\":0}")),
        format!("{{\"Providers\":[{{\"Addrs\":[{}]}}]}}", many("\"\"")),
        format!("{{\"Peers\":[{{\"Extra\":[{}]}}]}}", many("[[]]")),
    ];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let number = bodies.len();
    std::thread::spawn(move || {
        for body in bodies {
            let (mut stream, _) = listener.accept().unwrap();
            let head = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            head.take_while(|line| !line.is_empty()).for_each(drop);
            let length = body.len();
            let kind = "application/json";
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n");
            stream.write_all((head + &body).as_bytes()).unwrap();
        }
    });
    let router = Router::new(&url).unwrap();
    let cid = "bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e".parse().unwrap();
    let before = peak();
    for _ in 0..number {
        let mut answers = router.providers(&cid);
        assert_eq!(answers.next().await, None);
    }
    let grown = peak() - before;
    assert!(grown < ROOM, "{grown} bytes for answers of {size}");
}

/// The most memory that this process has had so far, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.expect("Linux tells it") * 1024
}
