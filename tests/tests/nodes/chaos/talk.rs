//! The clients that broadcast, and those that hear them.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, bail, ensure};
use bennu_tests::{Received, TestClient};
use serde_json::json;
use tokio::time::{Instant, timeout, timeout_at};

use super::clients::{Clients, PATIENCE, PAUSE, lock, next_or_silence};
use super::hearing::Hearing;

/// The topic in which clients broadcast.
const TOPIC: &str = "echo:chaos";

/// What was said and heard.
pub(crate) struct Talk {
    next_sender: u64,
    /// The last number that each sender has got back from its own node. Senders whose connection has ended aren't here: what a node had
    /// still to send is lost with it.
    said: HashMap<u64, u64>,
    hearings: Vec<Hearing>,
}

impl Talk {
    pub(super) fn new(listeners: usize) -> Self {
        Self { next_sender: 0, said: HashMap::new(), hearings: (0..listeners).map(|_| Hearing::default()).collect() }
    }

    /// What a listener lacks without having been told, while nobody speaks.
    pub(crate) fn gap(&self) -> Option<String> {
        self.hearings.iter().find_map(|hearing| hearing.gap(&self.said))
    }

    /// How many broadcasts were heard.
    pub(crate) fn heard(&self) -> u64 {
        self.hearings.iter().map(|hearing| hearing.heard).sum()
    }
}

impl Clients {
    /// Broadcasts numbers.
    pub(super) async fn speak(&self) -> Result<()> {
        let mut client = self.join(TOPIC).await?;
        let sender = {
            let mut talk = lock(&self.talk);
            talk.next_sender += 1;
            talk.next_sender
        };
        let ended = self.speak_as(sender, &mut client).await;
        lock(&self.talk).said.remove(&sender);
        ended
    }

    async fn speak_as(&self, sender: u64, client: &mut TestClient) -> Result<()> {
        for number in 0_u64.. {
            // Reads meanwhile, so that the end of the connection is noticed also while nobody speaks.
            let pause = Instant::now() + PAUSE;
            while !self.is_busy() || Instant::now() < pause {
                if self.has_ended() {
                    return Ok(());
                }
                if let Ok(received) = timeout_at(Instant::now() + PAUSE, client.next()).await {
                    still_joined(&received?)?;
                }
            }
            client.push(TOPIC, "shout", &json!({ "sender": sender, "number": number })).await?;
            // Its own broadcast, and before it those of the others.
            let own = timeout(PATIENCE, async {
                loop {
                    let received = client.next().await?;
                    still_joined(&received)?;
                    if matches!(&received, Received::Json(frame) if frame[4]["sender"] == sender) {
                        return anyhow::Ok(());
                    }
                }
            });
            own.await.context("a broadcast isn't delivered at its own node")??;
            lock(&self.talk).said.insert(sender, number);
        }
        Ok(())
    }

    /// Hears the broadcasts of all.
    pub(super) async fn listen(&self, number: usize) -> Result<()> {
        lock(&self.talk).hearings[number].joins_again();
        let mut client = self.join(TOPIC).await?;
        while !self.has_ended() {
            let Some(frame) = next_or_silence(&mut client).await? else { continue };
            match frame[3].as_str() {
                Some("phx_error") => {
                    self.told_to_join.fetch_add(1, Ordering::SeqCst);
                    bail!("told to join again");
                }
                Some("shout") => {
                    let field = |name: &str| frame[4][name].as_u64().with_context(|| format!("{name} in {frame}"));
                    let (sender, said) = (field("sender")?, field("number")?);
                    let heard = lock(&self.talk).hearings[number].hear(sender, said);
                    if let Err(error) = heard {
                        self.breaks(error.to_string());
                    }
                }
                // The answer to a heartbeat.
                _ => {}
            }
        }
        Ok(())
    }
}

/// # Errors
/// If the member has to join again.
fn still_joined(received: &Received) -> Result<()> {
    match received {
        Received::Json(frame) => {
            ensure!(frame[3] != "phx_error", "told to join again");
            Ok(())
        }
        other => bail!("expected a frame, and got {other}"),
    }
}
