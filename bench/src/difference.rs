//! How many bytes patches of a published state save. In the arena of the example games, the patches are compared with the
//! whole state at each change.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout_at};

use crate::client::Client;
use crate::host::{Host, default_binary, guest};

/// Bytes a second that a member of the arena gets, compared with sending the whole state at each change.
#[derive(Args)]
pub(crate) struct Difference {
    /// Measured seconds for each number of runners
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

/// The number of players. Each of them has a seat.
const PLAYERS: usize = 8;

/// The numbers of running players that are compared. The other players don't move.
const RUNNING: [usize; 4] = [8, 4, 1, 0];

/// How often a runner turns by 90 degrees. It runs in a square, so that it doesn't reach the edge.
const TURN: Duration = Duration::from_millis(500);

/// The game's round begins within this time.
const WARM_UP: Duration = Duration::from_secs(5);

/// The frames that one member got.
#[derive(Default)]
struct Seen {
    changes: usize,
    bytes: usize,
    /// The bytes of the same changes if each were sent as the whole state.
    whole: usize,
}

impl Difference {
    pub(crate) async fn run(self) -> Result<()> {
        println!(
            "| running players of {PLAYERS} | changes a second | bytes a second | bytes a second of whole states | ratio |"
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

    /// Plays one game and returns the frames that one player got.
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
        ensure!(state["phase"] == "playing", "the round hasn't begun or is over: {state}");
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

/// Reads all frames, and runs in a square if `runs` is set.
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

/// A turn into one of four directions. None is parallel to an axis, so both coordinates of a runner change.
fn go(way: usize) -> String {
    let [x, y] = [[0.8, 0.6], [-0.6, 0.8], [-0.8, -0.6], [0.6, -0.8]][way % 4];
    format!(r#"["1",null,"{TOPIC}","go",{{"x":{x},"y":{y}}}]"#)
}

/// Applies a frame to `state`. If the frame changes the state, returns its length and the length of a frame with the whole
/// state.
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

/// Applies a JSON merge patch (RFC 7396).
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
