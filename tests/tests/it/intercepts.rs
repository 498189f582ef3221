//! Intercepted events: the decisions of `handle_out` for each member.

use anyhow::{Result, ensure};
use bennu_tests::{TestHost, play};
use serde_json::json;

use crate::limit_counts::stop_after_hits;

#[tokio::test]
async fn each_member_gets_the_decision_for_it() -> Result<()> {
    play(
        &["naughty"],
        r#"
        pam    > join naughty:1 {"mood": "pass"}
        pam    < ok {"member": 1}
        don    > join naughty:1 {"mood": "drop"}
        don    < ok {"member": 2}
        rose   > join naughty:1 {"mood": "replace"}
        rose   < ok {"member": 3}
        hank   > join naughty:1 {"mood": "hand_over"}
        hank   < ok {"member": 4}

        pam    > tell {"code": 7}
        pam    < [null,null,"naughty:1","secret",{"code":7}]
        pam    < ok {}
        rose   < ["1",null,"naughty:1","secret",{"for":3,"secret":{"code":7}}]
        hank   < ["1",null,"naughty:1","handed_over",{"code":7}]

        -- An event that isn't intercepted reaches all members, after the earlier intercepted event.
        don    > shout {"n": 1}
        don    < shout {"n": 1}
        don    < ok {}
        pam    < shout {"n": 1}
        rose   < shout {"n": 1}
        hank   < shout {"n": 1}
        pam ~
        don ~
        rose ~
        hank ~
        "#,
    )
    .await?;
    Ok(())
}

/// Later frames to a member don't pass a broadcast that waits for a decision.
#[tokio::test]
async fn intercepted_events_keep_their_order() -> Result<()> {
    let host = TestHost::start(&["naughty"]).await?;
    let mut rose = host.connect().await?;
    rose.join("naughty:1", &json!({"mood": "replace"})).await?;
    let mut asked = Vec::new();
    for n in 0..50 {
        asked.push(rose.push("naughty:1", "tell", &json!({ "n": n })).await?);
        asked.push(rose.push("naughty:1", "shout", &json!({ "n": n })).await?);
    }
    for (n, asked) in asked.chunks(2).enumerate() {
        rose.expect(&json!(["1", null, "naughty:1", "secret", {"for": 1, "secret": {"n": n}}])).await?;
        ensure!(rose.reply("naughty:1", &asked[0]).await?.status == "ok");
        rose.expect(&json!([null, null, "naughty:1", "shout", {"n": n}])).await?;
        ensure!(rose.reply("naughty:1", &asked[1]).await?.status == "ok");
    }
    drop(rose);
    host.stop().await?;
    Ok(())
}

/// `handle_out` decides for a chunk of members in one call. If the call fails, the chunk is halved, down to the member that
/// causes the failure.
#[tokio::test]
async fn a_failed_decision_ends_only_its_member() -> Result<()> {
    for mood in ["trap", "fail", "ask", "replace_with_array"] {
        let script = r#"
            pam    > join naughty:1
            pam    < ok …
            rose   > join naughty:1 {"mood": "replace"}
            rose   < ok …
            eve    > join naughty:1 {"mood": "MOOD"}
            eve    < ok …
            quinn  > join naughty:1
            quinn  < ok …
            pam    > tell {"code": 7}
            pam    < secret {"code": 7}
            pam    < ok {}
            rose   < secret {"for": 2, "secret": {"code": 7}}
            quinn  < secret {"code": 7}
            eve    < phx_error
            pam    < gone {"member": 3, "cause": "fault", "detail": "DETAIL"}
            rose   < gone …
            quinn  < gone …
            pam    > tell {"code": 8}
            pam    < secret {"code": 8}
            pam    < ok {}
            eve ~
        "#;
        let detail = if mood == "trap" { "trap" } else { "failed" };
        play(&["naughty"], &script.replace("MOOD", mood).replace("DETAIL", detail)).await?;
    }
    Ok(())
}

/// The topic has more members than one call of `handle_out` decides for.
#[tokio::test]
async fn a_large_topic_is_decided_in_chunks() -> Result<()> {
    const MEMBERS: usize = 300;
    let host = TestHost::start(&["naughty"]).await?;
    let mut members = Vec::new();
    for n in 0..MEMBERS {
        let mood = if n == 10 || n == 290 { "fail" } else { "replace" };
        let mut member = host.connect().await?;
        member.join("naughty:1", &json!({ "mood": mood })).await?;
        members.push((mood, member));
    }
    members[0].1.push("naughty:1", "tell", &json!({"code": 7})).await?;
    for (n, (mood, member)) in members.iter_mut().enumerate() {
        if *mood == "fail" {
            // It may first get the message that the other failed member is gone.
            let mut frame = member.json().await?;
            if frame[3] == "gone" {
                frame = member.json().await?;
            }
            ensure!(frame == json!(["1", "1", "naughty:1", "phx_error", {"reason": "channel_crash"}]), "{frame}");
        } else {
            let secret = json!({"for": n + 1, "secret": {"code": 7}});
            member.expect(&json!(["1", null, "naughty:1", "secret", secret])).await?;
        }
    }
    drop(members);
    host.stop().await?;
    Ok(())
}

/// If `handle_out` fails for all members, it isn't called for each of them: the remaining chunk ends as a whole.
#[tokio::test]
async fn the_number_of_calls_after_failures_is_limited() -> Result<()> {
    const MEMBERS: usize = 64;
    let host = TestHost::start(&["naughty"]).await?;
    let mut members = Vec::new();
    for n in 1..=MEMBERS {
        // The last member's decision would succeed. This member is in the half that ends as a whole.
        let mood = if n == MEMBERS { "pass" } else { "fail" };
        let mut member = host.connect().await?;
        member.join("naughty:1", &json!({ "mood": mood })).await?;
        members.push(member);
    }
    let mut teller = host.connect().await?;
    teller.join("naughty:2", &json!({})).await?;
    let secret = json!({"topic": "naughty:1", "event": "secret", "payload": {}});
    teller.call("naughty:2", "publish", &secret).await?;
    for member in &mut members {
        let mut frame = member.json().await?;
        while frame[3] == "gone" {
            frame = member.json().await?;
        }
        ensure!(frame == json!(["1", "1", "naughty:1", "phx_error", {"reason": "channel_crash"}]), "{frame}");
    }
    drop((members, teller));
    stop_after_hits(host, &["handle_out_faults"]).await
}
