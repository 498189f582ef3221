//! Joins, leaves and refs, as `docs/protocol.md` describes them.

use anyhow::{Result, ensure};
use bennu_tests::crafted::Crafted;
use bennu_tests::{Cast, Setup, TestHost, check, play};
use serde_json::json;

#[tokio::test]
async fn members_of_a_topic_get_each_others_messages() -> Result<()> {
    play(
        &["chat"],
        r#"
        alice > join room:1 {"user": "alice"}
        alice < ok {}
        alice < presence_state {}
        alice < presence_diff {"joins": {"alice": {"metas": [{"phx_ref": …, "online_at": …}]}}, "leaves": {}}
        bob   > join room:1 {"user": "bob"}
        bob   < ok {}
        bob   < presence_state {"alice": {"metas": [{"phx_ref": …, "online_at": …}]}}
        bob   < presence_diff {"joins": {"bob": {"metas": [{"phx_ref": …, "online_at": …}]}}, "leaves": {}}
        alice < presence_diff {"joins": {"bob": {"metas": [{"phx_ref": …, "online_at": …}]}}, "leaves": {}}
        alice > new_msg {"body": "hi"}
        alice < new_msg {"id": …, "user": "alice", "body": "hi", "at": …}
        alice < ok {"id": …}
        bob   < new_msg {"id": …, "user": "alice", "body": "hi", "at": …}
        bob   > typing {"typing": true}
        alice < typing {"user": "bob", "typing": true}
        bob   ~

        -- A third member, in another topic, gets none of these messages.
        carol > join room:2 {"user": "carol"}
        carol < ok {}
        carol < presence_state {}
        carol < presence_diff {"joins": {"carol": {"metas": [{"phx_ref": …, "online_at": …}]}}, "leaves": {}}
        alice > new_msg {"body": "still here?"}
        alice < new_msg {"id": …, "user": "alice", "body": "still here?", "at": …}
        alice < ok {"id": …}
        carol ~

        bob   < new_msg {"id": …, "user": "alice", "body": "still here?", "at": …}
        bob   x close
        alice < presence_diff {"joins": {}, "leaves": {"bob": {"metas": [{"phx_ref": …, "online_at": …}]}}}
        alice ~
        "#,
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_refused_join_has_no_effect() -> Result<()> {
    let host = TestHost::start(&["chat", "naughty"]).await?;
    check(
        &host,
        r#"
        alice > join room:1 {"user": " "}
        alice < error {"reason": "a name has 1 to 32 characters"}
        alice > new_msg {"body": "hi"}
        alice < unmatched
        alice > join nowhere:1
        alice < unmatched
        alice > leave
        alice < ok {}

        -- The effects of a refused join aren't carried out.
        alice > join naughty:join_refuse
        alice < error {"reason": "nobody may join here"}
        alice ~
        "#,
    )
    .await?;
    let shown = host.inspect().await?;
    ensure!(shown["topics"] == json!([]) && shown["faults"] == 0, "{shown}");
    host.holds(0, 0).await?;
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_leave_is_answered_closed_and_terminated() -> Result<()> {
    let host = TestHost::start(&["naughty"]).await?;
    check(
        &host,
        r#"
        alice > join naughty:1
        alice < ok {"member": 1}
        bob   > join naughty:1
        bob   < ok {"member": 2}
        alice > leave
        alice < ok {}
        alice < phx_close
        bob   < gone {"member": 1, "cause": "left", "detail": ""}
        alice > echo {}
        alice < unmatched
        -- A leave of a topic that isn't joined succeeds too, even if no plugin serves the topic.
        alice > leave
        alice < ok {}
        alice > leave on nowhere
        alice < ok on nowhere {}
        -- A leave without a join ref works too.
        bob   > [null,"9","naughty:1","phx_leave",{}]
        bob   < ["1","9","naughty:1","phx_reply",{"status":"ok","response":{}}]
        bob   < phx_close
        bob   ~
        "#,
    )
    .await?;
    host.holds(0, 0).await?;
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_duplicate_join_is_answered_before_the_old_one_is_closed() -> Result<()> {
    let host = TestHost::start(&["naughty"]).await?;
    check(
        &host,
        r#"
        bob   > join naughty:1
        bob   < ok {"member": 1}
        alice > ["1","1","naughty:1","phx_join",{}]
        alice < ["1","1","naughty:1","phx_reply",{"status":"ok","response":{"member":2}}]
        alice > ["1","2","naughty:1","count",{}]
        alice < ["1","2","naughty:1","phx_reply",{"status":"ok","response":{"count":1}}]

        alice > ["3","3","naughty:1","phx_join",{}]
        alice < ["3","3","naughty:1","phx_reply",{"status":"ok","response":{"member":3}}]
        alice < ["1","1","naughty:1","phx_close",{}]
        -- The new member starts with a new state. The `terminate` of the old member doesn't run.
        alice > ["3","4","naughty:1","count",{}]
        alice < ["3","4","naughty:1","phx_reply",{"status":"ok","response":{"count":1}}]
        bob   ~

        -- A join with the same join ref is a duplicate too.
        alice > ["3","5","naughty:1","phx_join",{}]
        alice < ["3","5","naughty:1","phx_reply",{"status":"ok","response":{"member":4}}]
        alice < ["3","3","naughty:1","phx_close",{}]
        alice ~
        "#,
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_refused_duplicate_join_also_ends_the_old_member() -> Result<()> {
    play(
        &["chat"],
        r#"
        alice > ["1","1","room:1","phx_join",{"user":"alice"}]
        alice < ["1","1","room:1","phx_reply",{"status":"ok","response":{}}]
        alice < ["1",null,"room:1","presence_state",{}]
        alice < [null,null,"room:1","presence_diff",…]
        alice > ["2","2","room:1","phx_join",{"user":""}]
        alice < ["2","2","room:1","phx_reply",{"status":"error","response":…}]
        alice < ["1","1","room:1","phx_close",{}]
        alice > ["1","3","room:1","new_msg",{"body":"hi"}]
        alice < [null,"3","room:1","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        alice ~
        "#,
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn messages_of_an_earlier_join_are_ignored() -> Result<()> {
    play(
        &["echo"],
        r#"
        alice > ["2","2","echo:1","phx_join",{}]
        alice < ["2","2","echo:1","phx_reply",{"status":"ok","response":{}}]
        alice > ["1","3","echo:1","echo",{"stale":true}]
        alice > ["1","4","echo:1","phx_leave",{}]
        alice > [2,"5","echo:1","echo",{"a number is no string":true}]
        alice ~
        alice > ["2","6","echo:1","echo",{"still":"in"}]
        alice < ["2","6","echo:1","phx_reply",{"status":"ok","response":{"still":"in"}}]
        "#,
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn refs_can_be_any_json_and_are_repeated_unchanged() -> Result<()> {
    play(
        &["echo"],
        r#"
        alice > [1,2,"echo:1","phx_join",{}]
        alice < [1,2,"echo:1","phx_reply",{"status":"ok","response":{}}]
        alice > [1,3.5,"echo:1","echo",[1,null]]
        alice < [1,3.5,"echo:1","phx_reply",{"status":"ok","response":[1,null]}]
        alice > [null,{"r":1},"echo:1","echo","text"]
        alice < [1,{"r":1},"echo:1","phx_reply",{"status":"ok","response":"text"}]

        alice > [["w"],{"r":1},"echo:2","phx_join","not an object"]
        alice < [["w"],{"r":1},"echo:2","phx_reply",{"status":"ok","response":{}}]
        alice > [["w"],null,"echo:2","echo",{}]
        alice < [["w"],null,"echo:2","phx_reply",{"status":"ok","response":{}}]

        -- A join without a join ref is answered without one. Later replies carry the ref of the join as join ref.
        alice > [null,"7","echo:3","phx_join",{}]
        alice < [null,"7","echo:3","phx_reply",{"status":"ok","response":{}}]
        alice > [null,"8","echo:3","echo",{"in":true}]
        alice < ["7","8","echo:3","phx_reply",{"status":"ok","response":{"in":true}}]
        alice > ["7","8","echo:3","echo",{"of":"another join"}]
        alice ~

        -- Elements after the fifth are ignored.
        alice > [1,9,"echo:1","echo",{"extra":"elements"},"x","y"]
        alice < [1,9,"echo:1","phx_reply",{"status":"ok","response":{"extra":"elements"}}]
        "#,
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn heartbeats_are_answered_whatever_their_content() -> Result<()> {
    play(
        &["echo"],
        r#"
        alice > [null,"1","phoenix","heartbeat",{}]
        alice < [null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]
        alice > [null,null,"phoenix","heartbeat",{}]
        alice < [null,null,"phoenix","phx_reply",{"status":"ok","response":{}}]
        alice > ["9","2","phoenix","heartbeat",{"x":1}]
        alice < [null,"2","phoenix","phx_reply",{"status":"ok","response":{}}]
        alice > [null,"3","phoenix","other",{}]
        alice < [null,"3","phoenix","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        "#,
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_message_without_a_ref_is_answered_without_one() -> Result<()> {
    play(
        &["echo", "naughty"],
        r#"
        alice > ["1","1","echo:1","phx_join",{}]
        alice < ["1","1","echo:1","phx_reply",{"status":"ok","response":{}}]
        alice > ["1",null,"echo:1","echo",{"no":"ref"}]
        alice < ["1",null,"echo:1","phx_reply",{"status":"ok","response":{"no":"ref"}}]

        -- A late reply needs a ref. Without a ref there is no reply.
        alice > ["2","2","naughty:1","phx_join",{}]
        alice < ["2","2","naughty:1","phx_reply",{"status":"ok","response":{"member":2}}]
        alice > ["2",null,"naughty:1","later",{"ms":10}]
        alice > ["2","3","naughty:1","echo",{}]
        alice < ["2","3","naughty:1","phx_reply",{"status":"ok","response":{}}]
        alice ~
        "#,
    )
    .await?;
    Ok(())
}

/// If a client sends an event name of the protocol, it is an ordinary event.
#[tokio::test]
async fn events_of_the_protocol_sent_by_a_client_reach_the_plugin() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let mut cast = Cast::new(&host);
    cast.play("alice > join echo:1\nalice < ok {}").await?;
    for event in ["phx_close", "phx_error", "phx_reply"] {
        let reply = cast.client("alice")?.ask("echo:1", event, &json!({})).await?;
        let unknown = json!({ "reason": format!("unknown event {event:?}") });
        ensure!(reply.status == "error" && reply.response == unknown, "{reply:?}");
    }
    drop(cast);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn channels_of_one_socket_have_separate_states() -> Result<()> {
    play(
        &["echo"],
        r#"
        alice > join echo:1
        alice < ok {}
        alice > join echo:2
        alice < ok {}
        alice > count on echo:1
        alice < ok on echo:1 {"count": 1, "build": "1"}
        alice > count on echo:1
        alice < ok on echo:1 {"count": 2, "build": "1"}
        alice > count on echo:2
        alice < ok on echo:2 {"count": 1, "build": "1"}
        alice > leave on echo:1
        alice < ok on echo:1 {}
        alice < phx_close on echo:1
        alice > count on echo:2
        alice < ok on echo:2 {"count": 2, "build": "1"}
        alice > count on echo:1
        alice < unmatched on echo:1
        "#,
    )
    .await?;
    Ok(())
}

/// Joins and leaves of one topic keep their order, even if the client doesn't wait for the answers.
#[tokio::test]
async fn a_leave_and_a_following_join_keep_their_order() -> Result<()> {
    play(
        &["echo"],
        r#"
        alice > ["1","1","echo:1","phx_join",{}]
        alice > ["1","2","echo:1","phx_leave",{}]
        alice > ["3","3","echo:1","phx_join",{}]
        alice > ["3","4","echo:1","count",{}]
        alice < ["1","1","echo:1","phx_reply",{"status":"ok","response":{}}]
        alice < ["1","2","echo:1","phx_reply",{"status":"ok","response":{}}]
        alice < ["1","1","echo:1","phx_close",{}]
        alice < ["3","3","echo:1","phx_reply",{"status":"ok","response":{}}]
        alice < ["3","4","echo:1","phx_reply",{"status":"ok","response":{"count":1,"build":"1"}}]
        "#,
    )
    .await?;
    Ok(())
}

/// A slow join blocks only its own channel, and not its socket or other channels.
#[tokio::test]
async fn a_slow_join_blocks_only_its_own_channel() -> Result<()> {
    let host = Setup::new().guests(&["naughty", "echo"])?.limit("call_cpu_ms", 500).start().await?;
    let mut cast = Cast::new(&host);
    cast.play(
        r#"
        alice > join naughty:join_loop #slow
        alice > join echo:1
        alice < ok {}
        alice > count
        alice < ok {"count": 1, "build": "1"}
        alice ~
        alice < error on naughty:join_loop #slow {"reason": "join crashed"}

        -- If a client disconnects while its join runs, it isn't admitted.
        bob   > join naughty:join_loop
        bob ~
        bob   x drop
        "#,
    )
    .await?;
    drop(cast);
    host.holds(0, 0).await?;
    host.stop().await?;
    Ok(())
}

/// With `turns` = `topic`, the members share one turn queue. It ends with the last member.
#[tokio::test]
async fn the_members_of_a_topic_can_share_a_turn_queue() -> Result<()> {
    let plugin = Crafted::serving("line:*").option("turns", "topic").build()?;
    let host = Setup::new().plugin("line", plugin).start().await?;
    check(
        &host,
        r#"
        alice > join line:1
        alice < ok {}
        bob   > join line:1
        bob   < ok {}
        alice > ["9","9","line:1","phx_join",{}]
        alice < ["9","9","line:1","phx_reply",{"status":"ok","response":{}}]
        alice < ["1","1","line:1","phx_close",{}]
        bob   > leave
        bob   < ok {}
        bob   < phx_close
        alice x close
        "#,
    )
    .await?;
    host.holds(0, 0).await?;
    host.stop().await?;
    Ok(())
}
