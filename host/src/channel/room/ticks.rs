//! The ticks of a topic: its `handle_tick`, called at a steady rate.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::job::{TopicEvent, post_and_drain};
use super::tick_timer::{IsWaiting, TickTimer};
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
        let task = |period| move |is_waiting| TickTask { topic: Arc::downgrade(topic), period, is_waiting }.run();
        room.set_ticks(period.map(|period| TickTimer::start(period, task(period))));
    }
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
    is_waiting: IsWaiting,
}

impl TickTask {
    async fn run(self) {
        let (began, mut number, mut missed) = (Instant::now(), 0, 0_u32);
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
            // A tick may be left out, and a busy host already has too many frames to send.
            if is_under_pressure(&services.pubsub.pressure, &mut high_since) || self.is_waiting.swap_in() {
                missed = missed.saturating_add(1);
                services.count_ticks(0, 1);
                Limit::TickQueue.hit();
                continue;
            }
            services.count_ticks(1, late);
            let tick = Tick { number, missed: std::mem::take(&mut missed), period: self.period };
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
