//! JSON that some parsers can't read. If the host itself has to read it, the host refuses it at once, and other members
//! aren't affected.

use anyhow::{Result, ensure};
use bennu_tests::{Cast, Received, TestHost, bennu};
use serde_json::json;

/// Objects that are valid JSON but can't be read by `serde_json`.
fn unreadable() -> [String; 4] {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(127), "]".repeat(127));
    [r#"{"a":1e999}"#.into(), r#"{"a":"\ud83d"}"#.into(), r#"{"\ud800":1}"#.into(), deep]
}

#[tokio::test]
async fn an_unreadable_state_is_a_fault_and_the_previous_state_stays() -> Result<()> {
    let host = TestHost::start(&["naughty"]).await?;
    let mut cast = Cast::new(&host);
    cast.play(
        r#"
        alice > join unruly:1
        alice < ok {}
        bob   > join unruly:1
        bob   < ok {}
        bob   > publish_text {"state": "{\"a\":1,\"long\":\"unchanged\"}"}
        bob   < room_state {"n": 1, "state": {"a": 1, "long": "unchanged"}}
        bob   < ok {}
        alice < room_state {"n": 1, "state": {"a": 1, "long": "unchanged"}}
        "#,
    )
    .await?;
    for text in unreadable() {
        let mark = host.log().len();
        let payload = json!({ "state": text });
        cast.play(&format!("bob > publish_text {payload}\nbob < phx_error")).await?;
        let fault = host.log().find(mark, "the fault", |line| line.field("kind") == "failed").await?;
        ensure!(fault.message().contains("a published state is a JSON object: "), "{}", fault.text);
        // The previous state is unchanged.
        cast.play("bob > join unruly:1\nbob < ok {}").await?;
        cast.play(r#"bob < room_state {"n": 1, "state": {"a": 1, "long": "unchanged"}}"#).await?;
    }
    let next = json!({ "state": r#"{"a":2,"long":"unchanged"}"# });
    cast.play(&format!("bob > publish_text {next}\nbob < room_diff {{\"n\": 2, \"patch\": {{\"a\": 2}}}}")).await?;
    cast.play(r#"alice < room_diff {"n": 2, "patch": {"a": 2}}"#).await?;
    drop(cast);
    host.stop().await?;
    Ok(())
}

/// A published state with the maximum nesting is sent unchanged.
#[tokio::test]
async fn the_deepest_state_is_sent_unchanged() -> Result<()> {
    let host = TestHost::start(&["naughty"]).await?;
    let mut alice = host.connect().await?;
    alice.join("unruly:1", &json!({})).await?;
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(126), "]".repeat(126));
    alice.push("unruly:1", "publish_text", &json!({ "state": deep })).await?;
    let expected = format!(r#"[null,null,"unruly:1","room_state",{{"n":1,"state":{deep}}}]"#);
    let received = alice.next().await?;
    ensure!(received == Received::Text(expected), "{received}");
    ensure!(alice.json().await?[4]["status"] == "ok");
    drop(alice);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn an_unreadable_meta_is_refused_and_the_list_of_presences_stays_readable() -> Result<()> {
    let host = TestHost::start(&["naughty"]).await?;
    let mut cast = Cast::new(&host);
    cast.play("alice > join naughty:1\nalice < ok …\nalice > track {\"key\": \"a\", \"meta\": {\"n\": 1}}").await?;
    cast.play("alice < presence_diff …\nalice < ok {}").await?;
    for text in unreadable() {
        let payload = json!({ "key": "b", "meta": text });
        cast.play("bob > join naughty:1\nbob < ok …").await?;
        cast.play(&format!("bob > track_text {payload}\nbob < phx_error")).await?;
        cast.play("alice < gone …").await?;
    }
    // A meta with the maximum nesting. The list of presences nests deeper than that.
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(126), "]".repeat(126));
    cast.play("bob > join naughty:1\nbob < ok …").await?;
    let bob = cast.client("bob")?;
    bob.push("naughty:1", "track_text", &json!({ "key": "b", "meta": deep })).await?;
    let diff = bob.next().await?;
    ensure!(matches!(&diff, Received::Text(text) if text.contains("presence_diff") && text.contains("[[[")), "{diff}");
    ensure!(bob.json().await?[4]["status"] == "ok");
    bob.push("naughty:1", "presences", &json!({ "topic": "naughty:1" })).await?;
    let listed = bob.next().await?;
    let has_both = |text: &str| text.contains(r#""a":{"metas":[{"n":1,"#) && text.contains(r#""b":{"metas":[{"a":[[["#);
    ensure!(matches!(&listed, Received::Text(text) if has_both(text)), "{listed}");
    let ended = bennu(host.home(), &["presence", "naughty:1", "--host", &host.address().to_string()])?;
    let lines: Vec<_> = ended.output.lines().map(|line| line.split("  ").next().unwrap_or_default()).collect();
    ensure!(ended.code == Some(0) && lines == ["a", "b"], "{ended:?}");
    let ended = bennu(host.home(), &["presence", "naughty:1", "--json", "--host", &host.address().to_string()])?;
    ensure!(ended.code == Some(0) && has_both(&ended.output.replace([' ', '\n'], "")), "{ended:?}");
    drop(cast);
    host.stop().await?;
    Ok(())
}
