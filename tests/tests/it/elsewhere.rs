//! Effects outside a member's own topic: presences, subscriptions, topic messages, disconnects by socket id, tokens; and
//! the grants that they need.

use anyhow::{Context, Result, ensure};
use bennu_tests::{Cast, Received, Setup, TestHost, check, play};
use serde_json::json;

use crate::limit_counts::stop_after_hits;

const GRANTED: &str = "[plugins.naughty]\npublish = [\"echo:*\", \"user:*\"]\nread = [\"echo:*\"]\n";

#[tokio::test]
async fn presences_are_sent_to_the_topic() -> Result<()> {
    play(
        &["naughty"],
        r#"
        alice > join naughty:1
        alice < ok …
        bob   > join naughty:1
        bob   < ok …
        alice > push_presence
        alice < presence_state {}
        alice < ok {}
        alice > track {"key": "alice", "meta": {"device": "phone"}}
        alice < presence_diff {"joins": {"alice": {"metas": [{"device": "phone", "phx_ref": …}]}}, "leaves": {}}
        alice < ok {}
        bob   < presence_diff {"joins": {"alice": {"metas": [{"device": "phone", "phx_ref": …}]}}, "leaves": {}}
        bob   > push_presence
        bob   < presence_state {"alice": {"metas": [{"device": "phone", "phx_ref": …}]}}
        bob   < ok {}
        alice > update_presence {"key": "alice", "meta": {"device": "desk"}}
        alice < presence_diff {"joins": {"alice": {"metas": [{"device": "desk", "phx_ref": …, "phx_ref_prev": …}]}}, "leaves": {"alice": {"metas": [{"device": "phone", "phx_ref": …}]}}}
        alice < ok {}
        bob   < presence_diff …
        bob   > presences {"topic": "naughty:1"}
        bob   < ok {"alice": {"metas": [{"device": "desk", "phx_ref": …, "phx_ref_prev": …}]}}

        -- The presences of a member leave, however the member ends.
        alice > panic
        alice < phx_error
        bob   < presence_diff {"joins": {}, "leaves": {"alice": {"metas": [{"device": "desk", "phx_ref": …, "phx_ref_prev": …}]}}}
        bob   < gone {"member": 1, "cause": "fault", "detail": "trap"}
        bob   ~
        "#,
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn presences_have_limits() -> Result<()> {
    let host = Setup::new()
        .guests(&["naughty"])?
        .limit("presences_per_member", 1)
        .limit("presence_bytes", 20)
        .limit("presence_window_ms", 0)
        .limit("subscriptions_per_member", 1)
        .start()
        .await?;
    for (event, says) in [
        (r#"track {"key": "b", "meta": {}}"#, "at most 1 presences"),
        (r#"track {"key": "a", "meta": {}}"#, "is tracked under `a` already"),
        (r#"track {"key": "b", "meta": {"filler": "xxxxxxxxxxxxx"}}"#, "a presence's meta of"),
        (r#"track {"key": "b", "meta": []}"#, "is a JSON object"),
        (r#"update_presence {"key": "b", "meta": {}}"#, "isn't tracked under `b`"),
    ] {
        let mark = host.log().len();
        let script = format!(
            "alice > join naughty:1\nalice < ok …\nalice > track {{\"key\": \"a\", \"meta\": {{}}}}\nalice < presence_diff …\n\
             alice < ok {{}}\nalice > {event}\nalice < phx_error\nalice x drop"
        );
        check(&host, &script).await?;
        host.log().find(mark, says, |line| line.message().contains(says)).await?;
    }
    let mark = host.log().len();
    let subscribe = |topic: &str| format!("alice > subscribe {{\"topic\": \"{topic}\"}}\n");
    let script = format!(
        "alice > join naughty:1\nalice < ok …\n{}alice < ok {{}}\n{}alice < ok {{}}\n{}alice < phx_error",
        subscribe("naughty:2"),
        subscribe("naughty:2"),
        subscribe("naughty:3")
    );
    check(&host, &script).await?;
    host.log().find(mark, "the limit", |line| line.message().contains("at most 1 further topics")).await?;
    stop_after_hits(host, &["presences_per_member", "presence_bytes", "subscriptions_per_member"]).await
}

#[tokio::test]
async fn presence_diffs_within_the_window_are_merged() -> Result<()> {
    let host =
        Setup::new().guests(&["naughty"])?.limit("presence_burst", 1).limit("presence_window_ms", 50).start().await?;
    let mut cast = Cast::new(&host);
    cast.play("bob > join naughty:1\nbob < ok …\nalice > join naughty:1\nalice < ok …").await?;
    let track = |key: &str| format!("alice > track {{\"key\": \"{key}\", \"meta\": {{}}}}\n");
    cast.play(&format!("{}{}{}", track("a"), track("b"), track("c"))).await?;
    let (mut frames, mut joined) = (0, 0);
    while joined < 3 {
        let Received::Json(frame) = cast.client("bob")?.next().await? else { continue };
        ensure!(frame[3] == "presence_diff", "{frame}");
        frames += 1;
        joined += frame[4]["joins"].as_object().context("joins")?.len();
    }
    ensure!(frames == 2, "expected one frame for the first diff and one for the others, got {frames}");
    drop(cast);
    stop_after_hits(host, &["presence_burst", "presence_window_ms"]).await
}

#[tokio::test]
async fn topics_can_send_messages_to_each_other() -> Result<()> {
    let host = Setup::new().guests(&["naughty", "echo"])?.config(GRANTED).start().await?;
    check(
        &host,
        r#"
        alice > join naughty:1
        alice < ok …
        carol > join echo:1
        carol < ok {}
        alice > send {"topic": "naughty:desk", "event": "echo", "payload": {"a": 1}}
        alice < ok {}
        alice < answered {"topic": "naughty:desk", "event": "echo", "payload": {"status": "ok", "response": {"a": 1}}}
        alice > send {"topic": "naughty:desk", "event": "quiet", "payload": {}}
        alice < ok {}
        alice > subscribe {"topic": "echo:1"}
        alice < ok {}
        carol > shout {"b": 2}
        carol < shout {"b": 2}
        alice < heard {"topic": "echo:1", "event": "shout", "payload": {"b": 2}}
        alice > unsubscribe {"topic": "echo:1"}
        alice < ok {}
        carol > shout {"b": 3}
        carol < shout {"b": 3}
        alice ~
        alice > topics {"prefix": "echo:"}
        alice < ok [["echo:1", 1]]
        alice > people {"topic": "naughty:1"}
        alice < ok [null]
        "#,
    )
    .await?;
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn an_effect_without_a_grant_is_a_fault() -> Result<()> {
    let host = TestHost::start(&["naughty"]).await?;
    for (event, says) in [
        (r#"publish {"topic": "echo:1", "event": "e", "payload": {}}"#, "publishing to `echo:1` isn't granted"),
        (r#"send {"topic": "echo:1", "event": "e", "payload": {}}"#, "sending to `echo:1` isn't granted"),
        (r#"disconnect {"id": "user:1"}"#, "disconnecting `user:1` isn't granted"),
        (r#"subscribe {"topic": "echo:1"}"#, "reading `echo:1` isn't granted"),
        (r#"presences {"topic": "echo:1"}"#, "reading `echo:1` isn't granted"),
        (r#"people {"topic": "echo:1"}"#, "reading `echo:1` isn't granted"),
        (r#"topics {"prefix": "naughty"}"#, "reading `naughty*` isn't granted"),
        (r#"sign {"value": 1}"#, "this host has no secret for tokens"),
    ] {
        let mark = host.log().len();
        check(
            &host,
            &format!("alice > join naughty:1\nalice < ok …\nalice > {event}\nalice < phx_error\nalice x drop"),
        )
        .await?;
        let line = host.log().find(mark, says, |line| line.message().contains(says)).await?;
        ensure!(line.fields["kind"] == "failed", "{line:?}");
    }
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn plugins_sign_and_verify_tokens() -> Result<()> {
    let host = Setup::new()
        .guests(&["naughty"])?
        .file("secret.txt", b"a secret of more than twenty bytes\n".to_vec())
        .config("secret_key_base = { file = \"secret.txt\" }")
        .start()
        .await?;
    let mut alice = host.connect().await?;
    alice.push("naughty:1", "phx_join", &json!({})).await?;
    alice.json().await?;
    alice.push("naughty:1", "sign", &json!({ "value": { "user": 42 } })).await?;
    let token = alice.json().await?[4]["response"]["token"].clone();
    for (token, expected) in [
        (token.clone(), json!({ "response": { "value": { "user": 42 } }, "status": "ok" })),
        (json!(""), json!({ "response": { "reason": "missing" }, "status": "error" })),
        (json!("forged"), json!({ "response": { "reason": "invalid" }, "status": "error" })),
    ] {
        alice.push("naughty:1", "verify", &json!({ "token": token })).await?;
        let answer = alice.json().await?;
        ensure!(answer[4] == expected, "{answer}");
    }
    Ok(())
}
