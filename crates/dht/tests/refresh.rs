//! What keeps the table alive.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

#[expect(dead_code, reason = "other tests ask it more")]
mod single;

use std::collections::BTreeSet;
use std::time::Duration;

use peerage_dht::{Config, Response};
use single::{Single, addr, number, peer};

#[test]
fn who_was_silent_is_asked_a_few_at_a_time() {
    let config = Config::default();
    let mut server = Single::server(400);
    let table: BTreeSet<_> = server.dht.peers().iter().map(|info| info.peer).collect();
    // A look-up of its own runs beside.
    let most = config.checks_at_once + config.bucket_size;
    assert!(table.len() > 2 * most, "{}", table.len());
    // The first refreshes, while there were few; then nobody says anything for long.
    for _ in 0..config.check_after.as_secs() {
        server.wait(Duration::from_secs(1));
        server.answer_all(|_, _| Some(Response::Closest { closer: Vec::new() }));
    }
    let mut open = Vec::new();
    while open.is_empty() {
        server.wait(Duration::from_secs(1));
        open = server.sent();
    }
    let mut asked = BTreeSet::new();
    while let Some((id, to, _)) = open.pop() {
        assert!(open.len() < most, "{} at once", open.len() + 1);
        asked.insert(to);
        let now = server.now();
        let response = Response::Closest { closer: Vec::new() };
        server.dht.handle_response(id, &addr(number(&to)), response, now);
        open.extend(server.sent());
    }
    assert!(table.is_subset(&asked), "{} of {}", asked.len(), table.len());
    assert!(!asked.contains(&peer(0)));
    assert_eq!(server.dht.stats().requests, 0);
}
