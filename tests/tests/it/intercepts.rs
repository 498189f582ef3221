//! Intercepted events: what `handle_out` makes of them for each member.

use anyhow::{Result, ensure};
use bennu_tests::{TestHost, play};
use serde_json::json;

#[tokio::test]
async fn each_member_gets_what_is_decided_for_it() -> Result<()> {
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

        -- What isn't intercepted reaches everyone, and behind what was.
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

/// A broadcast that waits for a decision isn't overtaken by what its member is told next.
#[tokio::test]
async fn intercepted_events_keep_their_place() -> Result<()> {
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

/// The events are decided about in chunks; a chunk that fails is halved, down to the member that causes it.
#[tokio::test]
async fn a_failing_decision_ends_the_member_that_it_is_about() -> Result<()> {
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

/// More members than one call of `handle_out` decides about.
#[tokio::test]
async fn a_large_topic_is_decided_about_in_chunks() -> Result<()> {
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
            // Perhaps it sees first that the other such member is gone.
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

/// Where `handle_out` fails for everybody, it isn't asked for each of them: those in question end together.
#[tokio::test]
async fn only_so_many_failures_are_looked_into() -> Result<()> {
    const MEMBERS: usize = 64;
    let host = TestHost::start(&["naughty"]).await?;
    let mut members = Vec::new();
    for n in 1..=MEMBERS {
        // The last would let it pass. It stands in the half that is given up.
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
    host.stop().await?;
    Ok(())
}
