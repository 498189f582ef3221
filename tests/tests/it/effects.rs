//! The effects and answers of a plugin, as clients receive them.

use anyhow::{Result, ensure};
use bennu_tests::{Cast, Setup, TestHost, check, play};
use serde_json::json;

#[tokio::test]
async fn a_reply_can_have_any_status_and_follows_the_effects() -> Result<()> {
    play(
        &["naughty"],
        r#"
        alice > join naughty:1
        alice < ok {"member": 1}
        alice > push {"event": "hello", "payload": {"a": 1}}
        alice < ["1",null,"naughty:1","hello",{"a":1}]
        alice < ok {}
        alice > status {"status": "whatever"}
        alice < reply whatever {}
        alice > echo [1, {"b": null}]
        alice < ok [1, {"b": null}]
        alice > status {}
        alice < error {"reason": "status: missing, expected a string"}
        alice > no_reply
        alice > nonsense
        alice < error {"reason": "unknown event \"nonsense\""}
        alice ~
        "#,
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn broadcasts_go_to_all_or_to_all_others() -> Result<()> {
    play(
        &["naughty"],
        r#"
        alice > join naughty:1
        alice < ok {"member": 1}
        bob   > join naughty:1
        bob   < ok {"member": 2}
        carol > join naughty:2
        carol < ok {"member": 3}

        alice > broadcast {"event": "all", "payload": {"n": 1}}
        alice < [null,null,"naughty:1","all",{"n":1}]
        alice < ok {}
        bob   < [null,null,"naughty:1","all",{"n":1}]
        alice > broadcast_from {"event": "others", "payload": {"n": 2}}
        alice < ok {}
        bob   < [null,null,"naughty:1","others",{"n":2}]

        -- A member may publish to any topic that its plugin's routes match, also without being a member there.
        alice > publish {"topic": "naughty:2", "event": "news", "payload": {"n": 3}}
        alice < ok {}
        carol < [null,null,"naughty:2","news",{"n":3}]
        alice ~
        bob   ~
        carol ~
        "#,
    )
    .await?;
    Ok(())
}

/// A client receives the effects of a callback in the order of the calls, and then the reply.
#[tokio::test]
async fn many_pushes_keep_their_order() -> Result<()> {
    let host = TestHost::start(&["naughty"]).await?;
    let mut alice = host.connect().await?;
    alice.join("naughty:1", &json!({})).await?;
    let asked = alice.push("naughty:1", "pushes", &json!({"count": 500, "bytes": 10})).await?;
    for n in 0..500 {
        alice.expect(&json!(["1", null, "naughty:1", "one_of_many", {"n": n, "filler": "xxxxxxxxxx"}])).await?;
    }
    let reply = alice.reply("naughty:1", &asked).await?;
    ensure!(reply.status == "ok", "{reply:?}");
    drop(alice);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn publishing_to_a_topic_of_another_plugin_must_be_granted() -> Result<()> {
    let granted = "[plugins.naughty]\npublish = [\"echo:*\"]";
    let host = Setup::new().guests(&["naughty", "echo"])?.config(granted).start().await?;
    check(
        &host,
        r#"
        bob   > join echo:1
        bob   < ok {}
        alice > join naughty:1
        alice < ok …
        alice > publish {"topic": "echo:1", "event": "news", "payload": {}}
        alice < ok {}
        bob   < news {}
        -- Publishing to a topic without members succeeds. Publishing without a grant is a fault.
        alice > publish {"topic": "echo:2", "event": "news", "payload": {}}
        alice < ok {}
        alice > publish {"topic": "room:1", "event": "news", "payload": {}}
        alice < phx_error
        "#,
    )
    .await?;
    let fault = host.log().find(0, "the fault", |line| line.message().starts_with("fault")).await?;
    ensure!(fault.message().contains("add it to `plugins.naughty.publish`"), "{}", fault.text);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_member_may_send_to_itself() -> Result<()> {
    play(
        &["naughty"],
        r#"
        alice > join naughty:1
        alice < ok …
        alice > self
        alice < ok {}
        alice < ["1",null,"naughty:1","told",{"source":"self"}]
        alice > timer {"ms": 20}
        alice < ok {"timer": 0}
        alice < ["1",null,"naughty:1","rang",{}]
        alice ~
        "#,
    )
    .await?;
    Ok(())
}

/// The test has a second, later timer. If the cancelled timer fired, it would fire before that one.
#[tokio::test]
async fn a_cancelled_timer_does_not_fire() -> Result<()> {
    play(
        &["naughty"],
        r#"
        alice > join naughty:1
        alice < ok …
        alice > timer {"ms": 60}
        alice < ok {"timer": 0}
        alice > cancel
        alice < ok {}
        alice > later #slow {"ms": 200}
        alice > timer {"ms": 100}
        alice < ok {"timer": 2}
        alice < rang {}
        alice < ok #slow {"late": true}
        alice ~
        "#,
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_timer_ends_with_its_member() -> Result<()> {
    play(
        &["naughty"],
        r#"
        alice > join naughty:1
        alice < ok …
        alice > timer {"ms": 50}
        alice < ok …
        alice > leave
        alice < ok {}
        alice < phx_close
        alice > join naughty:1
        alice < ok …
        alice > timer {"ms": 100}
        alice < ok …
        alice < rang {}
        alice ~
        "#,
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_reply_can_be_late_and_be_sent_more_than_once() -> Result<()> {
    play(
        &["naughty"],
        r#"
        alice > join naughty:1
        alice < ok …
        alice > later #first {"ms": 50}
        alice > echo #second {"n": 2}
        alice < ok #second {"n": 2}
        alice < ok #first {"late": true}
        alice > twice #twice
        alice < ok #twice {"first": true}
        alice < ok #twice {"second": true}
        alice ~
        "#,
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_stop_closes_the_member_and_runs_terminate() -> Result<()> {
    play(
        &["naughty"],
        r#"
        bob   > join naughty:1
        bob   < ok …
        alice > join naughty:1
        alice < ok …
        alice > stop
        alice < phx_close
        alice > echo
        alice < unmatched
        bob   < gone {"member": 2, "cause": "stopped", "detail": "asked to"}

        alice > join naughty:1
        alice < ok …
        alice > stop_reply
        alice < ok {"last": "words"}
        alice < phx_close
        bob   < gone {"member": 3, "cause": "stopped", "detail": "asked to"}

        alice > join naughty:1
        alice < ok …
        alice > info_stop
        alice < ok {}
        alice < phx_close
        bob   < gone {"member": 4, "cause": "stopped", "detail": "asked to"}
        alice ~
        bob   ~
        "#,
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn the_end_of_a_connection_ends_its_members() -> Result<()> {
    let host = TestHost::start(&["naughty"]).await?;
    check(
        &host,
        r#"
        bob   > join naughty:1
        bob   < ok …
        alice > join naughty:1
        alice < ok …
        alice x close
        bob   < gone {"member": 2, "cause": "closed", "detail": ""}
        carol > join naughty:1
        carol < ok …
        carol x drop
        bob   < gone {"member": 3, "cause": "closed", "detail": ""}

        -- Messages that were sent before the end are still handled.
        dave  > join naughty:1
        dave  < ok …
        dave  > broadcast {"event": "goodbye", "payload": {}}
        dave  x close
        bob   < goodbye {}
        bob   < gone {"member": 4, "cause": "closed", "detail": ""}
        bob   ~
        "#,
    )
    .await?;
    host.holds(0, 0).await?;
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_plugin_can_read_the_facts_of_a_member() -> Result<()> {
    let config = "[plugins.naughty]\nconfig = { greeting = \"hello\", most = [1, 2] }";
    let host = Setup::new().guests(&["naughty"])?.config(config).start().await?;
    let request =
        host.connect_request().query("vsn=2.0.0&user=al%20ice&a[b]=c&list[]=1").header("X-Real-Name", "Alice");
    let mut cast = Cast::new(&host);
    cast.enter("alice", request.header("cookie", "secret").connect().await?);
    cast.play(
        r#"
        alice > ["j",1,"naughty:facts","phx_join",{}]
        alice < ["j",1,"naughty:facts","phx_reply",…]
        alice > ["j",2,"naughty:facts","facts",{}]
        "#,
    )
    .await?;
    let facts = &cast.client("alice")?.json().await?[4]["response"];
    let expected = [
        ("topic", json!("naughty:facts")),
        ("member", json!(1)),
        ("socket_id", json!(null)),
        ("join_ref", json!("\"j\"")),
        ("transport", json!("websocket")),
        ("connect_params", json!({"vsn": "2.0.0", "user": "al ice", "a": {"b": "c"}, "list": ["1"]})),
        ("x_headers", json!([["x-real-name", "Alice"]])),
        ("config", json!({"greeting": "hello", "most": [1, 2]})),
    ];
    for (fact, value) in expected {
        ensure!(facts[fact] == value, "{fact} is {} in {facts}", facts[fact]);
    }
    let ids = [0, 1].map(|at| facts["ids"][at].as_str().unwrap_or_default());
    ensure!(ids[0].len() == 20 && ids[0] < ids[1], "ids sort in the order in which they were created: {ids:?}");
    drop(cast);
    host.stop().await?;
    Ok(())
}
