//! How fast one stream is over loopback TCP: `cargo run --release -p
//! peerage-transport --example throughput [MIB]`.
//!
//! Both ends in one process, a runtime each; `/perf/1.0.0` first up, then
//! down. Beside it the same bytes over bare TCP.

use std::error::Error;
use std::time::{Duration, Instant};

use peerage_base::SharedBudget;
use peerage_identity::Keypair;
use peerage_transport::{Config, Role, perf, tcp, upgrade};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// What connections may hold unread, as in the peer's design.
const INBOUND: u64 = 32 << 20;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mib: u64 = std::env::args().nth(1).map_or(Ok(1024), |arg| arg.parse())?;
    let (server, client) = (runtime()?, runtime()?);
    for round in 1..=3 {
        let bare = client.block_on(run(&server, mib << 20, false))?;
        let secured = client.block_on(run(&server, mib << 20, true))?;
        println!(
            "{round}: bare TCP {:.0} MB/s; secured up {:.0} MB/s, down {:.0} MB/s",
            rate(mib, bare.0),
            rate(mib, secured.0),
            rate(mib, secured.1)
        );
    }
    Ok(())
}

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

#[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
fn rate(mib: u64, time: Duration) -> f64 {
    (mib << 20) as f64 / 1e6 / time.as_secs_f64()
}

async fn run(server: &Runtime, bytes: u64, secured: bool) -> Result<(Duration, Duration), Failure> {
    let _guard = server.enter();
    let listener = tcp::Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse()?)?;
    drop(_guard);
    let addrs = listener.addrs()?;
    let serving = server.spawn(async move {
        let (io, _) = listener.accept().await?;
        if secured { serve(io).await } else { swallow(io).await }
    });
    let io = tcp::dial(&addrs[0]).await?;
    // The socket belongs to this runtime; the work is spawned on its worker.
    let result = if secured {
        tokio::spawn(measure(io, bytes)).await??
    } else {
        tokio::spawn(push(io, bytes)).await??
    };
    serving.await??;
    Ok(result)
}

async fn serve(io: TcpStream) -> Result<(), Failure> {
    let keypair = Keypair::from_seed([2; 32]);
    let mut connection =
        upgrade(io, Role::Listener, &keypair, None, Config::default(), SharedBudget::new(INBOUND)).await?;
    let driver = tokio::spawn(connection.driver);
    let mut stream = connection.incoming.next().await.ok_or("the client left")?;
    stream.accept(|name| (name == perf::PROTOCOL).then_some(())).await?;
    perf::serve(&mut stream).await?;
    driver.await?;
    Ok(())
}

async fn measure(io: TcpStream, bytes: u64) -> Result<(Duration, Duration), Failure> {
    let keypair = Keypair::from_seed([1; 32]);
    let connection =
        upgrade(io, Role::Dialer, &keypair, None, Config::default(), SharedBudget::new(INBOUND)).await?;
    let driver = tokio::spawn(connection.driver);
    let mut stream = connection.control.open(perf::PROTOCOL).await?;
    let report = perf::measure(&mut stream, bytes, bytes).await?;
    drop(stream);
    connection.control.close(peerage_transport::yamux::GoAwayCode::NORMAL);
    driver.await?;
    Ok((report.upload, report.download))
}

async fn swallow(mut io: TcpStream) -> Result<(), Failure> {
    let mut buf = vec![0; 256 * 1024];
    while io.read(&mut buf).await? > 0 {}
    Ok(())
}

async fn push(mut io: TcpStream, bytes: u64) -> Result<(Duration, Duration), Failure> {
    let buf = vec![0; 256 * 1024];
    let start = Instant::now();
    for _ in 0..bytes / buf.len() as u64 {
        io.write_all(&buf).await?;
    }
    io.shutdown().await?;
    while io.read_u8().await.is_ok() {}
    Ok((start.elapsed(), Duration::ZERO))
}
