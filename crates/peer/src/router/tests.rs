//! Routers that answer what a test wants, over loopback.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;

use peerage_identity::Multiaddr;
use peerage_transport::dns::Lookup;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

mod tls;

const PEER: &str = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
const CID: &str = "bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";

/// What a connection is answered with.
enum Then {
    /// Close.
    Close,
    /// Leave it open, and say no more.
    Hang,
}

/// A server that answers each connection with the next reply, and notes the
/// request's head.
struct Server {
    addr: SocketAddr,
    heads: mpsc::UnboundedReceiver<String>,
    _task: JoinSet<()>,
}

async fn serve(replies: Vec<(String, Then)>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (noted, heads) = mpsc::unbounded_channel();
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut open = Vec::new();
        let mut replies = VecDeque::from(replies);
        while let Some((reply, then)) = replies.pop_front() {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            noted.send(String::from_utf8(head).unwrap()).unwrap();
            // The client may break off in the middle.
            let _ = stream.write_all(reply.as_bytes()).await;
            match then {
                Then::Close => drop(stream.shutdown().await),
                Then::Hang => open.push(stream),
            }
        }
        std::future::pending::<()>().await;
    });
    Server { addr, heads, _task: task }
}

fn reply(status: &str, headers: &[&str], body: &str) -> String {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

const LINES: &str = "content-type: application/x-ndjson; charset=utf-8";
const JSON: &str = "content-type: application/json";

fn record(addr: &str) -> String {
    format!(r#"{{"Schema":"peer","ID":"{PEER}","Addrs":["{addr}"]}}"#)
}

fn found(addr: &str) -> Result<Found, RouterError> {
    let addrs = vec![addr.parse::<Multiaddr>().unwrap()];
    Ok(Found { peer: PEER.parse().unwrap(), addrs, protocols: vec![] })
}

fn router(server: &Server) -> Router {
    Router::new(&format!("http://{}/base/", server.addr)).unwrap()
}

async fn providers(router: &Router) -> Vec<Result<Found, RouterError>> {
    let mut answers = router.providers(&CID.parse().unwrap());
    let mut all = Vec::new();
    while let Some(answer) = answers.next().await {
        all.push(answer);
    }
    all
}

/// The only thing that came of one reply.
async fn error(reply: String, then: Then) -> RouterError {
    let server = serve(vec![(reply, then)]).await;
    let mut all = providers(&router(&server)).await;
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0).unwrap_err()
}

#[tokio::test]
async fn json_and_lines_are_read() {
    let (one, two) = ("/ip4/203.0.113.1/tcp/1", "/ip4/203.0.113.2/tcp/1");
    let json = format!(r#"{{"Providers":[{},{}]}}"#, record(one), record(two));
    let lines = format!("{}\n{}\n", record(one), record(two));
    let replies = [(JSON, json), (LINES, lines)];
    let replies = replies.map(|(kind, body)| (reply("200 OK", &[kind], &body), Then::Close));
    let mut server = serve(replies.into()).await;
    for _ in 0..2 {
        assert_eq!(providers(&router(&server)).await, [found(one), found(two)]);
        let head = server.heads.recv().await.unwrap();
        assert!(head.starts_with(&format!("GET /base/routing/v1/providers/{CID} HTTP/1.1\r\n")), "{head}");
        let lower = head.to_ascii_lowercase();
        assert!(lower.contains("accept: application/x-ndjson, application/json"), "{head}");
        assert!(lower.contains(&format!("host: {}\r\n", server.addr)), "{head}");
    }
}

#[tokio::test]
async fn peers_are_asked_for_by_cid() {
    let body = format!(r#"{{"Peers":[{}]}}"#, record("/ip4/203.0.113.1/tcp/1"));
    let mut server = serve(vec![(reply("200 OK", &[JSON], &body), Then::Close)]).await;
    let mut answers = router(&server).peers(PEER.parse().unwrap());
    assert_eq!(answers.next().await, Some(found("/ip4/203.0.113.1/tcp/1")));
    assert_eq!(answers.next().await, None);
    let head = server.heads.recv().await.unwrap();
    let id = head.strip_prefix("GET /base/routing/v1/peers/").unwrap().split(' ').next().unwrap();
    assert!(id.starts_with("k51qzi5uqu5d"), "{id}");
    assert_eq!(id.parse(), Ok(PEER.parse::<PeerId>().unwrap()));
}

#[tokio::test]
async fn results_come_before_the_answer_ends() {
    let head = format!("HTTP/1.1 200 OK\r\n{LINES}\r\ntransfer-encoding: chunked\r\n\r\n");
    let line = format!("{}\n", record("/ip4/203.0.113.1/tcp/1"));
    let server = serve(vec![(format!("{head}{:x}\r\n{line}\r\n", line.len()), Then::Hang)]).await;
    let mut answers = router(&server).providers(&CID.parse().unwrap());
    assert_eq!(answers.next().await, Some(found("/ip4/203.0.113.1/tcp/1")));
}

#[tokio::test]
async fn nobody_is_no_error() {
    let replies =
        [reply("404 Not Found", &["content-type: text/plain"], "no"), reply("200 OK", &[LINES], "")];
    let server = serve(replies.map(|reply| (reply, Then::Close)).into()).await;
    assert_eq!(providers(&router(&server)).await, []);
    assert_eq!(providers(&router(&server)).await, []);
}

#[tokio::test]
async fn errors_say_whose_fault_it_is() {
    let limited = reply("429 Too Many Requests", &["retry-after: 7"], "");
    let after = Some(Duration::from_secs(7));
    assert_eq!(error(limited, Then::Close).await, RouterError::RateLimited { after });
    assert_eq!(error(reply("422 X", &[JSON], "{}"), Then::Close).await, RouterError::Status(422));
    assert_eq!(error(reply("503 X", &[], ""), Then::Close).await, RouterError::Status(503));
    let page = reply("200 OK", &["content-type: text/html"], "<p>");
    assert_eq!(error(page, Then::Close).await, RouterError::WrongType("text/html".to_owned()));
    let nonsense = error("no HTTP at all\r\n\r\n".to_owned(), Then::Close).await;
    assert!(matches!(nonsense, RouterError::Http(_)), "{nonsense}");
    let silent = error(String::new(), Then::Close).await;
    assert!(matches!(silent, RouterError::Http(_)), "{silent}");
    let not_json = error(reply("200 OK", &[JSON], "{]"), Then::Close).await;
    assert!(matches!(not_json, RouterError::Malformed { line: 1, .. }), "{not_json}");
}

#[tokio::test]
async fn a_router_that_wants_fewer_questions_gets_none() {
    let limited = reply("429 Too Many Requests", &["retry-after: 7"], "");
    let line = record("/ip4/203.0.113.1/tcp/1");
    let server = serve(vec![(limited, Then::Close), (reply("200 OK", &[LINES], &line), Then::Close)]).await;
    let router = router(&server);
    let after = Some(Duration::from_secs(7));
    assert_eq!(providers(&router).await, [Err(RouterError::RateLimited { after })]);
    // The second reply is still to be had, but it is too early.
    let all = providers(&router.clone()).await;
    let early = |left: &Duration| !left.is_zero() && *left <= Duration::from_secs(7);
    assert!(matches!(&all[..], [Err(RouterError::Paused(left))] if early(left)), "{all:?}");
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let router = Router::new(&format!("http://{addr}")).unwrap();
    let refused = std::io::ErrorKind::ConnectionRefused;
    assert_eq!(providers(&router).await, [Err(RouterError::Connect(refused))]);
}

#[tokio::test]
async fn what_came_before_a_cut_holds() {
    let line = format!("{}\n", record("/ip4/203.0.113.1/tcp/1"));
    let cut = format!("HTTP/1.1 200 OK\r\n{LINES}\r\ncontent-length: 9999\r\n\r\n{line}{{\"Sch");
    let server = serve(vec![(cut, Then::Close)]).await;
    let all = providers(&router(&server)).await;
    assert_eq!(all[0], found("/ip4/203.0.113.1/tcp/1"));
    assert!(matches!(all[1..], [Err(RouterError::Http(_))]), "{all:?}");
}

#[tokio::test]
async fn giants_are_cut_off() {
    let limits = Limits::default();
    let giant = " ".repeat(limits.body + 1);
    let too_large = RouterError::TooLarge(limits.body);
    assert_eq!(error(reply("200 OK", &[JSON], &giant), Then::Hang).await, too_large);
    assert_eq!(error(reply("200 OK", &[LINES], &giant), Then::Hang).await, too_large);
    // Its end is not waited for once there is enough.
    let many = format!("{}\n", record("/ip4/203.0.113.1/tcp/1")).repeat(limits.records + 1);
    let head = format!("HTTP/1.1 200 OK\r\n{LINES}\r\ncontent-length: 999999\r\n\r\n{many}");
    let server = serve(vec![(head, Then::Hang)]).await;
    assert_eq!(providers(&router(&server)).await.len(), limits.records);
    let headers = "x: y\r\n".repeat(500);
    let head = error(format!("HTTP/1.1 200 OK\r\n{headers}\r\n"), Then::Hang).await;
    assert!(matches!(head, RouterError::Http(_)), "{head}");
}

#[tokio::test]
async fn a_router_that_drips_or_is_silent_is_left() {
    let limits = Limits { time: Duration::from_millis(100), ..Limits::default() };
    let drip = format!("HTTP/1.1 200 OK\r\n{LINES}\r\ncontent-length: 9999\r\n\r\n{{");
    let server = serve(vec![(drip, Then::Hang), (String::new(), Then::Hang)]).await;
    for _ in 0..2 {
        let url = format!("http://{}", server.addr);
        let router = Router::with(&url, limits, Arc::new(SystemResolver::new())).unwrap();
        assert_eq!(providers(&router).await, [Err(RouterError::TimedOut(limits.time))]);
    }
}

/// Its server may look on for as long as we would listen.
#[tokio::test]
async fn whom_it_named_before_the_time_was_up_is_the_answer() {
    let line = format!("{}\n", record("/ip4/203.0.113.1/tcp/1"));
    let part = format!("HTTP/1.1 200 OK\r\n{LINES}\r\ncontent-length: 9999\r\n\r\n{line}{{");
    let whole = reply("200 OK", &[LINES], &line);
    let server = serve(vec![(part, Then::Hang), (whole, Then::Close)]).await;
    let router = router(&server);
    let mut answers = router.providers(&CID.parse().unwrap());
    assert_eq!(answers.next().await, Some(found("/ip4/203.0.113.1/tcp/1")));
    // Time leaps to what is waited for: the end of our patience.
    tokio::time::pause();
    assert_eq!(answers.next().await, None);
    tokio::time::resume();
    // It is not left alone.
    assert_eq!(providers(&router).await, [found("/ip4/203.0.113.1/tcp/1")]);
}

#[tokio::test]
async fn redirects_are_followed_a_few_times() {
    let line = record("/ip4/203.0.113.1/tcp/1");
    let end = serve(vec![(reply("200 OK", &[LINES], &line), Then::Close)]).await;
    let away = format!("location: http://{}/there?x=1", end.addr);
    let replies = [reply("302 Found", &["location: /here"], ""), reply("308 X", &[&away], "")];
    let mut start = serve(replies.map(|reply| (reply, Then::Close)).into()).await;
    assert_eq!(providers(&router(&start)).await, [found("/ip4/203.0.113.1/tcp/1")]);
    start.heads.recv().await.unwrap();
    assert!(start.heads.recv().await.unwrap().starts_with("GET /here HTTP/1.1"));

    let around = reply("302 Found", &["location: /"], "");
    let server = serve((0..9).map(|_| (around.clone(), Then::Close)).collect()).await;
    let all = providers(&router(&server)).await;
    assert_eq!(all, [Err(RouterError::Redirects(Limits::default().redirects))]);
    for bad in ["ftp://127.0.0.1/", "http://user@127.0.0.1/", "//", "http://"] {
        let location = format!("location: {bad}");
        let failed = error(reply("302 Found", &[&location], ""), Then::Close).await;
        assert_eq!(failed, RouterError::Redirect(bad.to_owned()));
    }
}

/// Names that lead where a test says, all of them noted.
struct Names(IpAddr, Mutex<Vec<String>>);

impl Resolver for Names {
    fn lookup_ips<'a>(&'a self, name: &'a str) -> Lookup<'a, IpAddr> {
        self.1.lock().unwrap().push(name.to_owned());
        Box::pin(async move { Ok(vec![self.0]) })
    }

    fn lookup_txt<'a>(&'a self, _: &'a str) -> Lookup<'a, String> {
        Box::pin(async { Err(LookupError::NotFound) })
    }
}

/// As if the request before had gone to a host of the internet: no test may
/// reach one.
#[tokio::test]
async fn a_redirect_leads_no_further_inside() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let tls = http::tls_config();
    for name in ["inside.example", "127.0.0.1"] {
        let names = Names(addr.ip(), Mutex::default());
        let target = Target::parse(&format!("http://{name}:{}/", addr.port())).unwrap();
        for inside in [Scope::Private, Scope::Public] {
            let refused = http::connect(&target, &names, &tls, Some(inside)).await.err();
            let to = format!("{name}:{}", addr.port());
            assert_eq!(refused, Some(RouterError::Redirect(to)));
        }
        assert!(http::connect(&target, &names, &tls, Some(Scope::Loopback)).await.is_ok());
    }
    let (secure, plain) = (Target::parse("https://a.example/"), "http://a.example/");
    assert_eq!(secure.unwrap().redirected(plain), Err(RouterError::Redirect(plain.to_owned())));
}

#[tokio::test]
async fn a_router_of_the_internet_names_nobody_here() {
    let (sender, mut answers) = mpsc::channel(9);
    let addrs =
        ["/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/1", "/ip4/203.0.113.1/tcp/1", "/dns4/a.example/tcp/1"];
    let addrs: Vec<Multiaddr> = addrs.iter().map(|addr| addr.parse().unwrap()).collect();
    let all = Found { peer: PEER.parse().unwrap(), addrs: addrs.clone(), protocols: vec![] };
    for (scope, first) in [(Scope::Loopback, 0), (Scope::Private, 1), (Scope::Public, 2)] {
        assert!(tell(vec![all.clone()], scope, &sender).await);
        assert_eq!(answers.recv().await.unwrap().unwrap().addrs, addrs[first..]);
    }
}

#[tokio::test]
async fn dropped_answers_end_the_request() {
    let limits = Limits { requests: 1, ..Limits::default() };
    let line = record("/ip4/203.0.113.1/tcp/1");
    let replies = vec![(String::new(), Then::Hang), (reply("200 OK", &[LINES], &line), Then::Close)];
    let mut server = serve(replies).await;
    let url = format!("http://{}", server.addr);
    let router = Router::with(&url, limits, Arc::new(SystemResolver::new())).unwrap();
    let hanging = router.providers(&CID.parse().unwrap());
    server.heads.recv().await.unwrap();
    // There is one place, and it is taken until nobody wants the answer.
    drop(hanging);
    assert_eq!(providers(&router).await, [found("/ip4/203.0.113.1/tcp/1")]);
}

#[test]
fn urls_are_looked_through() {
    for (url, error) in [
        ("", UrlError::Malformed),
        ("example.com", UrlError::Scheme),
        ("ftp://example.com", UrlError::Scheme),
        ("https://me:secret@example.com", UrlError::Credentials),
        ("http:///x", UrlError::Malformed),
    ] {
        assert_eq!(Router::new(url).err(), Some(error), "{url}");
    }
    for url in ["https://example.com", "http://[::1]:8080/base/"] {
        assert!(Router::new(url).is_ok(), "{url}");
    }
}
