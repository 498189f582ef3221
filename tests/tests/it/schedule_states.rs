//! Schedules that wait for their plugin or are given up, and cron lines that fire: what an operator sees of them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bennu::contract::system_now_ms;
use bennu_tests::{Scrape, Setup, TestHost, bennu, request};
use serde_json::{Value, json};

use crate::limit_counts::stop_after_hits;

/// A topic that notes what the host sends it. `flaky` fails until it is allowed.
const SCRIPT: &str = r#"import { channel, plugin, schedule, store } from "bennu";

const note = (topic, { source, event, key, due }) => store.put("noted", { topic: topic.topic, source, event, key, due });

export default plugin({ "noting:*": channel({
  message: {
    later({ ms, event }, topic) {
      schedule.after(topic.topic, ms, "k", event);
      return {};
    },
    allow() {
      store.put("allowed", true);
      return {};
    },
    noted: () => store.get("noted") ?? null,
  },
  topicInfo: {
    ring: (_, topic, message) => note(topic, message),
    flaky(_, topic, message) {
      if (!store.get("allowed")) throw new Error("not allowed");
      note(topic, message);
    },
  },
}) });
"#;

/// The longest time until a schedule is given up, and until a minute is over.
const PATIENCE: Duration = Duration::from_secs(300);

fn setup(config: &str) -> Setup {
    Setup::new().file("plugins/noting.ts", SCRIPT.into()).config(config)
}

/// Sends to the topic, and returns its answer.
async fn send(host: &TestHost, event: &str, payload: Value) -> Result<Value> {
    let answer = host.post("/api/send", &json!({ "topic": "noting:1", "event": event, "payload": payload })).await?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(answer.json()?["reply"]["response"].clone())
}

/// `bennu schedules`.
fn schedules(host: &TestHost, arguments: &[&str]) -> Result<String> {
    let address = host.address().to_string();
    let ended = bennu(host.home(), &[&["schedules"], arguments, &["--host", &address]].concat())?;
    ensure!(ended.code == Some(0), "{ended:?}");
    Ok(ended.output)
}

/// The state of the only schedule.
fn state(host: &TestHost) -> Result<Value> {
    let shown: Value = serde_json::from_str(&schedules(host, &["--json"])?)?;
    Ok(shown[0]["state"].clone())
}

/// The schedules of a state, as Prometheus gets them.
async fn counted(host: &TestHost, state: &str) -> Result<f64> {
    let answer = request(host.address(), "GET", "/metrics", &[]).await?;
    Ok(Scrape::read(&answer.body)?.sum("bennu_schedules", &[("state", state)]))
}

/// Asks once a second, because this takes minutes.
async fn patiently<T>(what: &str, look: impl AsyncFn() -> Result<Option<T>>) -> Result<T> {
    let looking = async {
        loop {
            if let Some(found) = look().await? {
                return Ok(found);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.with_context(|| what.to_owned())?
}

/// What the topic has noted.
async fn noted(host: &TestHost) -> Result<Option<Value>> {
    let noted = send(host, "noted", json!({})).await?;
    Ok((!noted.is_null()).then_some(noted))
}

#[tokio::test]
async fn a_schedule_waits_while_its_plugin_is_unloaded() -> Result<()> {
    let host = setup("").start().await?;
    send(&host, "later", json!({ "ms": 3_600_000, "event": "ring" })).await?;
    ensure!(state(&host)? == "waiting" && counted(&host, "waiting").await? > 0.5);
    send(&host, "later", json!({ "ms": 300, "event": "ring" })).await?;
    let command = async |name: &str| request(host.address(), "POST", &format!("/api/plugins/noting/{name}"), &[]).await;
    ensure!(command("unload").await?.status == 200);
    host.shows("the schedule is due", |shown| shown["jobs"]["unserved"] == 1).await?;
    ensure!(state(&host)? == "unserved" && counted(&host, "unserved").await? > 0.5, "{}", schedules(&host, &[])?);
    ensure!(command("reload").await?.status == 200);
    host.shows("it has fired", |shown| shown["jobs"]["all"] == 0).await?;
    let noted = noted(&host).await?.context("it has fired")?;
    ensure!(noted["source"] == "schedule" && noted["key"] == "k", "{noted}");
    host.stop().await?;
    Ok(())
}

/// Five tries take two and a half minutes.
#[tokio::test]
async fn a_schedule_that_was_given_up_is_kept_and_can_be_retried() -> Result<()> {
    if !bennu_test_tiers::runs("schedule_states::a_schedule_that_was_given_up_is_kept_and_can_be_retried") {
        return Ok(());
    }
    let host = setup("").start().await?;
    send(&host, "later", json!({ "ms": 0, "event": "flaky" })).await?;
    patiently("the schedule is given up", async || Ok((state(&host)? == "given-up").then_some(()))).await?;
    ensure!(counted(&host, "given-up").await? > 0.5 && schedules(&host, &["--failed"])?.contains("given-up"));
    host.log().find(0, "the error", |line| line.text.contains("`bennu schedules` shows it")).await?;
    ensure!(noted(&host).await?.is_none());
    send(&host, "allow", json!({})).await?;
    schedules(&host, &["retry", "noting", "noting:1", "k"])?;
    host.shows("it has fired", |shown| shown["jobs"]["all"] == 0).await?;
    ensure!(noted(&host).await?.context("it has fired")?["event"] == "flaky");
    stop_after_hits(host, &["schedule_tries"]).await
}

/// A line of each minute.
#[tokio::test]
async fn a_cron_line_fires() -> Result<()> {
    if !bennu_test_tiers::runs("schedule_states::a_cron_line_fires") {
        return Ok(());
    }
    let before_ms = system_now_ms();
    let line = "[[plugins.noting.cron]]\ntopic = \"noting:1\"\nevent = \"ring\"\nschedule = \"* * * * *\"\n";
    let host = setup(line).start().await?;
    let started_ms = system_now_ms();
    let noted = patiently("the line has fired", async || noted(&host).await).await?;
    let due_ms = noted["due"].as_u64().context("a time")?;
    ensure!(noted["source"] == "cron" && noted["event"] == "ring" && noted["topic"] == "noting:1", "{noted}");
    ensure!(due_ms % 60_000 == 0 && due_ms > before_ms && due_ms <= started_ms + 60_000, "{noted}");
    let next: Value = serde_json::from_str(&schedules(&host, &["--cron", "--json"])?)?;
    ensure!(next[0]["due_ms"] == due_ms + 60_000, "{next}");
    host.stop().await?;
    Ok(())
}
