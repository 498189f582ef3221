//! What sends on NATS.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::Client;
use async_nats::client::PublishErrorKind;
use async_nats::connection::State;
use bytes::Bytes;
use tokio::time::timeout;

use super::frame::cut;
use crate::bus::{BusCounters, BusError, BusFuture, BusSender, Lane};
use crate::node::NodeId;
use crate::pieces::FLUSH_BYTES_MAX;

/// The most bytes that are sent well at once.
const FLUSH_BYTES: usize = 256 << 10;

/// The least time between two flushes under load.
const PAUSE: Duration = Duration::from_millis(1);

/// How long the connection may take to take a flush.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// The subjects of a cluster.
#[derive(Clone)]
pub(super) struct Subjects(Arc<str>);

impl Subjects {
    pub(super) fn new(cluster: &str) -> Self {
        Self(format!("bennu.{cluster}").into())
    }

    pub(super) fn of(&self, lane: Lane) -> String {
        match lane {
            Lane::All => format!("{}.all", self.0),
            Lane::Node(epoch) => format!("{}.node.{epoch}", self.0),
        }
    }

    /// All of them, as permissions name them.
    pub(super) fn pattern(&self) -> String {
        format!("{}.>", self.0)
    }
}

/// Sends the flushes of one node.
pub(super) struct Sender {
    client: Client,
    me: NodeId,
    subjects: Subjects,
    counters: Arc<BusCounters>,
    number: u64,
}

impl Sender {
    pub(super) fn new(client: Client, me: NodeId, subjects: Subjects, counters: Arc<BusCounters>) -> Self {
        Self { client, me, subjects, counters, number: 0 }
    }

    async fn send_flush(&mut self, lane: Lane, flush: &Bytes) -> Result<(), BusError> {
        self.check_connection()?;
        self.number += 1;
        let Some(frames) = cut(self.me.epoch, self.number, flush, self.client.max_payload()) else {
            let size = flush.len();
            return Err(BusError::Refused(format!(
                "{size} bytes are more than the {FLUSH_BYTES_MAX} that a flush may have"
            )));
        };
        let count = frames.len() as u64;
        let subject = self.subjects.of(lane);
        let sending = async {
            for frame in frames {
                self.client.publish(subject.clone(), frame).await.map_err(|error| match error.kind() {
                    PublishErrorKind::Send => BusError::Down(error.to_string()),
                    _ => BusError::Refused(error.to_string()),
                })?;
            }
            self.client.flush().await.map_err(|error| BusError::Down(error.to_string()))
        };
        let silent = |_| Err(BusError::Down("the NATS server takes nothing".into()));
        timeout(SEND_TIMEOUT, sending).await.unwrap_or_else(silent)?;
        self.check_connection()?;
        self.counters.flushes.fetch_add(1, Ordering::Relaxed);
        self.counters.pieces.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }

    /// The client keeps what is sent while there is no connection. It would be sent much later, so it isn't given to it.
    fn check_connection(&self) -> Result<(), BusError> {
        let is_connected = self.client.connection_state() == State::Connected;
        is_connected.then_some(()).ok_or_else(|| BusError::Down("there is no connection to a NATS server".into()))
    }
}

impl BusSender for Sender {
    fn send(&mut self, lane: Lane, flush: Bytes) -> BusFuture<'_, Result<(), BusError>> {
        Box::pin(async move { self.send_flush(lane, &flush).await })
    }

    fn flush_bytes(&self) -> usize {
        FLUSH_BYTES
    }

    fn pause(&self) -> Duration {
        PAUSE
    }
}
