//! The ticks of a topic: its `handle_tick`, called at a steady rate.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::job::{TopicEvent, post_and_drain};
use super::tick_timer::{Progress, TickTimer};
use super::topics::TopicTurns;
use crate::contract::Tick;
use crate::counts::Limit;
use crate::pubsub::{HELD_BACK_MAX, Pressure};

/// Sets the topic's tick interval, or ends its ticks.
pub(in crate::channel) fn set_tick(topic: &Arc<TopicTurns>, period: Option<Duration>) {
    let mut room = topic.room();
    let Some(room) = room.as_mut() else { return };
    let is_set = room.ticks().map(TickTimer::period) == period;
    // Each member that joins may ask for the same interval.
    if !is_set {
        room.set_ticks(period.map(|period| timer(topic, period, 0, 0)));
    }
}

/// Continues the ticks of another host after the one with this number. The ticks of the time in which no host ran count as
/// missed.
pub(in crate::channel::room) fn continue_ticks(
    topic: &Arc<TopicTurns>,
    period: Duration,
    number: u64,
    paused: Duration,
) {
    let missed = u32::try_from(paused.as_nanos() / period.as_nanos().max(1)).unwrap_or(u32::MAX);
    let mut room = topic.room();
    let Some(room) = room.as_mut() else { return };
    let before = number.saturating_add(u64::from(missed));
    room.set_ticks(Some(timer(topic, period, before, missed)));
}

/// Starts the ticks after the one with this number, with so many that were missed before.
fn timer(topic: &Arc<TopicTurns>, period: Duration, before: u64, missed: u32) -> TickTimer {
    let topic = Arc::downgrade(topic);
    TickTimer::start(period, |progress| {
        progress.set_number(before);
        TickTask { topic, period, progress, before, missed }.run()
    })
}

/// The turn of a tick of this period begins, so the next tick may be queued. Returns whether the topic still has such
/// ticks: they may have ended while this one waited.
pub(in crate::channel) fn take_tick(topic: &TopicTurns, period: Duration) -> bool {
    let room = topic.room();
    let ticks = room.as_ref().and_then(|room| room.ticks()).filter(|ticks| ticks.period() == period);
    ticks.inspect(|ticks| ticks.taken()).is_some()
}

/// Posts the ticks. It keeps neither the topic nor the host alive.
struct TickTask {
    topic: Weak<TopicTurns>,
    period: Duration,
    progress: Progress,
    /// The number of the tick before the first one.
    before: u64,
    /// The ticks that were missed before the first one.
    missed: u32,
}

impl TickTask {
    async fn run(self) {
        let (began, mut number, mut missed) = (Instant::now(), 0, self.missed);
        let mut high_since = None;
        loop {
            number += 1;
            sleep_until(began + times(self.period, number)).await;
            // The timer itself may fire late. The ticks whose time has passed meanwhile are left out.
            let passed = u64::try_from(began.elapsed().as_nanos() / self.period.as_nanos()).unwrap_or(u64::MAX);
            let late = passed.saturating_sub(number);
            number += late;
            missed = missed.saturating_add(u32::try_from(late).unwrap_or(u32::MAX));
            let Some(topic) = self.topic.upgrade() else { return };
            let services = topic.services();
            // A tick may be left out, and a busy host already has too many frames to send. A host that stops waits until no turn
            // is queued.
            let is_held = services.gate.holds_ticks() || is_under_pressure(&services.pubsub.pressure, &mut high_since);
            if is_held || self.progress.is_waiting.swap_in() {
                missed = missed.saturating_add(1);
                services.count_ticks(0, 1);
                Limit::TickQueue.hit();
                continue;
            }
            services.count_ticks(1, late);
            let last = self.before.saturating_add(number);
            self.progress.set_number(last);
            let tick = Tick { number: last, missed: std::mem::take(&mut missed), period: self.period };
            post_and_drain(&topic, TopicEvent::Tick(tick));
        }
    }
}

/// Whether the pressure is high, and has been high for less than [`HELD_BACK_MAX`]. `since` is the time at which it became
/// high.
fn is_under_pressure(pressure: &Pressure, since: &mut Option<Instant>) -> bool {
    let is_under_pressure = pressure.is_high() && since.get_or_insert_with(Instant::now).elapsed() < HELD_BACK_MAX;
    if !is_under_pressure {
        *since = None;
    }
    is_under_pressure
}

fn times(period: Duration, number: u64) -> Duration {
    let nanoseconds = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(nanoseconds.saturating_mul(number))
}
