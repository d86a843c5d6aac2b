//! One GET request: names, connections, TLS, redirects.
//!
//! hyper alone, as we decide which addresses are connected to: a redirect must
//! not lead further inside than the router itself is (a public router naming
//! a host of this network, or this machine). Connections are not kept; a
//! look-up is one request.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST, LOCATION, RETRY_AFTER, USER_AGENT};
use hyper::http::uri::Authority;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use peerage_identity::Scope;
use peerage_transport::dns::Resolver;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use super::{Limits, RouterError, UrlError};

/// Most headers of an answer, and bytes of them. Judgements: routers behind
/// large caches send some thirty.
const MAX_HEADERS: usize = 100;
const MAX_HEAD: usize = 64 * 1024;
/// How long one address may take to connect and agree on keys. A judgement.
const CONNECT: Duration = Duration::from_secs(8);
/// Addresses of a name that are tried. A judgement.
const MAX_ADDRS: usize = 4;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    tls: bool,
    authority: Authority,
    path: String,
}

impl Target {
    /// # Errors
    /// See [`UrlError`].
    pub(crate) fn parse(url: &str) -> Result<Self, UrlError> {
        let uri: Uri = url.parse().map_err(|_| UrlError::Malformed)?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(UrlError::Scheme),
        };
        let authority = uri.authority().ok_or(UrlError::Malformed)?.clone();
        if authority.as_str().contains('@') {
            return Err(UrlError::Credentials);
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { tls, authority, path })
    }

    /// The same router, another path below its own.
    pub(super) fn join(&self, path: &str) -> Self {
        let base = self.path.split('?').next().unwrap_or_default().trim_end_matches('/');
        Self { path: format!("{base}{path}"), ..self.clone() }
    }

    /// Where `location` leads from here.
    pub(crate) fn redirected(&self, location: &str) -> Result<Self, RouterError> {
        let refused = || RouterError::Redirect(location.chars().take(200).collect());
        let target = if location.starts_with('/') && !location.starts_with("//") {
            let path: Uri = location.parse().map_err(|_| refused())?;
            Self { path: path.to_string(), ..self.clone() }
        } else {
            Self::parse(location).map_err(|_| refused())?
        };
        // Who asked for TLS gets no less.
        if self.tls && !target.tls { Err(refused()) } else { Ok(target) }
    }

    fn host(&self) -> &str {
        self.authority.host().trim_start_matches('[').trim_end_matches(']')
    }

    fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.tls { 443 } else { 80 })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path.trim_end_matches('/'))
    }
}

/// TLS as browsers do it, with the roots that Mozilla trusts.
pub(super) fn tls_config() -> Arc<ClientConfig> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has what the default versions of TLS need");
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

/// An answer whose body is still to be read, while `driver` lives.
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    /// How far away the router is.
    pub(super) scope: Scope,
    /// Moves the connection's bytes; ends when dropped.
    pub(super) driver: JoinSet<()>,
}

/// Asks `target`, and whoever it points to.
pub(super) async fn get(
    mut target: Target,
    resolver: &dyn Resolver,
    tls: &Arc<ClientConfig>,
    limits: &Limits,
) -> Result<Answer, RouterError> {
    let mut inside = None;
    for _ in 0..=limits.redirects {
        let (stream, scope) = connect(&target, resolver, tls, inside).await?;
        inside = Some(scope);
        let (response, driver) = request(stream, &target).await?;
        let status = response.status();
        let location = response.headers().get(LOCATION);
        match location.filter(|_| status.is_redirection()) {
            Some(location) => {
                let location = location.to_str().map_err(|_| RouterError::Redirect("?".to_owned()))?;
                target = target.redirected(location)?;
            }
            None => return Ok(Answer { response, scope, driver }),
        }
    }
    Err(RouterError::Redirects(limits.redirects))
}

/// What a status other than success means.
pub(super) fn refused(response: &Response<Incoming>) -> RouterError {
    match response.status() {
        StatusCode::TOO_MANY_REQUESTS => {
            let after =
                response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            RouterError::RateLimited { after: after.map(Duration::from_secs) }
        }
        status => RouterError::Status(status.as_u16()),
    }
}

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects to the first address that answers. With `inside`, only to those
/// that are no further inside than that.
pub(super) async fn connect(
    target: &Target,
    resolver: &dyn Resolver,
    tls: &Arc<ClientConfig>,
    inside: Option<Scope>,
) -> Result<(Box<dyn Stream>, Scope), RouterError> {
    let host = target.host();
    let ips = match host.parse::<IpAddr>() {
        Ok(ip) => vec![ip],
        Err(_) => resolver.lookup_ips(host).await.map_err(RouterError::Resolve)?,
    };
    let allowed = |ip: &IpAddr| inside.is_none_or(|inside| Scope::of_ip(*ip) >= inside);
    let ips: Vec<IpAddr> = ips.into_iter().filter(allowed).take(MAX_ADDRS).collect();
    let mut failed = RouterError::Redirect(target.authority.to_string());
    for ip in ips {
        let addr = SocketAddr::new(ip, target.port());
        match timeout(CONNECT, connect_to(addr, target, tls)).await {
            Ok(Ok(stream)) => return Ok((stream, Scope::of_ip(ip))),
            Ok(Err(error)) => failed = error,
            Err(_) => failed = RouterError::Connect(std::io::ErrorKind::TimedOut),
        }
    }
    Err(failed)
}

async fn connect_to(
    addr: SocketAddr,
    target: &Target,
    tls: &Arc<ClientConfig>,
) -> Result<Box<dyn Stream>, RouterError> {
    let connected = TcpStream::connect(addr).await;
    let stream = connected.map_err(|error| RouterError::Connect(error.kind()))?;
    if !target.tls {
        return Ok(Box::new(stream));
    }
    let name = ServerName::try_from(target.host().to_owned());
    let name = name.map_err(|_| RouterError::Tls("not a name for TLS".to_owned()))?;
    let secured = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
    Ok(Box::new(secured.map_err(|error| RouterError::Tls(error.to_string()))?))
}

async fn request(
    stream: Box<dyn Stream>,
    target: &Target,
) -> Result<(Response<Incoming>, JoinSet<()>), RouterError> {
    let broken = |error: hyper::Error| RouterError::Http(error.to_string());
    let handshake = http1::Builder::new()
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(broken)?;
    let mut driver = JoinSet::new();
    driver.spawn(async move {
        if let Err(error) = connection.await {
            tracing::trace!(%error, "a router's connection");
        }
    });
    let request = Request::get(target.path.as_str())
        .header(HOST, target.authority.as_str())
        .header(ACCEPT, "application/x-ndjson, application/json;q=0.9")
        .header(USER_AGENT, concat!("peerage/", env!("CARGO_PKG_VERSION")))
        .body(Empty::new())
        .map_err(|error| RouterError::Http(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(broken)?;
    Ok((response, driver))
}
