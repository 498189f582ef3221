//! A bare client: hyper on one thread, with connections that it keeps, and nothing else.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use nix::time::{ClockId, clock_gettime};
use tokio::net::TcpStream;
use tokio::runtime::Builder;

/// Sends requests on several connections. Returns the CPU time of one, in microseconds.
pub(super) fn measure(address: SocketAddr, method: &'static str, operations: usize, connections: usize) -> Result<f64> {
    let client = thread::spawn(move || -> Result<Duration> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let before = cpu()?;
        runtime.block_on(async {
            let asking = (0..connections).map(|_| ask(address, method, operations / connections));
            futures_util::future::try_join_all(asking).await
        })?;
        Ok(cpu()? - before)
    });
    let cpu = client.join().map_err(|_| anyhow!("the bare client panicked"))??;
    Ok(cpu.as_secs_f64() * 1e6 / operations as f64)
}

async fn ask(address: SocketAddr, method: &str, times: usize) -> Result<()> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    for _ in 0..times {
        let body = if method == "POST" { Bytes::from_static(b"hello") } else { Bytes::new() };
        let request = Request::builder().method(method).uri("/").header("host", address.to_string());
        let answer = sender.send_request(request.body(Full::new(body))?).await?;
        ensure!(answer.status() == 200, "{answer:?}");
        answer.into_body().collect().await?;
    }
    Ok(())
}

/// The CPU time of this thread.
fn cpu() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}
