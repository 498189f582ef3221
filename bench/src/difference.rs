//! What it saves to send what changed of a published state: the arena of the games, against all of it at each beat.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout_at};

use crate::client::Client;
use crate::host::{Host, default_binary, guest};

/// Bytes a second that a member of the arena gets, and what all of the state at each change would have been.
#[derive(Args)]
pub(crate) struct Difference {
    /// Seconds that are measured, for each number of runners
    #[arg(long, default_value_t = 20)]
    seconds: u64,

    /// The host's binary
    #[arg(long, default_value_os_t = default_binary())]
    host: PathBuf,

    /// The games, as `cargo xtask guests` builds them
    #[arg(long, default_value_os_t = guest("game"))]
    plugin: PathBuf,
}

const TOPIC: &str = "arena:bench";

/// So many are in, all of them with a seat.
const PLAYERS: usize = 8;

/// How many of them run, the others standing still.
const RUNNING: [usize; 4] = [8, 4, 1, 0];

/// A runner turns by a quarter so often: it runs in a square, and not into the edge.
const TURN: Duration = Duration::from_millis(500);

/// Until then the round has begun.
const WARM_UP: Duration = Duration::from_secs(5);

/// What one member got.
#[derive(Default)]
struct Seen {
    changes: usize,
    bytes: usize,
    /// What the same changes would have been, each as all of the state.
    whole: usize,
}

impl Difference {
    pub(crate) async fn run(self) -> Result<()> {
        println!(
            "| {PLAYERS} players, of whom run | changes a second | bytes a second | all of it, each time | ratio |"
        );
        println!("| --- | --- | --- | --- | --- |");
        for running in RUNNING {
            let seen = self.measure(running).await?;
            let a_second = |count: usize| count as f64 / self.seconds as f64;
            println!(
                "| {running} | {:.1} | {:.0} | {:.0} | {:.1} |",
                a_second(seen.changes),
                a_second(seen.bytes),
                a_second(seen.whole),
                seen.whole as f64 / seen.bytes as f64,
            );
        }
        Ok(())
    }

    /// What one of the players got.
    async fn measure(&self, running: usize) -> Result<Seen> {
        let host = Host::start(&self.host, &self.plugin, "[limits]\nstop_ms = 1\n")?;
        let mut others = JoinSet::new();
        let mut looks = join(&host, 0).await?;
        for player in 1..PLAYERS {
            let client = join(&host, player).await?;
            others.spawn(play(client, player, player < running));
        }
        let mut state = Value::Null;
        let begins = Instant::now() + WARM_UP;
        let ends = begins + Duration::from_secs(self.seconds);
        let mut seen = Seen::default();
        let (mut turns, mut way) = (interval(TURN), 0);
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(ends.into()) => break,
                _ = turns.tick(), if running > 0 => {
                    looks.send(go(way)).await?;
                    way += 1;
                }
                frame = timeout_at(ends.into(), looks.next()) => {
                    let Ok(frame) = frame else { break };
                    let whole = follow(&mut state, &frame?)?;
                    if let (Some((bytes, whole)), true) = (whole, Instant::now() >= begins) {
                        seen.changes += 1;
                        seen.bytes += bytes;
                        seen.whole += whole;
                    }
                }
            }
        }
        ensure!(state["phase"] == "playing", "the round hasn't begun, or is over: {state}");
        Ok(seen)
    }
}

/// Joins as a player.
async fn join(host: &Host, player: usize) -> Result<Client> {
    let mut client = Client::connect(host.address).await?;
    let params = json!({ "name": format!("Player {player}"), "key": format!("{player}").repeat(16) });
    client.send(format!(r#"["1","1","{TOPIC}","phx_join",{params}]"#)).await?;
    ensure!(client.next().await?.contains(r#""status":"ok""#), "a join was refused");
    Ok(client)
}

/// Reads what comes, and runs in a square.
async fn play(mut client: Client, player: usize, runs: bool) -> Result<()> {
    let mut turns = interval(TURN);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut way = player;
    loop {
        tokio::select! {
            _ = turns.tick(), if runs => {
                client.send(go(way)).await?;
                way += 1;
            }
            frame = client.next() => drop(frame?),
        }
    }
}

/// A turn into one of the four directions, somewhat aslant: both of a runner's numbers change.
fn go(way: usize) -> String {
    let [x, y] = [[0.8, 0.6], [-0.6, 0.8], [-0.8, -0.6], [0.6, -0.8]][way % 4];
    format!(r#"["1",null,"{TOPIC}","go",{{"x":{x},"y":{y}}}]"#)
}

/// Takes a frame in. For a change of the state, gives its length and what that of all the state would have been.
fn follow(state: &mut Value, frame: &str) -> Result<Option<(usize, usize)>> {
    let message: Value = serde_json::from_str(frame)?;
    let payload = &message[4];
    match message[3].as_str().context("an event")? {
        "room_state" => state.clone_from(&payload["state"]),
        "room_diff" => merge(state, &payload["patch"]),
        _ => return Ok(None),
    }
    let whole = json!([message[0], message[1], TOPIC, "room_state", { "n": payload["n"], "state": state }]);
    Ok(Some((frame.len(), whole.to_string().len())))
}

/// A JSON merge patch, by RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else { return target.clone_from(patch) };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    for (key, change) in patch {
        match (change, target.as_object_mut()) {
            (Value::Null, Some(members)) => drop(members.remove(key)),
            _ => merge(&mut target[key], change),
        }
    }
}
