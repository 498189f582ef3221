//! Clients that do no harm: they send a message at a constant rate, wait for its answer, and measure how long it takes.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::client::Client;
use crate::statistics::{Latency, Samples};

/// The time between two messages of a neighbour.
const PERIOD: Duration = Duration::from_millis(50);

/// A neighbour whose answer takes longer counts as lost.
const PATIENCE: Duration = Duration::from_secs(20);

/// Connected neighbours.
pub(crate) struct Neighbours {
    clients: Vec<Neighbour>,
}

struct Neighbour {
    client: Client,
    sent: u64,
}

/// What the neighbours have seen.
#[derive(Clone, Copy, Default)]
pub(crate) struct Seen {
    /// Messages without an answer, and closed connections.
    pub(crate) lost: usize,
    pub(crate) answered: usize,
    pub(crate) latency: Option<Latency>,
}

impl Neighbours {
    /// Connects neighbours, which join topics of the plugin `echo`.
    pub(crate) async fn connect(address: SocketAddr, count: usize) -> Result<Self> {
        let mut clients = Vec::with_capacity(count);
        for number in 0..count {
            let mut client = Client::connect(address).await?;
            client.send(format!(r#"["1","1","bench:n{number}","phx_join",{{}}]"#)).await?;
            client.next().await.context("a neighbour's join")?;
            clients.push(Neighbour { client, sent: 0 });
        }
        Ok(Self { clients })
    }

    /// No neighbours. Dropping the ones before closes their connections.
    pub(crate) fn none() -> Self {
        Self { clients: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    /// Sends messages for this time. The latency is measured from the moment at which a message was due, so that a slow answer also
    /// counts for the messages that had to wait for it.
    pub(crate) async fn talk(&mut self, time: Duration) -> Result<Seen> {
        let mut talks = JoinSet::new();
        let (began, count) = (Instant::now(), self.clients.len().max(1));
        for (number, neighbour) in self.clients.drain(..).enumerate() {
            // They don't all send at once.
            let offset = PERIOD.mul_f64(number as f64 / count as f64);
            talks.spawn(neighbour.talk(number, began + offset, began + time));
        }
        let (mut seen, mut samples) = (Seen::default(), Samples::default());
        while let Some(talk) = talks.join_next().await {
            let (neighbour, times) = talk?;
            seen.answered += times.len();
            times.into_iter().for_each(|time| samples.add(time));
            match neighbour {
                Ok(neighbour) => self.clients.push(neighbour),
                Err(error) => {
                    eprintln!("a neighbour is lost: {error:#}");
                    seen.lost += 1;
                }
            }
        }
        seen.latency = samples.latency();
        Ok(seen)
    }
}

impl Neighbour {
    async fn talk(mut self, number: usize, mut due: Instant, ends: Instant) -> (Result<Self>, Vec<u64>) {
        let mut times = Vec::new();
        while due < ends {
            sleep_until(due).await;
            self.sent += 1;
            let reference = self.sent;
            let message = format!(r#"["1","{reference}","bench:n{number}","echo",{{"text":"hello"}}]"#);
            let answer = timeout(PATIENCE, async {
                self.client.send(message).await?;
                self.client.next().await
            });
            match answer.await.context("no answer came").flatten() {
                Ok(answer) if answer.contains(&format!(r#""{reference}","bench:"#)) => {}
                Ok(answer) => return (Err(anyhow::anyhow!("{answer} answers message {reference}")), times),
                Err(error) => return (Err(error), times),
            }
            times.push(u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX));
            due += PERIOD;
        }
        (Ok(self), times)
    }
}
