//! A host that stands still for a while: stopped by a signal, as a container that is paused. The times that pass here are what is
//! tested, and no wait for something to happen.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bennu_tests::{Setup, TestClient, TestHost, get, within};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

const IDLE: Duration = Duration::from_secs(1);

/// Stops the host while `meanwhile` is done, and for so long at least.
async fn stopped<T>(host: &TestHost, time: Duration, meanwhile: impl Future<Output = Result<T>>) -> Result<T> {
    host.signal(Signal::STOP)?;
    let (done, ()) = tokio::join!(meanwhile, sleep(time));
    host.signal(Signal::CONT)?;
    done
}

fn idle() -> Result<Setup> {
    Ok(Setup::new().guests(&["echo"])?.limit("idle_ms", u64::try_from(IDLE.as_millis())?))
}

/// More than a thread looks at in one go.
async fn crowd(host: &TestHost) -> Result<Vec<TestClient>> {
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
async fn what_came_while_the_host_stood_still_is_read_before_anybody_is_judged() -> Result<()> {
    // So many take a while to connect, on a busy machine.
    let host = Setup::new().guests(&["echo"])?.limit("idle_ms", 3_000).start().await?;
    let mut clients = crowd(&host).await?;
    let beats = async {
        for client in &mut clients {
            client.send(r#"[null,"7","phoenix","heartbeat",{}]"#).await?;
        }
        anyhow::Ok(())
    };
    stopped(&host, Duration::from_secs(7), beats).await?;
    let answer = json!([null, "7", "phoenix", "phx_reply", {"status": "ok", "response": {}}]);
    for (number, client) in clients.iter_mut().enumerate() {
        client.expect(&answer).await.with_context(|| format!("client {number}"))?;
    }
    ensure!(host.inspect().await?["closed"]["idle"] == 0);
    Ok(())
}

/// A machine that stands still as a whole: what its clients send is on its way still when it goes on.
#[tokio::test]
async fn a_time_in_which_the_host_stood_still_is_not_counted() -> Result<()> {
    let host = idle()?.start().await?;
    for _ in 0..2 {
        let mut alice = host.connect().await?;
        alice.quiet().await?;
        stopped(&host, 3 * IDLE, async { Ok(()) }).await?;
        // Not at once: whoever is to be judged is judged before this.
        sleep(IDLE / 10).await;
        alice.quiet().await?;
        // And then it is silent for as long as it may be.
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
    let (_, body) = text.split_once("\r\n\r\n").with_context(|| format!("no answer but {text:?}"))?;
    Ok(serde_json::from_str(body)?)
}

#[tokio::test]
async fn a_session_is_not_gone_for_a_poll_that_came_while_the_host_stood_still() -> Result<()> {
    let window = Duration::from_secs(1);
    let host = Setup::new().guests(&["echo"])?.limit("longpoll_window_ms", 1_000).start().await?;
    for _ in 0..2 {
        let begun = get(host.address(), "/socket/longpoll?vsn=2.0.0").await?.json()?;
        let path = format!("/socket/longpoll?vsn=2.0.0&token={}", begun["token"].as_str().context("a token")?);
        let poll = stopped(&host, 3 * window, polling(&host, &path)).await?;
        let polled = answer(poll).await?;
        ensure!(polled["status"] == 204, "{polled}");
        // The next is on its way still when the host goes on.
        stopped(&host, 3 * window, async { Ok(()) }).await?;
        sleep(window / 10).await;
        let polled = answer(polling(&host, &path).await?).await?;
        ensure!(polled["status"] == 204, "{polled}");
    }
    host.holds(0, 0).await?;
    Ok(())
}
