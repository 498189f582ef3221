//! The beat of a topic: its `handle_tick`, at a steady rate.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::fault_log::Failed;
use super::turn_queue::{Job, TurnQueue};
use super::{MemberEvent, Node};
use crate::contract::{Fault, Tick, TopicCallback};
use crate::protocol::Topic;
use crate::pubsub::{HELD_BACK_MAX, Pressure};

/// A beat that goes on for as long as it is kept.
pub(super) struct TickTimer {
    period: Duration,
    /// Whether one waits for its turn. Another one doesn't queue behind it.
    is_waiting: Arc<AtomicBool>,
    task: AbortHandle,
}

impl TickTimer {
    /// Starts one. Neither the line nor the node is kept alive by it.
    pub(super) fn start(queue: &Arc<TurnQueue>, node: &Arc<Node>, topic: &Topic, period: Duration) -> Self {
        let is_waiting = Arc::<AtomicBool>::default();
        let task = TickTask {
            queue: Arc::downgrade(queue),
            node: Arc::downgrade(node),
            topic: topic.clone(),
            period,
            is_waiting: Arc::clone(&is_waiting),
        };
        Self { period, is_waiting, task: tokio::spawn(task.run()).abort_handle() }
    }

    pub(super) fn period(&self) -> Duration {
        self.period
    }

    /// The one that waited has its turn.
    pub(super) fn taken(&self) {
        self.is_waiting.store(false, Ordering::Release);
    }
}

impl Drop for TickTimer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct TickTask {
    queue: Weak<TurnQueue>,
    node: Weak<Node>,
    topic: Topic,
    period: Duration,
    is_waiting: Arc<AtomicBool>,
}

impl TickTask {
    async fn run(self) {
        let (began, mut number, mut missed) = (Instant::now(), 0, 0_u32);
        let mut held_back = None;
        loop {
            number += 1;
            sleep_until(began + times(self.period, number)).await;
            // The clock itself may come late: what has passed meanwhile is left out.
            let passed = u64::try_from(began.elapsed().as_nanos() / self.period.as_nanos()).unwrap_or(u64::MAX);
            let late = passed.saturating_sub(number);
            number += late;
            missed = missed.saturating_add(u32::try_from(late).unwrap_or(u32::MAX));
            let (Some(queue), Some(node)) = (self.queue.upgrade(), self.node.upgrade()) else { return };
            // A beat is made to be left out, and what it would broadcast to a whole topic is what a busy host has too much
            // of already.
            if is_held_back(&node.pubsub.pressure, &mut held_back) || self.is_waiting.swap(true, Ordering::AcqRel) {
                missed = missed.saturating_add(1);
                node.count_ticks(0, 1);
                continue;
            }
            node.count_ticks(1, late);
            let tick = Tick { number, missed: std::mem::take(&mut missed), period: self.period };
            queue.post_and_drain(Job::Tick(node, self.topic.clone(), tick));
        }
    }
}

/// Whether those who write to clients are behind, and haven't been for too long. `since` is when it was first so.
fn is_held_back(pressure: &Pressure, since: &mut Option<Instant>) -> bool {
    let is_held_back = pressure.is_high() && since.get_or_insert_with(Instant::now).elapsed() < HELD_BACK_MAX;
    if !is_held_back {
        *since = None;
    }
    is_held_back
}

fn times(period: Duration, number: u64) -> Duration {
    let nanoseconds = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(nanoseconds.saturating_mul(number))
}

impl TurnQueue {
    /// A beat's turn.
    pub(super) async fn tick(self: &Arc<Self>, node: &Arc<Node>, topic: &Topic, tick: Tick) {
        // It may have been ended while this one waited.
        if !self.take_tick(tick.period) {
            return;
        }
        let Some(route) = node.routes.find(topic.as_str()).filter(|route| route.spec.has_room()) else { return };
        // Whoever takes the topic over, it has no beat of theirs.
        if !self.is_room_of(&route) {
            return self.end_room(node, topic).await;
        }
        if !route.takes.ticks {
            // A build that has none has taken over, or was returned to.
            tracing::warn!(plugin = &*route.plugin, topic = topic.as_str(), "it has no handle_tick: the beat ends");
            return self.end_ticks();
        }
        let callback = TopicCallback::Tick(tick);
        match node.topic_turn(self, topic, &route, callback).await {
            Ok(_) => self.tick_succeeded(),
            Err(fault) => {
                node.log_topic_fault(&route, topic, Failed::in_callback("handle_tick"), &fault);
                let (failed, most) = (self.tick_failed(), route.spec.tick_faults);
                if most > 0 && failed >= most {
                    tracing::error!(
                        topic = topic.as_str(),
                        "topic_closed: its handle_tick failed {failed} times in a row"
                    );
                    self.close_topic(node, topic, &fault).await;
                }
            }
        }
    }

    /// Ends a topic whose beat fails again and again: its members, right here, so that nobody who waits behind them finds
    /// anything of it, and the room with them.
    async fn close_topic(self: &Arc<Self>, node: &Arc<Node>, topic: &Topic, fault: &Fault) {
        self.end_ticks();
        for channel in node.channels_of(topic.as_str()) {
            if let Some(turning) = channel.take(MemberEvent::Closed(fault.clone())) {
                turning.await;
            }
        }
        self.end_room(node, topic).await;
    }
}
