//! `GET /livez` and `GET /readyz`: green, and red in each case that can be made from outside. The cases of parts that don't answer
//! are tested with the same endpoints in `host/src/api/health.rs`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bennu_tests::{Answer, Setup, TestClient, TestHost, bennu, eventually, request, request_with};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::metrics::scrape;

async fn ask(host: &TestHost, path: &str) -> Result<Answer> {
    request(host.address(), "GET", path, &[]).await
}

async fn details(host: &TestHost, path: &str) -> Result<Value> {
    details_at(host, host.address(), path).await
}

async fn details_at(host: &TestHost, address: SocketAddr, path: &str) -> Result<Value> {
    let bearer = format!("Bearer {}", host.api_key()?);
    request(address, "GET", path, &[("authorization", &bearer)]).await?.json()
}

/// Waits until the host is ready, or isn't.
async fn becomes(host: &TestHost, is_ready: bool) -> Result<Value> {
    let mut last = Value::Null;
    let waited = eventually("readiness", async || {
        last = details(host, "/readyz").await?;
        Ok((last["ok"] == is_ready).then(|| last.clone()))
    });
    waited.await.with_context(|| format!("it answers {last}"))
}

fn reasons(details: &Value) -> String {
    details["reasons"].to_string()
}

#[tokio::test]
async fn a_host_is_live_and_ready_and_says_more_only_with_the_key() -> Result<()> {
    let host = Setup::new().guests(&["echo"])?.start().await?;
    let shown = becomes(&host, true).await?;
    for check in ["timer", "reactors", "library", "store"] {
        let result = &shown["checks"][check];
        ensure!(result["succeeded_ms_ago"].is_u64() && result["failure"].is_null(), "{check}: {shown}");
    }
    for path in ["/livez", "/readyz"] {
        let answer = ask(&host, path).await?;
        ensure!((answer.status, &*answer.body) == (200, "ok\n"), "{path}: {answer:?}");
        ensure!(answer.header("cache-control").as_deref() == Some("no-store"), "{answer:?}");
        let refused = request(host.address(), "GET", path, &[("authorization", "Bearer no")]).await?;
        ensure!(refused.status == 401, "{path}: {refused:?}");
        let posted = request_with(host.address(), "POST", path, &[], b"").await?;
        ensure!(posted.status == 405, "{path}: {posted:?}");
    }
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_host_without_plugins_is_live_and_not_ready() -> Result<()> {
    let host = Setup::new().start().await?;
    let shown = eventually("the first self-test has passed", async || {
        let shown = details(&host, "/readyz").await?;
        Ok((shown["reasons"] == json!(["no plugin serves"])).then_some(shown))
    });
    ensure!(shown.await?["ok"] == false);
    let answer = ask(&host, "/readyz").await?;
    ensure!(answer.status == 503 && !answer.body.contains("plugin"), "without the key it says nothing: {answer:?}");
    ensure!(ask(&host, "/livez").await?.status == 200, "a restart doesn't help");
    host.stop().await?;
    Ok(())
}

/// A restart doesn't empty a disk. So a full one must not look like a dead host.
#[tokio::test]
async fn a_host_with_a_full_disk_is_live_and_not_ready_until_there_is_room() -> Result<()> {
    let host = Setup::new().guests(&["naughty"])?.start().await?;
    becomes(&host, true).await?;
    host.limit_files(Some(0))?;
    let shown = becomes(&host, false).await?;
    ensure!(reasons(&shown).contains("the store"), "{shown}");
    let live = details(&host, "/livez").await?;
    ensure!(live["ok"] == true && live["reasons"] == json!([]), "{live}");
    // The self-test of the store may have begun before the disk was full.
    let of_store = [("check", "store")];
    eventually("both metrics are 0", async || {
        let scrape = scrape(&host).await?;
        let up = scrape.sum("bennu_store_up", &[]) + scrape.sum("bennu_self_test_up", &of_store);
        Ok((up == 0.0 && scrape.sum("bennu_self_test_up", &[("check", "timer")]) == 1.0).then_some(()))
    })
    .await?;
    host.limit_files(None)?;
    becomes(&host, true).await?;
    let scrape = scrape(&host).await?;
    ensure!(scrape.sum("bennu_store_up", &[]) == 1.0 && scrape.sum("bennu_self_test_up", &[]) == 4.0);
    host.stop().await?;
    Ok(())
}

/// The API's own address answers until the end of a stop.
#[tokio::test]
async fn a_host_that_stops_is_not_ready() -> Result<()> {
    let setup = Setup::new().guests(&["naughty"])?.config("[api]\nlisten = \"127.0.0.1:0\"\n").limit("stop_ms", 60_000);
    let mut host = setup.limit("call_cpu_ms", 10_000).limit("call_wall_ms", 20_000).start().await?;
    let line = host.log().find(0, "the address", |line| line.message().starts_with("the API listens on")).await?;
    let address: SocketAddr = line.message().rsplit('/').next().context("an address")?.parse()?;
    eventually("readiness", async || Ok((details_at(&host, address, "/readyz").await?["ok"] == true).then_some(())))
        .await?;
    ensure!(ask(&host, "/readyz").await?.status == 200, "the clients' address has it too");
    // A stop waits for the turns that have begun.
    let mut alice = host.connect().await?;
    alice.join("naughty:1", &json!({})).await?;
    alice.push("naughty:1", "slow", &json!({ "ms": 2_000 })).await?;
    // A message that the host hasn't read has no turn.
    alice.quiet().await?;
    host.signal(Signal::TERM)?;
    let shown = eventually("the stop", async || {
        let shown = details_at(&host, address, "/readyz").await?;
        Ok((shown["ok"] == false).then_some(shown))
    });
    let shown = shown.await?;
    ensure!(reasons(&shown).contains("the host is stopping"), "{shown}");
    ensure!(host.ended().await?.success(), "it stops in order");
    Ok(())
}

/// A new client, and its first answer.
async fn served(host: &TestHost) -> Result<TestClient> {
    let mut client = host.connect().await?;
    client.join("echo:1", &json!({})).await?;
    answers(&mut client).await?;
    Ok(client)
}

async fn answers(client: &mut TestClient) -> Result<()> {
    let answer = client.call("echo:1", "echo", &json!({ "a": 1 })).await?;
    ensure!(answer == json!({ "a": 1 }), "{answer}");
    Ok(())
}

/// While a host drains, a load balancer can see that it isn't ready, and nobody is refused.
#[tokio::test]
async fn a_host_that_drains_is_not_ready_and_serves_on() -> Result<()> {
    let mut host = Setup::new().guests(&["echo"])?.config("drain_ms = 600000\n").start().await?;
    becomes(&host, true).await?;
    let mut alice = served(&host).await?;
    host.signal(Signal::TERM)?;
    let shown = becomes(&host, false).await?;
    ensure!(reasons(&shown).contains("the host is stopping"), "{shown}");
    ensure!(ask(&host, "/livez").await?.status == 200, "a restart doesn't help");
    let mut bob = served(&host).await?;
    answers(&mut alice).await?;
    answers(&mut bob).await?;
    // A second signal doesn't wait.
    host.signal(Signal::TERM)?;
    let status = host.ended().await?;
    ensure!(status.code() == Some(1), "{status}");
    Ok(())
}

#[tokio::test]
async fn a_host_closes_its_connections_when_it_has_drained() -> Result<()> {
    const DRAIN: Duration = Duration::from_millis(300);
    let config = format!("drain_ms = {}\n", DRAIN.as_millis());
    let mut host = Setup::new().guests(&["echo"])?.config(&config).start().await?;
    let mut alice = served(&host).await?;
    let began = Instant::now();
    host.signal(Signal::TERM)?;
    let (_, code) = alice.until_closed().await?;
    ensure!(code == Some(1012) && began.elapsed() >= DRAIN, "{code:?} after {:?}", began.elapsed());
    drop(alice);
    ensure!(host.ended().await?.success(), "it stops in order");
    Ok(())
}

/// The command begins the same stop as a signal. A service manager that sends its signal after that doesn't cut it off.
#[tokio::test]
async fn an_operator_drains_a_host() -> Result<()> {
    let mut host = Setup::new().guests(&["echo"])?.config("drain_ms = 600000\n").start().await?;
    becomes(&host, true).await?;
    let mut alice = served(&host).await?;
    let asked = bennu(host.home(), &["drain", "--host", &host.address().to_string()])?;
    ensure!(asked.code == Some(0) && asked.output == "the host stops; it has 1 sockets and 1 channels\n", "{asked:?}");
    becomes(&host, false).await?;
    asked_by_operator(&host).await?;
    host.log().find(0, "the drain", |line| line.message().starts_with("draining: ")).await?;
    host.signal(Signal::TERM)?;
    let says = |line: &bennu_tests::Line| line.message().starts_with("the host is stopping already");
    host.log().find(0, "the answer to the signal", says).await?;
    answers(&mut alice).await?;
    host.signal(Signal::TERM)?;
    let status = host.ended().await?;
    ensure!(status.code() == Some(1), "{status}");
    // Without a drain, it ends at once.
    let mut host = Setup::new().guests(&["echo"])?.start().await?;
    let mut bob = served(&host).await?;
    let asked = bennu(host.home(), &["drain", "--host", &host.address().to_string()])?;
    ensure!(asked.code == Some(0), "{asked:?}");
    bob.closed_with(1012).await?;
    drop(bob);
    ensure!(host.ended().await?.success(), "it stops in order");
    asked_by_operator(&host).await
}

async fn asked_by_operator(host: &TestHost) -> Result<()> {
    let says = |line: &bennu_tests::Line| line.message() == "an operator has asked the host to stop";
    host.log().find(0, "who has asked for the stop", says).await?;
    Ok(())
}

/// Nobody listens for a successor any more.
#[tokio::test]
async fn a_host_that_drains_is_not_replaced() -> Result<()> {
    let mut host = Setup::new().guests(&["echo"])?.config("drain_ms = 600000\n").start().await?;
    host.signal(Signal::TERM)?;
    host.log().find(0, "the drain", |line| line.message().starts_with("draining: ")).await?;
    let asked = host.upgrade(&[]).await?;
    ensure!(
        asked.code == Some(1) && asked.errors.contains("data is in use by a process that can't be replaced"),
        "{asked:?}"
    );
    served(&host).await?;
    host.signal(Signal::TERM)?;
    host.ended().await?;
    Ok(())
}
