//! Joins, leaves and refs, as `docs/protocol.md` has them.

use anyhow::{Result, ensure};
use bennu_tests::crafted::Crafted;
use bennu_tests::{Cast, Setup, TestHost, check, play};
use serde_json::json;

#[tokio::test]
async fn members_of_a_room_hear_one_another() -> Result<()> {
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

        -- A third in another room hears nothing of it.
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
async fn a_join_may_be_refused_and_nothing_remains_of_it() -> Result<()> {
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

        -- What a refused join asks for isn't done: it would reach those who are in, had they been let in.
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
async fn leaving_is_answered_closed_and_terminated() -> Result<()> {
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
        -- To leave what isn't joined is well, too; also where no plugin serves it.
        alice > leave
        alice < ok {}
        alice > leave on nowhere
        alice < ok on nowhere {}
        -- And a leave without a join ref leaves.
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
        -- It starts anew, and of the old one there is no word: its terminate doesn't run.
        alice > ["3","4","naughty:1","count",{}]
        alice < ["3","4","naughty:1","phx_reply",{"status":"ok","response":{"count":1}}]
        bob   ~

        -- The same join ref once more is a duplicate like any other.
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
async fn a_duplicate_join_that_is_refused_ends_the_old_one_all_the_same() -> Result<()> {
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
async fn what_belongs_to_a_join_that_is_over_is_passed_over() -> Result<()> {
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
async fn refs_are_any_json_and_come_back_as_they_were() -> Result<()> {
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

        -- Joined without a join ref: so does its reply come, the later ones carry the join's ref, and messages come without one.
        alice > [null,"7","echo:3","phx_join",{}]
        alice < [null,"7","echo:3","phx_reply",{"status":"ok","response":{}}]
        alice > [null,"8","echo:3","echo",{"in":true}]
        alice < ["7","8","echo:3","phx_reply",{"status":"ok","response":{"in":true}}]
        alice > ["7","8","echo:3","echo",{"of":"another join"}]
        alice ~

        -- More than five elements: the rest is passed over.
        alice > [1,9,"echo:1","echo",{"extra":"elements"},"x","y"]
        alice < [1,9,"echo:1","phx_reply",{"status":"ok","response":{"extra":"elements"}}]
        "#,
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn heartbeats_are_answered_whatever_they_carry() -> Result<()> {
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

        -- A reply later needs a ref: without one there is none.
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

/// The protocol's own events are ordinary ones where a client sends them.
#[tokio::test]
async fn a_client_may_send_the_hosts_own_events() -> Result<()> {
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
async fn channels_of_one_socket_are_apart() -> Result<()> {
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

/// Joins and leaves of one topic keep their order, also where nobody waits for the answers.
#[tokio::test]
async fn a_leave_and_a_join_behind_it_keep_their_order() -> Result<()> {
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

/// A join that takes long holds up its own channel, and neither its socket nor the others.
#[tokio::test]
async fn a_slow_join_holds_up_nobody_else() -> Result<()> {
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

        -- A client that goes while its join runs isn't let in any more.
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

/// Turns of a topic: its members stand in one line, which is gone with the last of them.
#[tokio::test]
async fn a_topic_may_have_one_line() -> Result<()> {
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
