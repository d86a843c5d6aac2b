//! TCP on loopback: listening, dialling, and errors that name the address.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

fn addr(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

#[tokio::test]
async fn listens_and_dials_on_both_families() {
    for host in ["/ip4/127.0.0.1", "/ip6/::1"] {
        let listener = match Listener::bind(&addr(&format!("{host}/tcp/0"))) {
            Ok(listener) => listener,
            // Machines without IPv6 exist; IPv4 is always there.
            Err(_) if host.starts_with("/ip6") => continue,
            Err(error) => panic!("{error}"),
        };
        let addrs = listener.addrs().unwrap();
        assert_eq!(addrs.len(), 1);
        assert!(addrs[0].to_tcp_addr().unwrap().port() > 0);
        let (dialled, accepted) = tokio::join!(dial(&addrs[0]), listener.accept());
        let (mut a, (mut b, from)) = (dialled.unwrap(), accepted.unwrap());
        assert_eq!(from.to_tcp_addr().unwrap(), a.local_addr().unwrap());
        a.write_all(b"hello").await.unwrap();
        let mut buf = [0; 5];
        b.read_exact(&mut buf).await.unwrap();
        assert_eq!(&buf, b"hello");
        assert!(a.nodelay().unwrap() && b.nodelay().unwrap());
    }
}

#[tokio::test]
async fn an_unspecified_address_becomes_those_of_the_interfaces() {
    let listener = Listener::bind(&addr("/ip4/0.0.0.0/tcp/0")).unwrap();
    let port = listener.bound_addr().to_tcp_addr().unwrap().port();
    let addrs = listener.addrs().unwrap();
    assert!(addrs.contains(&addr(&format!("/ip4/127.0.0.1/tcp/{port}"))), "{addrs:?}");
    assert!(addrs.iter().all(|a| !a.to_tcp_addr().unwrap().ip().is_unspecified()));
    // IPv6 only: the other family's socket may have the same port.
    if let Ok(v6) = Listener::bind(&addr(&format!("/ip6/::/tcp/{port}"))) {
        assert!(v6.addrs().unwrap().iter().all(|a| a.to_tcp_addr().unwrap().is_ipv6()));
    }
}

#[tokio::test]
async fn errors_name_the_address() {
    for bad in ["/ip4/127.0.0.1/udp/0", "/dns/localhost/tcp/0", "/ip4/127.0.0.1/tcp/0/ws"] {
        let error = Listener::bind(&addr(bad)).unwrap_err();
        assert!(error.to_string().contains(bad), "{error}");
    }
    let taken = Listener::bind(&addr("/ip4/127.0.0.1/tcp/0")).unwrap();
    let error = Listener::bind(&taken.bound_addr()).unwrap_err();
    assert!(error.to_string().contains(&taken.bound_addr().to_string()), "{error}");
    let gone = taken.bound_addr();
    drop(taken);
    let error = dial(&gone).await.unwrap_err();
    assert!(error.to_string().contains(&gone.to_string()), "{error}");
    let other = addr("/ip4/127.0.0.1/udp/1");
    assert!(matches!(dial(&other).await, Err(DialError::NotTcp(named)) if named == other));
}
