//! Clients: sockets, channels, topics, and those that were refused or closed.

use std::fmt;

use super::Page;
use crate::api::Api;
use crate::counts::Rare;

pub(super) fn write(api: &Api, page: &mut Page<'_>) -> fmt::Result {
    page.gauge("bennu_sockets", "Open sockets.", api.sockets.count())?;
    page.counter("bennu_sockets_opened", "Sockets that were opened.", Rare::SocketsOpened.count())?;
    page.gauge("bennu_channels", "Channels, including those that are joining or ending.", api.node.channel_count())?;
    page.gauge("bennu_topics", "Topics with members, observers or a history.", api.node.pubsub.topic_count())?;
    let mut refused = page.counters("bennu_clients_refused", "Clients that were refused.")?;
    for (reason, count) in api.sockets.tally.counts().filter(|(reason, _)| reason.is_refusal()) {
        refused.counter(&[("reason", reason.as_str())], count)?;
    }
    let mut closed = page.counters("bennu_connections_closed", "Connections that the host closed.")?;
    for (reason, count) in api.sockets.tally.counts().filter(|(reason, _)| !reason.is_refusal()) {
        closed.counter(&[("reason", reason.as_str())], count)?;
    }
    let histories = &api.node.pubsub.histories;
    page.gauge("bennu_history_topics", "Topics with a history.", histories.topics())?;
    page.gauge("bennu_history_broadcasts", "Broadcasts that are kept.", histories.stored())?;
    page.gauge("bennu_history_bytes", "Bytes of the broadcasts that are kept.", histories.bytes())?;
    let mut rejoins =
        page.counters("bennu_history_rejoins", "Clients that joined again and asked for what they missed.")?;
    rejoins.counter(&[("result", "recovered")], histories.recovered())?;
    rejoins.counter(&[("result", "missed")], histories.missed())
}
