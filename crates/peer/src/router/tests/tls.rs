//! TLS, with a root certificate made for this test: for `router.example`,
//! from 2020 to 2120.

use std::net::Ipv4Addr;

use hyper::StatusCode;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto};

use super::*;

const ROOT: &str = "308201203081c8a003020102020101300a06082a8648ce3d040302300f310d300b06035504030c04746573743020170d3230\
    303130313030303030305a180f32313230303130313030303030305a300f310d300b06035504030c04746573743059301306\
    072a8648ce3d020106082a8648ce3d03010703420004f04e699e5659051b72ad088ea28db5ed804e734bd820b23ae7fecda1\
    e1fc861e84839ee5e15aed8f744d4835446c6937dcd77b47bc070d3d02466ede0c670f12a3133011300f0603551d130101ff\
    040530030101ff300a06082a8648ce3d040302034700304402203d45de66ab13d2be114d6c7118fec64321c0f94a994d7995\
    0d0eac2f26841fde02206d07730c8f918c0a3582145888f560ff020c90cadf83c6bca536973948cfd557";
const CERTIFICATE: &str = "308201353081dca003020102020102300a06082a8648ce3d040302300f310d300b06035504030c04746573743020170d3230\
    303130313030303030305a180f32313230303130313030303030305a30193117301506035504030c0e726f757465722e6578\
    616d706c653059301306072a8648ce3d020106082a8648ce3d03010703420004ba6795df8dd6805e5a6bf6f650df7148d665\
    0b61373f50a38e9d47e70d05dcd4004bbafea9e2a7a6115b240ffe4237a4eb326060768208b3c2fe41299dff84d2a31d301b\
    30190603551d1104123010820e726f757465722e6578616d706c65300a06082a8648ce3d0403020348003045022100d6c616\
    10293718ced15dd71df2f6981f2f71e5cc255c76ae716bf3c875f0adbc02207ef77d01ca8de44fef81fe0d034c306313d319\
    01324147cc55be141c2efa4fd9";
const KEY: &str = "308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420d86760f39bec04c41dd3b7588015\
    2bca4d0434bf90d100c0d1a6ecf7737fb7f8a14403420004ba6795df8dd6805e5a6bf6f650df7148d6650b61373f50a38e9d\
    47e70d05dcd4004bbafea9e2a7a6115b240ffe4237a4eb326060768208b3c2fe41299dff84d2";

fn der(hex: &str) -> Vec<u8> {
    hex::decode(hex).unwrap()
}

fn client() -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(der(ROOT))).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

fn server() -> TlsAcceptor {
    let builder = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let key = PrivateKeyDer::try_from(der(KEY)).unwrap();
    TlsAcceptor::from(Arc::new(
        builder.with_single_cert(vec![CertificateDer::from(der(CERTIFICATE))], key).unwrap(),
    ))
}

/// What comes of asking `host`, whose every name leads to a server with TLS.
async fn ask(host: &str, client: Arc<ClientConfig>) -> Result<StatusCode, RouterError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{host}:{}/", listener.local_addr().unwrap().port());
    let mut task = JoinSet::new();
    task.spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        // A client that does not trust us ends here.
        let Ok(mut stream) = server().accept(stream).await else { return };
        let mut head = [0; 1];
        stream.read_exact(&mut head).await.unwrap();
        stream.write_all(reply("200 OK", &[JSON], "{}").as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        std::future::pending::<()>().await;
    });
    let names = Names(Ipv4Addr::LOCALHOST.into(), Mutex::default());
    let target = Target::parse(&url).unwrap();
    let answer = http::get(target, &names, &client, &Limits::default()).await?;
    Ok(answer.response.status())
}

#[tokio::test]
async fn certificates_are_checked() {
    assert_eq!(ask("router.example", client()).await, Ok(StatusCode::OK));
    // Another name, and another root: that of no public authority.
    for (host, client) in [("other.example", client()), ("router.example", http::tls_config())] {
        let error = ask(host, client).await.unwrap_err();
        assert!(matches!(error, RouterError::Tls(_)), "{error}");
    }
}
