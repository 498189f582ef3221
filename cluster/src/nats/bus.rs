//! The bus on NATS.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::frame::{self, Frame, PAYLOAD_BYTES_MIN};
use super::place::NatsPlace;
use super::receiver::Subscription;
use super::sender::{Sender, Subjects};
use crate::bus::{Bus, BusCounters, BusCounts, BusEnds, BusError, BusFuture, Lane};
use crate::causes::with_causes;
use crate::node::NodeId;

/// How long the server may take for the connection and its first answers.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// How often the client asks whether the server is there. After two questions without an answer, the connection is lost.
const PING_INTERVAL: Duration = Duration::from_secs(2);

/// The longest pause between two attempts to connect.
const RECONNECT_MAX: Duration = Duration::from_secs(2);

/// How many messages may wait in the client until the host's task takes them. The task waits for nothing else, so only a host that gets no
/// processor time comes near it.
const SUBSCRIPTION_CAPACITY: usize = 1 << 18;

/// How many events of the client wait.
const EVENTS: usize = 128;

/// A bus on NATS. It has one connection for each node that opened it.
pub struct NatsBus {
    place: NatsPlace,
    subjects: Subjects,
    counters: Arc<BusCounters>,
}

impl NatsBus {
    /// A bus on the servers of a place. `cluster` is the identity of the cluster, as
    /// [`PostgresTable::cluster_id`](crate::postgres::PostgresTable::cluster_id) returns it: clusters with different identities don't
    /// hear one another.
    #[must_use]
    pub fn new(place: NatsPlace, cluster: &str) -> Self {
        Self { place, subjects: Subjects::new(cluster), counters: Arc::default() }
    }

    async fn begin(&self, me: NodeId) -> Result<BusEnds, BusError> {
        let (sender, events) = mpsc::channel(EVENTS);
        let client = self.connect(me, sender).await?;
        let (subjects, counters) = (self.subjects.clone(), Arc::clone(&self.counters));
        let lanes = [
            subscribe(&client, subjects.of(Lane::All)).await?,
            subscribe(&client, subjects.of(Lane::Node(me.epoch))).await?,
        ];
        let mut subscription = Subscription { client: client.clone(), me, subjects, counters, lanes, events, mark: 0 };
        self.wait_for_marks(&mut subscription).await?;
        let sender = Sender::new(client, me, self.subjects.clone(), Arc::clone(&self.counters));
        Ok((Box::new(sender), Box::new(subscription.listen())))
    }

    async fn connect(&self, me: NodeId, events: mpsc::Sender<Event>) -> Result<Client, BusError> {
        let options: ConnectOptions = self.place.options().map_err(BusError::Unfit)?;
        let options = options
            .name(format!("bennu {}", me.epoch))
            .connection_timeout(OPEN_TIMEOUT / 2)
            .ping_interval(PING_INTERVAL)
            .subscription_capacity(SUBSCRIPTION_CAPACITY)
            .reconnect_delay_callback(pause)
            .event_callback(move |event| {
                let events = events.clone();
                async move {
                    // Nobody takes events after the bus was closed.
                    let _ = events.send(event).await;
                }
            });
        let client = options.connect(self.place.servers()).await.map_err(|error| self.refusal(&error))?;
        let payload = client.max_payload();
        if payload < PAYLOAD_BYTES_MIN {
            return Err(BusError::Unfit(format!(
                "{} takes messages of at most {payload} bytes; raise its `max_payload` to {PAYLOAD_BYTES_MIN} or more",
                self.place
            )));
        }
        Ok(client)
    }

    fn refusal(&self, error: &ConnectError) -> BusError {
        let (place, said) = (&self.place, with_causes(error));
        match error.kind() {
            ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => BusError::Unfit(format!(
                "{place} refuses the login: check the credentials of the bus, and the users in the server's configuration ({said})"
            )),
            ConnectErrorKind::Tls | ConnectErrorKind::ServerParse => BusError::Unfit(format!("{place}: {said}")),
            _ => BusError::Down(format!("{place} can't be reached: {said}")),
        }
    }

    /// Waits until the node hears itself on both lanes. A server that refuses a subject only says so, and goes on. The client tells of its
    /// connection at some time: that must not be taken for a later one.
    async fn wait_for_marks(&self, subscription: &mut Subscription) -> Result<(), BusError> {
        let (mut missing, mut is_told) = (vec![1, 2], false);
        subscription.send_mark(Lane::All).await;
        let own = Lane::Node(subscription.me.epoch);
        subscription.send_mark(own).await;
        while !missing.is_empty() || !is_told {
            tokio::select! {
                biased;
                Some(event) = subscription.events.recv() => match event {
                    Event::ServerError(error) => {
                        let pattern = self.subjects.pattern();
                        return Err(BusError::Unfit(format!(
                            "{} says: {error}; let the user publish and subscribe to `{pattern}`", self.place
                        )));
                    }
                    Event::Disconnected | Event::Closed => {
                        return Err(BusError::Down(format!("{} has closed the connection", self.place)));
                    }
                    Event::Connected => is_told = true,
                    _ => {}
                },
                message = Subscription::message(&mut subscription.lanes) => {
                    let Some(message) = message else { return Err(BusError::Down("the connection has ended".into())) };
                    if let Some(Frame::Mark(node, mark)) = frame::read(&message.payload) && node == subscription.me {
                        missing.retain(|missing| *missing != mark);
                    }
                }
            }
        }
        Ok(())
    }
}

async fn subscribe(client: &Client, subject: String) -> Result<async_nats::Subscriber, BusError> {
    client.subscribe(subject).await.map_err(|error| BusError::Down(error.to_string()))
}

/// The pause before an attempt to connect: doubled with each one.
fn pause(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(6);
    if attempts == 0 { Duration::ZERO } else { (Duration::from_millis(50) * 2_u32.pow(doublings)).min(RECONNECT_MAX) }
}

impl Bus for NatsBus {
    fn counts(&self) -> BusCounts {
        self.counters.read()
    }

    fn name(&self) -> &'static str {
        "nats"
    }

    fn open(&self, me: NodeId) -> BusFuture<'_, Result<BusEnds, BusError>> {
        Box::pin(async move {
            let silent = |_| Err(BusError::Down(format!("{} doesn't answer", self.place)));
            timeout(OPEN_TIMEOUT, self.begin(me)).await.unwrap_or_else(silent)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::pause;

    #[test]
    fn attempts_to_connect_pause_longer_up_to_a_bound() {
        let pauses: Vec<u128> = (0..9).map(|attempts| pause(attempts).as_millis()).collect();
        assert_eq!(pauses, [0, 50, 100, 200, 400, 800, 1_600, 2_000, 2_000]);
    }
}
