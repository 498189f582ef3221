//! Messages, broadcasts, queues and backpressure.

use std::fmt;

use bennu_outbound::FailureKind;

use super::Page;
use super::page::seconds;
use crate::api::Api;
use crate::counts::{HighWater, Rare, Traffic};
use crate::jobs::JobCounts;
use crate::protocol::DeflateCount;

pub(super) fn write(api: &Api, page: &mut Page<'_>) -> fmt::Result {
    messages(page)?;
    slow_clients(api, page)?;
    queues(page)?;
    compression(page)?;
    let (ticks, missed) = api.node.tick_counts();
    page.counter("bennu_ticks", "Ticks of topics, including those that were skipped.", ticks)?;
    page.counter("bennu_ticks_skipped", "Ticks that were skipped because the topic or the host was busy.", missed)?;
    http(api, page)?;
    deliveries(api, page)?;
    schedules(api, page)
}

fn messages(page: &mut Page<'_>) -> fmt::Result {
    page.counter("bennu_messages_received", "Messages from clients.", Traffic::MessagesReceived.count())?;
    page.counter("bennu_broadcasts", "Broadcasts to topics, each counted once.", Traffic::Broadcasts.count())?;
    page.counter(
        "bennu_deliveries",
        "Delivered frames: copies of broadcasts for members.",
        Traffic::Deliveries.count(),
    )?;
    let name = "bennu_frames_sent";
    page.counter(name, "Frames that connections have taken from their outboxes.", Traffic::FramesSent.count())?;
    page.counter(
        "bennu_websocket_received_bytes",
        "Bytes from WebSocket connections.",
        Traffic::BytesReceived.count(),
    )?;
    page.counter("bennu_websocket_sent_bytes", "Bytes to WebSocket connections.", Traffic::BytesSent.count())
}

fn slow_clients(api: &Api, page: &mut Page<'_>) -> fmt::Result {
    let droppable = &api.node.pubsub.droppable;
    page.counter("bennu_droppable_messages", "Droppable messages to members.", droppable.sent())?;
    let (name, help) = ("bennu_droppable_messages_lost", "Droppable messages that members didn't get.");
    let mut lost = page.counters(name, help)?;
    lost.counter(&[("cause", "replaced")], droppable.replaced())?;
    lost.counter(&[("cause", "dropped")], droppable.dropped())?;
    let (name, skipped) = ("bennu_state_updates_skipped", Rare::StateUpdatesSkipped.count());
    page.counter(name, "Changes of published states that slow clients didn't get one by one.", skipped)?;
    let (name, merged) = ("bennu_presence_diffs_merged", Rare::PresenceDiffsMerged.count());
    page.counter(name, "Presence diffs that were merged into another one.", merged)?;
    let (name, dropped) = ("bennu_broadcasts_dropped", Rare::BroadcastsDropped.count());
    page.counter(name, "Broadcasts that were dropped because too many waited for handle_out.", dropped)?;
    let pressure = seconds(Rare::PressureNanoseconds.count());
    page.counter("bennu_backpressure_seconds", "Time in which an outbox was more than a quarter full.", pressure)
}

/// The largest queues of the last one to two minutes.
fn queues(page: &mut Page<'_>) -> fmt::Result {
    let help = "The most entries of one queue in the last one to two minutes.";
    let mut queues = page.gauges("bennu_queue_length_max", help)?;
    for (queue, value) in [
        ("outbox", HighWater::OutboxFrames),
        ("mailbox_from_client", HighWater::MailboxFromClient),
        ("mailbox_from_elsewhere", HighWater::MailboxFromElsewhere),
        ("topic_messages", HighWater::TopicMessages),
        ("handle_out", HighWater::HandleOut),
        ("store_batch", HighWater::StoreBatch),
    ] {
        queues.gauge(&[("queue", queue)], value.value())?;
    }
    let value = HighWater::OutboxBytes.value();
    page.gauge("bennu_outbox_bytes_max", "The most bytes of one outbox in the last one to two minutes.", value)
}

fn compression(page: &mut Page<'_>) -> fmt::Result {
    let deflated = [
        ("bennu_deflated_messages", "Messages that were compressed.", DeflateCount::Messages),
        ("bennu_deflate_input_bytes", "Bytes of those messages before.", DeflateCount::BytesBefore),
        ("bennu_deflate_output_bytes", "Bytes of those messages after.", DeflateCount::BytesAfter),
        ("bennu_inflated_messages", "Compressed messages from clients.", DeflateCount::Inflated),
        ("bennu_inflate_input_bytes", "Bytes of those messages before.", DeflateCount::InflatedBytesBefore),
        ("bennu_inflate_output_bytes", "Bytes of those messages after.", DeflateCount::InflatedBytesAfter),
    ];
    deflated.into_iter().try_for_each(|(name, help, count)| page.counter(name, help, count.get()))
}

/// Requests that are sent until a server accepts them.
fn deliveries(api: &Api, page: &mut Page<'_>) -> fmt::Result {
    let (counts, totals) = (api.deliveries.counts(), api.deliveries.totals());
    let help = "Deliveries of plugins and webhooks that are stored.";
    let mut stored = page.gauges("bennu_http_deliveries_stored", help)?;
    stored.gauge(&[("state", "waiting")], counts.all.saturating_sub(counts.given_up))?;
    stored.gauge(&[("state", "given-up")], counts.given_up)?;
    let mut ended = page.counters("bennu_http_deliveries", "Deliveries that have ended.")?;
    for (result, count) in [("accepted", totals.accepted), ("refused", totals.refused), ("given-up", totals.given_up)] {
        ended.counter(&[("result", result)], count)?;
    }
    page.counter("bennu_http_delivery_failures", "Attempts of deliveries that have failed.", totals.failed)
}

/// What the host sends to topics by itself.
fn schedules(api: &Api, page: &mut Page<'_>) -> fmt::Result {
    let JobCounts { all, given_up, unserved } = api.jobs.counts();
    let help = "Schedules, next times of cron lines, and failure messages of deliveries.";
    let mut stored = page.gauges("bennu_schedules", help)?;
    stored.gauge(&[("state", "waiting")], all.saturating_sub(given_up + unserved))?;
    stored.gauge(&[("state", "unserved")], unserved)?;
    stored.gauge(&[("state", "given-up")], given_up)
}

/// Requests by HTTP that plugins ask for.
fn http(api: &Api, page: &mut Page<'_>) -> fmt::Result {
    let counts = api.node.http().counts();
    page.gauge("bennu_http_requests_under_way", "Requests of plugins that are under way.", counts.under_way)?;
    let mut requests = page.counters("bennu_http_requests", "Requests of plugins by HTTP that have ended.")?;
    requests.counter(&[("result", "answered")], counts.answered)?;
    for (kind, failed) in FailureKind::ALL.iter().zip(counts.failed) {
        requests.counter(&[("result", kind.name())], failed)?;
    }
    page.counter("bennu_http_sent_bytes", "Bytes of the bodies of answered requests.", counts.sent_bytes)?;
    page.counter("bennu_http_received_bytes", "Bytes of the bodies of their answers.", counts.received_bytes)
}
