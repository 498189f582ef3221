//! Rooms: the shared state of a topic, its tick, and its lifetime.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use bennu_tests::{Cast, Setup, TestHost, check, places, play};
use rustix::process::Signal;
use serde_json::json;

use crate::limit_counts::stop_after_hits;
use crate::metrics::scrape;

#[tokio::test]
async fn members_share_a_room() -> Result<()> {
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
        -- Another topic has another room.
        carol > join count:2
        carol < ok {}
        carol > get
        carol < ok {"sum": 0}
        -- The room outlives its members for its linger time.
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

/// Concurrent calls of all members run one after another, so no addition is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_calls_of_a_topic_run_one_after_another() -> Result<()> {
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
            // The task ends when the additions of all members have arrived.
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
    // The last sum is there after the last restart.
    check(&host, "bob > join count:1\nbob < ok {}\nbob > get\nbob < ok {\"sum\": 3}").await?;
    host.stop().await?;
    Ok(())
}

/// A room with a tick isn't stored with each commit, but it is stored when the host stops.
#[tokio::test]
async fn a_durable_room_with_a_tick_is_stored_at_a_stop() -> Result<()> {
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

/// If one call takes a thousand seats, the member has the last one, and `handle_seat` is called only for that seat.
#[tokio::test]
async fn only_the_last_seat_of_a_call_is_reported() -> Result<()> {
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

/// A client that joins many topics at once, as after a reconnect, has an outbox without room for the published states. It
/// still gets the state of each topic later, without further changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_joins_many_topics_at_once_gets_the_state_of_each() -> Result<()> {
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

/// A client that doesn't read gets no changes of a published state while its outbox is a quarter full. Then it gets the last state.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_skips_changes_of_a_state() -> Result<()> {
    let host = Setup::new().guests(&["naughty"])?.limit("outbox_bytes", 256 << 10).start().await?;
    let mut sloth = host.connect_request().receive_buffer(16 << 10).connect().await?;
    sloth.join("unruly:1", &json!({})).await?;
    let mut alice = host.connect().await?;
    alice.join("unruly:1", &json!({})).await?;
    let filler = "x".repeat(32 << 10);
    let mut last = 0;
    while scrape(&host).await?.sum("bennu_state_updates_skipped_total", &[]) < 3.0 {
        last += 1;
        ensure!(last < 1000, "32 MB wait for a client that doesn't read");
        let state = json!({ "n": last, "filler": format!("{last}{filler}") }).to_string();
        alice.push("unruly:1", "publish_text", &json!({ "state": state })).await?;
        while alice.json().await?[3] != "phx_reply" {}
    }
    let mut updates = 0;
    loop {
        let frame = sloth.json().await?;
        updates += 1;
        if frame[4].to_string().contains(&format!("\"n\":{last},")) {
            break;
        }
    }
    ensure!(updates < last, "{updates} updates of {last}");
    drop((sloth, alice));
    stop_after_hits(host, &["outbox_for_states"]).await
}
