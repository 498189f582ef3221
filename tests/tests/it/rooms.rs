//! Rooms: what the members of a topic share, its beat, and its life beyond theirs.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use bennu_tests::{Cast, Setup, TestHost, check, places, play};
use rustix::process::Signal;
use serde_json::json;

#[tokio::test]
async fn members_share_a_room_and_see_one_another() -> Result<()> {
    play(
        &["counter"],
        r#"
        alice > join count:1
        alice < ok {}
        bob   > join count:1
        bob   < ok {}
        alice > add {"n": 2}
        alice < sum {"sum": 2}
        alice < ok {"sum": 2}
        bob   < sum {"sum": 2}
        bob   > add {"n": 3}
        bob   < sum {"sum": 5}
        bob   < ok {"sum": 5}
        alice < sum {"sum": 5}
        alice > mine
        alice < ok {"added": 2}
        bob   > members
        bob   < ok {"members": 2}
        -- Another topic is another room.
        carol > join count:2
        carol < ok {}
        carol > get
        carol < ok {"sum": 0}
        -- It outlives its members for a while.
        alice x close
        bob   x close
        dave  > join count:1
        dave  < ok {}
        dave  > get
        dave  < ok {"sum": 5}
        "#,
    )
    .await?;
    Ok(())
}

/// What all do at once comes one after another: no addition is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_many_do_at_once_comes_one_after_another() -> Result<()> {
    const MEMBERS: u64 = 20;
    const EACH: u64 = 50;
    let host = TestHost::start(&["counter"]).await?;
    let mut members = tokio::task::JoinSet::new();
    for _ in 0..MEMBERS {
        let mut client = host.connect().await?;
        client.join("count:1", &json!({})).await?;
        members.spawn(async move {
            for _ in 0..EACH {
                client.push("count:1", "add", &json!({ "n": 1 })).await?;
            }
            // It is over once everybody's additions have come.
            loop {
                let frame = client.json().await?;
                if frame[3] == "sum" && frame[4]["sum"] == MEMBERS * EACH {
                    return anyhow::Ok(());
                }
            }
        });
    }
    while let Some(done) = members.join_next().await {
        done??;
    }
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_durable_room_survives_a_stop_and_a_kill() -> Result<()> {
    let setup = Setup::new().plugin("counter", places::guest("variants/counter-durable")?);
    let mut host = setup.start().await?;
    for (sum, signal) in [(1, Signal::KILL), (2, Signal::TERM), (3, Signal::KILL)] {
        let mut cast = Cast::new(&host);
        cast.play(&format!(
            r#"
            alice > join count:1
            alice < ok {{}}
            alice > add {{"n": 1}}
            alice < sum {{"sum": {sum}}}
            alice < ok {{"sum": {sum}}}
            "#
        ))
        .await?;
        drop(cast);
        host = host.restart(signal).await?;
    }
    // It is there for a message to the topic, too: whoever joins sees what that one saw.
    check(&host, "bob > join count:1\nbob < ok {}\nbob > get\nbob < ok {\"sum\": 3}").await?;
    host.stop().await?;
    Ok(())
}

/// A room with a beat isn't stored with each of its commits, but at a stop it is.
#[tokio::test]
async fn a_durable_room_with_a_beat_is_stored_at_a_stop() -> Result<()> {
    let setup = Setup::new().plugin("counter", places::guest("variants/counter-durable")?);
    let host = setup.start().await?;
    let mut client = host.connect().await?;
    client.join("count:1", &json!({ "tick": 10 })).await?;
    for n in 1..=100 {
        let reference = client.push("count:1", "add", &json!({ "n": 1 })).await?;
        loop {
            let frame = client.json().await?;
            if frame[1] == reference {
                ensure!(frame[4]["response"]["sum"] == n, "{frame}");
                break;
            }
        }
    }
    drop(client);
    let host = host.restart(Signal::TERM).await?;
    check(&host, "bob > join count:1\nbob < ok {}\nbob > get\nbob < ok {\"sum\": 100}").await?;
    host.stop().await?;
    Ok(())
}

/// Of a thousand seats that one call takes, its member has the last, and that is all that the topic is told.
#[tokio::test]
async fn a_call_that_takes_many_seats_has_the_topic_told_of_one() -> Result<()> {
    play(
        &["naughty"],
        r#"
        alice > join unruly:1
        alice < ok {}
        alice > seats {"count": 1024}
        alice < ok {}
        alice > told
        alice < ok {"told": ["seat 1023 taken"]}
        alice > seats {"count": 2}
        alice < ok {}
        alice > told
        alice < ok {"told": ["seat 1023 taken", "seat 1023 gone", "seat 1 taken"]}
        "#,
    )
    .await?;
    Ok(())
}

/// One who joins many topics at once, as after a reconnect, has more waiting for it than leaves room for states. All of them come
/// nevertheless, though nothing changes any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joins_many_topics_at_once_gets_the_state_of_each() -> Result<()> {
    const TOPICS: usize = 40;
    let host = Setup::new().guests(&["naughty"])?.limit("outbox_frames", 100).start().await?;
    let mut alice = host.connect().await?;
    for n in 0..TOPICS {
        let topic = format!("unruly:{n}");
        alice.join(&topic, &json!({})).await?;
        alice.push(&topic, "publish_text", &json!({ "state": format!(r#"{{"of":{n}}}"#) })).await?;
        while alice.json().await?[3] != "phx_reply" {}
    }
    let mut bob = host.connect().await?;
    bob.send_all((0..TOPICS).map(|n| format!(r#"["{n}","{n}","unruly:{n}","phx_join",{{}}]"#))).await?;
    let mut states = BTreeSet::new();
    while states.len() < TOPICS {
        let frame = bob.json().await?;
        if frame[3] == "room_state" {
            let of = frame[4]["state"]["of"].to_string();
            ensure!(frame[2] == format!("unruly:{of}") && states.insert(of), "{frame}");
        }
    }
    drop((alice, bob));
    host.stop().await?;
    Ok(())
}
