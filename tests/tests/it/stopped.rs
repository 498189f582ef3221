//! A host that is paused by a signal, like a paused container. The sleeps in these tests are the subject of the tests, and
//! not waits for a condition.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bennu_tests::{Setup, TestClient, TestHost, get, within};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

const IDLE: Duration = Duration::from_secs(3);

/// Pauses the host while `meanwhile` runs, and for at least `time`.
async fn stopped<T>(host: &TestHost, time: Duration, meanwhile: impl Future<Output = Result<T>>) -> Result<T> {
    host.signal(Signal::STOP)?;
    let (done, ()) = tokio::join!(meanwhile, sleep(time));
    host.signal(Signal::CONT)?;
    done
}

fn idle() -> Result<Setup> {
    Ok(Setup::new().guests(&["echo"])?.limit("idle_ms", u64::try_from(IDLE.as_millis())?))
}

/// More clients than a thread handles in one turn.
async fn many_clients(host: &TestHost) -> Result<Vec<TestClient>> {
    let mut clients = Vec::new();
    for _ in 0..300 {
        clients.push(host.connect().await?);
    }
    for client in &mut clients {
        client.quiet().await?;
    }
    Ok(clients)
}

#[tokio::test]
async fn messages_sent_during_a_pause_are_read_before_idle_clients_are_closed() -> Result<()> {
    // On a busy machine, so many clients need some time to connect.
    let host = Setup::new().guests(&["echo"])?.limit("idle_ms", 3_000).start().await?;
    let mut clients = many_clients(&host).await?;
    let heartbeats = async {
        for client in &mut clients {
            client.send(r#"[null,"7","phoenix","heartbeat",{}]"#).await?;
        }
        anyhow::Ok(())
    };
    stopped(&host, Duration::from_secs(7), heartbeats).await?;
    let answer = json!([null, "7", "phoenix", "phx_reply", {"status": "ok", "response": {}}]);
    for (number, client) in clients.iter_mut().enumerate() {
        client.expect(&answer).await.with_context(|| format!("client {number}"))?;
    }
    ensure!(host.inspect().await?["closed"]["idle"] == 0);
    Ok(())
}

/// The whole machine may be paused. Then the messages of clients arrive only after the pause.
#[tokio::test]
async fn the_time_of_a_pause_does_not_count() -> Result<()> {
    let host = idle()?.start().await?;
    for _ in 0..2 {
        let mut alice = host.connect().await?;
        alice.quiet().await?;
        stopped(&host, 3 * IDLE, async { Ok(()) }).await?;
        // A short wait, so that the host would have closed the client by now.
        sleep(IDLE / 10).await;
        alice.quiet().await?;
        // After that, the client is silent for the idle timeout.
        alice.closed_with(1002).await?;
    }
    ensure!(host.inspect().await?["closed"]["idle"] == 2);
    Ok(())
}

async fn polling(host: &TestHost, path: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(host.address()).await?;
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    Ok(stream)
}

async fn answer(mut stream: TcpStream) -> Result<Value> {
    let mut text = String::new();
    within("an answer", stream.read_to_string(&mut text)).await??;
    let (_, body) = text.split_once("\r\n\r\n").with_context(|| format!("not an HTTP answer: {text:?}"))?;
    Ok(serde_json::from_str(body)?)
}

#[tokio::test]
async fn a_poll_during_or_after_a_pause_finds_its_session() -> Result<()> {
    let window = Duration::from_secs(1);
    let host = Setup::new().guests(&["echo"])?.limit("longpoll_window_ms", 1_000).start().await?;
    for _ in 0..2 {
        let opened = get(host.address(), "/socket/longpoll?vsn=2.0.0").await?.json()?;
        let path = format!("/socket/longpoll?vsn=2.0.0&token={}", opened["token"].as_str().context("a token")?);
        let poll = stopped(&host, 3 * window, polling(&host, &path)).await?;
        let polled = answer(poll).await?;
        ensure!(polled["status"] == 204, "{polled}");
        // The next poll arrives shortly after the pause.
        stopped(&host, 3 * window, async { Ok(()) }).await?;
        sleep(window / 10).await;
        let polled = answer(polling(&host, &path).await?).await?;
        ensure!(polled["status"] == 204, "{polled}");
    }
    host.holds(0, 0).await?;
    Ok(())
}
