//! Limits and proxies that change by a reload of the configuration: each from its time on, for those whom docs/configuration.md names.

use anyhow::{Result, ensure};
use bennu_tests::{Received, Reply, Setup, TestClient, TestHost, eventually};
use serde_json::{Value, json};

use crate::client_limits::{from, peer};
use crate::config_reload::{changes, reload};
use crate::limit_counts::stop_after_hits;

/// Makes the host read a configuration, whose differences must be exactly these.
async fn changed(host: &TestHost, config: &str, expected: &[&str]) -> Result<()> {
    let answer = reload(host, config).await?;
    ensure!(changes(&answer) == expected, "{config}: {answer}");
    Ok(())
}

fn limit(key: &str, value: u64) -> String {
    format!("[limits]\n{key} = {value}\n")
}

/// A header, its value, and the start of the address that the host takes for the client's.
type Seen = (&'static str, &'static str, &'static str);

#[tokio::test]
async fn proxies_are_trusted_from_a_reload_on() -> Result<()> {
    let host = Setup::new().guests(&["echo"])?.config("").start().await?;
    let trusts = "trusted_proxies = [\"127.0.0.0/8\"]\n";
    let forwarded = format!("{trusts}client_address = \"forwarded\"\n");
    let own = "127.0.0.1:";
    // The log shows at most five refused clients in a second.
    let steps: [(&str, &[&str], &[Seen]); 3] = [
        (trusts, &["trusted_proxies now"], &[("x-forwarded-for", "203.0.113.7", "203.0.113.7:0")]),
        (
            &forwarded,
            &["client_address now"],
            &[("x-forwarded-for", "203.0.113.7", own), ("forwarded", "for=203.0.113.8", "203.0.113.8:0")],
        ),
        ("", &["client_address now", "trusted_proxies now"], &[("x-forwarded-for", "203.0.113.7", own)]),
    ];
    ensure!(peer(&host, "x-forwarded-for", "203.0.113.7").await?.starts_with(own), "nobody is trusted yet");
    for (config, expected, clients) in steps {
        changed(&host, config, expected).await?;
        for (header, value, address) in clients {
            let seen = peer(&host, header, value).await?;
            ensure!(seen.starts_with(address), "{config}: {seen}");
        }
    }
    host.stop().await?;
    Ok(())
}

/// These count what clients do together, also those that were connected before.
#[tokio::test]
async fn limits_of_addresses_and_users_change_for_everybody() -> Result<()> {
    let proxy = "trusted_proxies = [\"127.0.0.0/8\"]\n";
    let host = Setup::new().guests(&["echo"])?.config(proxy).start().await?;
    let mut early = from(&host, "203.0.113.7").connect().await?;
    early.join("echo:1", &json!({})).await?;
    let with = |limits: &str| format!("{proxy}[limits.address]\n{limits}\n");
    changed(&host, &with("connections = 1"), &["limits.address now"]).await?;
    ensure!(from(&host, "203.0.113.7").refused().await? == 429, "the client from before counts");
    ensure!(from(&host, "203.0.113.8").connect().await.is_ok(), "another address");
    changed(&host, &with("messages_per_second = 1\nmessages_burst = 1"), &["limits.address now"]).await?;
    ensure!(from(&host, "203.0.113.7").connect().await.is_ok(), "its connections have no limit any more");
    let refused = eventually("a message of the client from before is refused", async || {
        let answer = early.ask("echo:1", "echo", &json!({})).await?;
        Ok((answer.status == "error").then_some(answer.response))
    });
    let refused = refused.await?;
    ensure!(refused["reason"] == "too many messages", "{refused}");
    changed(&host, proxy, &["limits.address now"]).await?;
    for _ in 0..10 {
        early.call("echo:1", "echo", &json!({})).await?;
    }
    let user = format!("{proxy}[limits.user]\nmessages_per_second = 1\nmessages_burst = 1\n");
    changed(&host, &user, &["limits.user now"]).await?;
    let refused = eventually("a message is refused again", async || {
        let answer = early.ask("echo:1", "echo", &json!({})).await?;
        Ok((answer.status == "error").then_some(answer.response))
    });
    let refused = refused.await?;
    ensure!(refused["reason"] == "too many messages", "{refused}");
    drop(early);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn limits_of_a_connection_change_for_new_ones() -> Result<()> {
    let host = Setup::new().guests(&["echo"])?.config("").start().await?;
    let mut old = host.connect().await?;
    old.join("echo:1", &json!({})).await?;
    let large = json!({ "text": "x".repeat(3000) });

    changed(&host, &limit("frame_bytes", 2000), &["limits.frame_bytes new_connections"]).await?;
    let mut new = host.connect().await?;
    new.join("echo:1", &json!({})).await?;
    ensure!(old.call("echo:1", "echo", &large).await? == large, "an open connection keeps its limit");
    new.push("echo:1", "echo", &large).await?;
    new.closed_with(1009).await?;

    let expected = ["limits.channels_per_socket new_connections", "limits.frame_bytes new_connections"];
    changed(&host, &limit("channels_per_socket", 1), &expected).await?;
    let mut new = host.connect().await?;
    new.join("echo:1", &json!({})).await?;
    old.join("echo:2", &json!({})).await?;
    let refused = new.ask("echo:2", "phx_join", &json!({})).await?;
    ensure!(refused.status == "error", "{refused:?}");
    ensure!(new.call("echo:1", "echo", &large).await? == large, "its frames have the default limit again");

    let expected = ["limits.channels_per_socket new_connections", "limits.messages_per_second new_connections"];
    changed(&host, &limit("messages_per_second", 5), &expected).await?;
    let mut new = host.connect().await?;
    new.join("echo:1", &json!({})).await?;
    for _ in 0..20 {
        old.call("echo:1", "echo", &json!({})).await?;
        new.push("echo:1", "echo", &json!({})).await?;
    }
    let (_, code) = new.until_closed().await?;
    ensure!(code == Some(1008), "{code:?}");

    let expected = ["limits.idle_ms new_connections", "limits.messages_per_second new_connections"];
    changed(&host, &limit("idle_ms", 1000), &expected).await?;
    host.connect().await?.closed_with(1002).await?;
    old.quiet().await?;
    drop(old);
    host.stop().await?;
    Ok(())
}

/// Sends an event as a new member. Returns the reply, or none if the call had a fault.
async fn called(host: &TestHost, event: &str, payload: &Value) -> Result<Option<Reply>> {
    let mut client: TestClient = host.connect().await?;
    client.join("naughty:1", &json!({})).await?;
    let reference = client.push("naughty:1", event, payload).await?;
    loop {
        let Received::Json(frame) = client.next().await? else { continue };
        if frame[3] == "phx_error" {
            return Ok(None);
        }
        if frame[3] == "phx_reply" && frame[1] == reference.as_str() {
            let status = frame[4]["status"].as_str().unwrap_or_default().to_owned();
            return Ok(Some(Reply { status, response: frame[4]["response"].clone() }));
        }
    }
}

#[tokio::test]
async fn limits_of_a_call_change_with_a_reload_of_the_plugins() -> Result<()> {
    let config = "[plugins.naughty]\nstore = \"naughty\"\n";
    let host = Setup::new().guests(&["naughty"])?.config(config).start().await?;
    let cases = [
        ("effects_per_call", 2, "pushes", json!({ "count": 3, "bytes": 1 })),
        ("effect_bytes", 1000, "pushes", json!({ "count": 1, "bytes": 2000 })),
        ("log_lines_per_call", 1, "log", json!({})),
        ("store_bytes_per_plugin", 1000, "store_put", json!({ "value": "x".repeat(2000) })),
    ];
    let mut before: Vec<String> = Vec::new();
    for (key, value, event, mut payload) in cases {
        payload["key"] = "before".into();
        let worked = called(&host, event, &payload).await?;
        ensure!(worked.as_ref().is_some_and(|reply| reply.status == "ok"), "{event}: {worked:?}");
        let own = format!("limits.{key} plugin_reload");
        let mut expected: Vec<&str> = before.iter().map(String::as_str).chain([own.as_str()]).collect();
        expected.sort_unstable();
        changed(&host, &format!("{config}{}", limit(key, value)), &expected).await?;
        // A value that replaces one of the same size would take no further bytes.
        payload["key"] = "after".into();
        let refused = called(&host, event, &payload).await?;
        ensure!(refused.is_none(), "{key}: {refused:?}");
        before = vec![own];
    }
    host.stop().await?;
    Ok(())
}

const NEWS: &str = r#"
import { channel, plugin } from "bennu";

export default plugin({
  "news:*": channel({
    history: { count: 100, ms: 60_000 },
    on: {
      say(payload, socket) {
        socket.broadcast("said", payload);
        return {};
      },
    },
  }),
});
"#;

#[tokio::test]
async fn a_smaller_history_drops_what_is_too_much() -> Result<()> {
    let host = Setup::new().file("plugins/news.ts", NEWS.into()).config("").start().await?;
    let bytes = async || Ok::<_, anyhow::Error>(host.inspect().await?["history"]["bytes"].as_u64().unwrap_or_default());
    let mut client = host.connect().await?;
    client.join("news:1", &json!({})).await?;
    let say = async |client: &mut TestClient| {
        let reference = client.push("news:1", "say", &json!({ "text": "x".repeat(1000) })).await?;
        loop {
            let frame = client.json().await?;
            if frame[3] == "phx_reply" && frame[1] == reference.as_str() {
                return Ok::<_, anyhow::Error>(());
            }
        }
    };
    for _ in 0..10 {
        say(&mut client).await?;
    }
    let before = bytes().await?;
    ensure!(before > 10_000, "{before}");
    let config = limit("history_bytes_per_topic", 5000);
    changed(&host, &config, &["limits.history_bytes_per_topic now"]).await?;
    say(&mut client).await?;
    let after = bytes().await?;
    ensure!(after < 8000, "{after} after {before}");
    drop(client);
    stop_after_hits(host, &["history_bytes_per_topic"]).await
}
