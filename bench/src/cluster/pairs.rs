//! Senders with their receivers: clients of a cluster, or connections of an engine.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bennu_test_engines::{NatsServer, PostgresServer};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_postgres::{AsyncMessage, NoTls, Statement};

use super::nodes::{Nodes, join};
use crate::client::Client;
use crate::statistics::{Latency, Samples};

/// The bytes of a payload.
const BYTES: usize = 256;

/// Notifications that were read and wait for their receiver. More wait in the session.
const QUEUE: usize = 1_024;

/// How long a receiver waits for a message.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// A sender and its receiver.
pub(super) struct Pair {
    sender: Sender,
    receiver: Receiver,
}

enum Sender {
    /// A member of a topic.
    Member(Client, String),
    /// A session of PostgreSQL that sends each message in a transaction, on this channel.
    Notify(tokio_postgres::Client, Statement, String),
    /// A connection to NATS, with this subject.
    Publish(async_nats::Client, String),
}

enum Receiver {
    Member(Client),
    /// A session that listens, and what it hears.
    Notify {
        _session: tokio_postgres::Client,
        heard: mpsc::Receiver<String>,
    },
    Publish(async_nats::Subscriber),
}

impl Pair {
    /// A member of a node, and one `away` nodes further. A broadcast doesn't go back to its sender.
    pub(super) async fn of_members(nodes: &Nodes, at: usize, away: usize) -> Result<Self> {
        let topic = format!("bench:{at}-{away}");
        let (mut sender, mut receiver) = (nodes.connect(at).await?, nodes.connect(at + away).await?);
        join(&mut sender, &topic).await?;
        join(&mut receiver, &topic).await?;
        Ok(Self { sender: Sender::Member(sender, topic), receiver: Receiver::Member(receiver) })
    }

    /// Two sessions of PostgreSQL. As a node's, the one that sends doesn't wait for the disk.
    pub(super) async fn of_notify(server: &PostgresServer, at: usize) -> Result<Self> {
        let (url, channel) = (server.url("postgres", "postgres"), format!("bench{at}"));
        let (sender, connection) = tokio_postgres::connect(&url, NoTls).await?;
        tokio::spawn(connection);
        sender.batch_execute("SET synchronous_commit = off").await?;
        let statement = sender.prepare("SELECT pg_notify($1, $2)").await?;
        let (receiver, mut connection) = tokio_postgres::connect(&url, NoTls).await?;
        let (told, heard) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            // It ends with its session, or when nobody listens any more.
            let mut messages = futures_util::stream::poll_fn(move |cx| connection.poll_message(cx));
            while let Some(Ok(message)) = messages.next().await {
                if let AsyncMessage::Notification(notification) = message
                    && told.send(notification.payload().to_owned()).await.is_err()
                {
                    break;
                }
            }
        });
        receiver.batch_execute(&format!("LISTEN {channel}")).await?;
        let receiver = Receiver::Notify { _session: receiver, heard };
        Ok(Self { sender: Sender::Notify(sender, statement, channel), receiver })
    }

    /// Two connections to NATS.
    pub(super) async fn of_publish(server: &NatsServer, at: usize) -> Result<Self> {
        let (sender, receiver) = (async_nats::connect(server.url()).await?, async_nats::connect(server.url()).await?);
        let subject = format!("bench.{at}");
        let subscriber = receiver.subscribe(subject.clone()).await?;
        // The server knows of it before anything is sent.
        receiver.flush().await?;
        Ok(Self { sender: Sender::Publish(sender, subject), receiver: Receiver::Publish(subscriber) })
    }
}

impl Sender {
    async fn send(&mut self, payload: String) -> Result<()> {
        match self {
            Self::Member(client, topic) => client.send(format!(r#"["1",null,"{topic}","whisper",{payload}]"#)).await,
            Self::Notify(client, statement, channel) => {
                client.execute(&*statement, &[channel, &payload]).await?;
                Ok(())
            }
            Self::Publish(client, subject) => {
                client.publish(subject.clone(), payload.into()).await?;
                // Otherwise, the library waits for more.
                Ok(client.flush().await?)
            }
        }
    }
}

impl Receiver {
    async fn next(&mut self) -> Result<Duration> {
        match self {
            Self::Member(client) => sent_at(&client.next().await?),
            Self::Notify { heard, .. } => sent_at(&heard.recv().await.context("the session that listens has ended")?),
            Self::Publish(subscriber) => {
                let message = subscriber.next().await.context("the subscription has ended")?;
                sent_at(std::str::from_utf8(&message.payload)?)
            }
        }
    }
}

/// Lets all senders together send this many messages a second. Returns how long the messages took, from before they were sent until
/// their receivers have read them.
pub(super) async fn measure(pairs: &mut Vec<Pair>, rate: f64, seconds: f64) -> Result<Latency> {
    let (began, count) = (Instant::now(), pairs.len() as f64);
    let (pause, messages) = (Duration::from_secs_f64(count / rate), (rate * seconds / count).ceil() as usize);
    let mut running = Vec::new();
    for Pair { mut sender, mut receiver } in pairs.drain(..) {
        let sending = tokio::spawn(async move {
            let mut turns = interval(pause);
            // A sender that was late catches up, so the rate is kept.
            turns.set_missed_tick_behavior(MissedTickBehavior::Burst);
            for _ in 0..messages {
                turns.tick().await;
                // The moment before it is sent, not the one at which it was due: how late the timers of this process are is no
                // property of what is measured.
                sender.send(stamped(began.elapsed())).await?;
            }
            anyhow::Ok(sender)
        });
        let receiving = tokio::spawn(async move {
            let mut times = Vec::with_capacity(messages);
            for _ in 0..messages {
                let sent = timeout(WAIT_MAX, receiver.next()).await.context("a message hasn't come")??;
                times.push(began.elapsed().saturating_sub(sent));
            }
            anyhow::Ok((receiver, times))
        });
        running.push((sending, receiving));
    }
    let mut samples = Samples::default();
    for (sending, receiving) in running {
        let (sender, (receiver, times)) = (sending.await??, receiving.await??);
        times.iter().for_each(|time| samples.add(time.as_nanos() as u64));
        pairs.push(Pair { sender, receiver });
    }
    samples.latency().context("nothing was measured")
}

/// A payload that says when it was sent.
fn stamped(at: Duration) -> String {
    let head = format!(r#"{{"at":"{:020}","fill":""#, at.as_nanos());
    let fill = "7".repeat(BYTES.saturating_sub(head.len() + 2));
    format!(r#"{head}{fill}"}}"#)
}

/// When a payload was sent, which may be in a frame.
fn sent_at(text: &str) -> Result<Duration> {
    let (_, rest) = text.split_once(r#""at":""#).with_context(|| format!("no time in {text}"))?;
    let (digits, _) = rest.split_once('"').with_context(|| format!("no time in {text}"))?;
    ensure!(digits.len() == 20, "no time in {text}");
    Ok(Duration::from_nanos(digits.parse()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_says_when_it_was_sent() -> Result<()> {
        let at = Duration::new(12, 345);
        let payload = stamped(at);
        assert_eq!(payload.len(), BYTES);
        assert!(serde_json::from_str::<serde_json::Value>(&payload).is_ok());
        assert_eq!(sent_at(&payload)?, at);
        assert_eq!(sent_at(&format!(r#"["1",null,"bench:1","whisper",{payload}]"#))?, at);
        assert!(sent_at("{}").is_err() && sent_at(r#"{"at":"7"}"#).is_err());
        Ok(())
    }
}
