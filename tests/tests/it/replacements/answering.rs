//! Who answers requests and new clients while one process hands over to another.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use bennu_tests::{ConnectRequest, JSON, Received, TestHost, eventually, request, request_with, within};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::failing::Peer;
use super::{ask, join, setup, start, upgraded};

/// A host whose API has an address of its own, and that address.
async fn with_own_api() -> Result<(TestHost, SocketAddr)> {
    let host = setup().config("[api]\nlisten = \"127.0.0.1:0\"\n").start().await?;
    let line = host.log().find(0, "the address", |line| line.message().starts_with("the API listens on")).await?;
    let address = line.message().rsplit('/').next().context("an address")?.parse()?;
    bennu_tests::know(address, &host.api_key()?);
    Ok((host, address))
}

/// The details of readiness at the API's own address.
async fn readiness(host: &TestHost, api: SocketAddr) -> Result<Value> {
    let bearer = format!("Bearer {}", host.api_key()?);
    request(api, "GET", "/readyz", &[("authorization", &bearer)]).await?.json()
}

/// Broadcasts by the API, and returns the status.
async fn broadcast(api: SocketAddr) -> Result<u16> {
    let body = json!({ "topic": "news:1", "event": "said", "payload": {} }).to_string();
    Ok(request_with(api, "POST", "/api/broadcast", JSON, body.as_bytes()).await?.status)
}

#[tokio::test]
async fn a_host_that_hands_over_is_not_ready_and_requests_to_its_api_wait() -> Result<()> {
    let (host, api) = with_own_api().await?;
    eventually("readiness", async || Ok((readiness(&host, api).await?["ok"] == true).then_some(()))).await?;
    let mut peer = Peer::hello(host.home()).await?;
    ensure!(readiness(&host, api).await?["ok"] == true, "it serves while the other process compiles");
    peer.send(&json!({ "is": "prepared" })).await?;
    let state = peer.next().await?;
    ensure!(state["is"] == "state", "{state}");
    let shown = readiness(&host, api).await?;
    ensure!(shown["reasons"] == json!(["the host hands its work over to another process"]), "{shown}");
    ensure!(request(api, "GET", "/livez", &[]).await?.status == 200, "it isn't dead");
    let waiting = tokio::spawn(broadcast(api));
    readiness(&host, api).await?;
    ensure!(!waiting.is_finished(), "nothing is broadcast meanwhile");
    drop(peer);
    ensure!(within("the broadcast", waiting).await??? == 200);
    let shown = readiness(&host, api).await?;
    ensure!(shown["ok"] == true, "{shown}");
    host.stop().await?;
    Ok(())
}

/// At the API's own address, a request that the old process has accepted is answered by the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_to_the_api_fails() -> Result<()> {
    let (mut host, api) = with_own_api().await?;
    let is_over = Arc::<AtomicBool>::default();
    let over = Arc::clone(&is_over);
    let asking = tokio::spawn(async move {
        let mut count = 0;
        while !over.load(Ordering::Relaxed) {
            let status = broadcast(api).await.with_context(|| format!("after {count} requests"))?;
            ensure!(status == 200, "{status} after {count} requests");
            count += 1;
        }
        Ok::<_, anyhow::Error>(count)
    });
    upgraded(&mut host).await?;
    upgraded(&mut host).await?;
    is_over.store(true, Ordering::Relaxed);
    let count = asking.await??;
    ensure!(count > 0);
    host.stop().await?;
    Ok(())
}

/// A client that has connected, and whose request isn't read yet when the host stops accepting, isn't turned away.
#[tokio::test]
async fn a_client_that_has_just_connected_gets_its_answer() -> Result<()> {
    let host = start().await?;
    let mut early = TcpStream::connect(host.address()).await?;
    // The host accepts in order.
    join(host.address(), "news:1", &json!({})).await?.close().await?;
    let mut peer = Peer::hello(host.home()).await?;
    peer.send(&json!({ "is": "prepared" })).await?;
    let state = peer.next().await?;
    ensure!(state["is"] == "state", "{state}");
    early.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
    let mut answer = Vec::new();
    within("the answer", early.read_to_end(&mut answer)).await??;
    let answer = String::from_utf8_lossy(&answer);
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    drop(peer);
    host.stop().await?;
    Ok(())
}

/// Clients that come and go all the time: each of them is accepted. One that the old process has accepted may be told to come again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_is_refused() -> Result<()> {
    let mut host = start().await?;
    let (address, is_over) = (host.address(), Arc::<AtomicBool>::default());
    let over = Arc::clone(&is_over);
    let coming = tokio::spawn(async move {
        let (mut served, mut told_again) = (0, 0);
        while !over.load(Ordering::Relaxed) {
            let connected = ConnectRequest::to(address).connect().await;
            let mut client = connected.with_context(|| format!("client {} was refused", served + told_again))?;
            let pushed = client.push("news:1", "phx_join", &json!({})).await;
            let answer = match pushed {
                Ok(_) => client.next().await?,
                Err(_) => Received::Closed(None),
            };
            match answer {
                Received::Json(frame) if frame[4]["status"] == "ok" => served += 1,
                Received::Closed(Some(1012) | None) => told_again += 1,
                other => anyhow::bail!("{other:?}"),
            }
        }
        Ok::<_, anyhow::Error>((served, told_again))
    });
    for _ in 0..3 {
        upgraded(&mut host).await?;
    }
    is_over.store(true, Ordering::Relaxed);
    let (served, told_again) = coming.await??;
    println!("{served} clients were served, and {told_again} were told to come again");
    ensure!(served > 0);
    let mut last = join(address, "news:1", &json!({})).await?;
    ask(&mut last, "news:1", "say", &json!({ "n": 1 })).await?;
    drop(last);
    host.stop().await?;
    Ok(())
}
