//! The session that sends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};
use tokio_postgres::{Client, Error, Statement};

use super::connect::Connect;
use super::failure::{of_opening, of_sending};
use super::pieces::cut;
use super::session::Session;
use crate::backoff::Backoff;
use crate::bus::{BusCounters, BusError, BusFuture, BusSender, Lane};
use crate::node::NodeId;
use crate::pieces::FLUSH_BYTES_MAX;

/// The most bytes that are sent well at once: 45 pieces, about 3 ms.
const FLUSH_BYTES: usize = 256 << 10;

/// The least time between two flushes under load: at most 200 flushes a second. Each one takes an id of a transaction of the whole
/// server, and the ids have to be frozen after two billion.
const PAUSE: Duration = Duration::from_millis(5);

/// How long the database may take for a flush, with a new session if the last one is lost.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The time between two looks at the server's queue.
const WATCH: Duration = Duration::from_secs(10);

/// The part of the queue, in thousandths, from which it is reported. A queue that is full refuses every `NOTIFY` of the server.
const REPORTED: u32 = 100;

/// Sends the flushes of one node.
pub(super) struct Sender {
    connect: Arc<dyn Connect>,
    me: NodeId,
    counters: Arc<BusCounters>,
    /// None while the connection is lost.
    session: Option<Sending>,
    backoff: Backoff,
    /// The number of the last flush.
    number: u64,
    watched: Instant,
}

/// A session with its statement.
pub(super) struct Sending {
    session: Session,
    send: Statement,
}

impl Sending {
    /// Connects and prepares. A crash of the server loses the queue of notifications anyway, so nothing is waited for on its disk.
    pub(super) async fn connect(connect: &dyn Connect) -> Result<Self, BusError> {
        let session = Session::connect(connect).await?;
        let failed = |error: Error| of_opening(connect, &error);
        session.client.batch_execute("SET synchronous_commit = off").await.map_err(failed)?;
        let send = format!("SELECT {}.bus_send($1, $2, $3)", connect.schema());
        let send = session.client.prepare(&send).await.map_err(failed)?;
        Ok(Self { session, send })
    }

    pub(super) fn client(&self) -> &Client {
        &self.session.client
    }
}

impl Sender {
    pub(super) fn new(connect: Arc<dyn Connect>, me: NodeId, counters: Arc<BusCounters>, session: Sending) -> Self {
        let session = Some(session);
        Self { connect, me, counters, session, backoff: Backoff::new(), number: 0, watched: Instant::now() }
    }

    async fn send_flush(&mut self, lane: Lane, flush: &[u8]) -> Result<(), BusError> {
        self.number += 1;
        let Some(pieces) = cut(self.me.epoch, self.number, lane, flush) else {
            return Err(BusError::Refused(format!(
                "{} bytes are more than the {FLUSH_BYTES_MAX} that a flush may have",
                flush.len()
            )));
        };
        let silent = |_| Err(BusError::Down("the database doesn't answer".into()));
        let sent = timeout(ANSWER_TIMEOUT, self.send_pieces(&pieces)).await.unwrap_or_else(silent);
        match &sent {
            Ok(()) => {
                self.backoff.succeeded();
                BusCounters::add(&self.counters.flushes, 1);
                BusCounters::add(&self.counters.pieces, pieces.len());
            }
            Err(BusError::Down(_)) => {
                self.session = None;
                self.backoff.failed(Instant::now());
            }
            Err(_) => {}
        }
        sent
    }

    async fn send_pieces(&mut self, pieces: &[String]) -> Result<(), BusError> {
        let sending = match self.session.take().filter(|sending| !sending.session.has_ended()) {
            Some(sending) => sending,
            None => {
                self.backoff.wait().await;
                let sending = Sending::connect(&*self.connect).await.map_err(later)?;
                BusCounters::add(&self.counters.reconnects, 1);
                sending
            }
        };
        let (epoch, incarnation) = (self.me.epoch.0.cast_signed(), &self.me.incarnation.0[..]);
        let sent = sending.client().query(&sending.send, &[&epoch, &incarnation, &pieces]).await;
        let sending = self.session.insert(sending);
        sent.map_err(|error| of_sending(&*self.connect, &error))?;
        if self.watched.elapsed() >= WATCH {
            self.watched = Instant::now();
            // If it isn't answered, the next flush finds out.
            if let Ok(thousandths) = queue_usage(sending.client()).await {
                report(&self.counters, thousandths);
            }
        }
        Ok(())
    }
}

/// After the bus was opened, what is wrong may be mended while the node runs: it tries again.
fn later(error: BusError) -> BusError {
    match error {
        BusError::Unfit(why) => BusError::Down(why),
        other => other,
    }
}

async fn queue_usage(client: &Client) -> Result<u32, Error> {
    let row = client.query_one("SELECT (pg_notification_queue_usage() * 1000)::int", &[]).await?;
    Ok(row.get::<_, i32>(0).try_into().unwrap_or_default())
}

fn report(counters: &BusCounters, thousandths: u32) {
    let before = counters.queue_thousandths.swap(thousandths, Ordering::Relaxed);
    if thousandths >= REPORTED && before < REPORTED {
        tracing::warn!(
            "the database's queue of notifications is {} % full: a session that has used LISTEN doesn't read; the server's log \
             and pg_stat_activity name it",
            thousandths / 10
        );
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
