//! `GET /api/inspect`: counts and state of the host.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use bennu_outbound::FailureKind;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::cluster::covering;
use super::{Api, ApiError};
use crate::channel::RoomSize;
use crate::clients::Limited;
use crate::jobs::JobCounts;
use crate::plugin::unclaimed;
use crate::protocol::DeflateCount;

/// The maximum number of listed topics. The topics with the most members come first.
const TOPICS_SHOWN: usize = 1000;

/// The maximum number of listed rooms. The largest come first.
const ROOMS_SHOWN: usize = 20;

/// The maximum number of users that are listed as refused now, and of addresses, sockets and plugins.
const LIMITED_SHOWN: usize = 100;

/// The query parameters of `GET /api/inspect`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wanted {
    /// Whether the other nodes are asked too.
    cluster: bool,
}

pub(super) async fn inspect(
    State(api): State<Arc<Api>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Value>, ApiError> {
    let Query(Wanted { cluster }) = wanted.map_err(|error| ApiError::bad(error.body_text()))?;
    let state = inspected(&api).await;
    if !cluster {
        return Ok(Json(state));
    }
    let Some(peers) = &api.cluster else { return Err(ApiError::unknown("this host isn't in a cluster")) };
    let (elsewhere, coverage) = peers.inspect().await;
    let mut nodes = Map::from_iter([(peers.link().name().to_owned(), state)]);
    nodes.extend(elsewhere.into_iter().filter_map(|(name, text)| Some((name, serde_json::from_slice(&text).ok()?))));
    Ok(Json(covering(json!({ "nodes": nodes }), Some(coverage))))
}

/// Returns what this node says of itself.
pub(crate) async fn inspected(api: &Api) -> Value {
    let mut topics = api.node.pubsub.topics();
    let topic_count = topics.len();
    topics.sort_by(|(a, a_members), (b, b_members)| b_members.cmp(a_members).then_with(|| a.cmp(b)));
    topics.truncate(TOPICS_SHOWN);
    let shown: Vec<Value> =
        topics.iter().map(|(topic, members)| json!({ "topic": topic.as_str(), "members": members })).collect();
    // Null while the store can't be read. The field `trouble` then has the reason.
    let unclaimed = unclaimed(&api.node.store, &api.statuses).await.ok();
    let mut state = api.state();
    state["store"]["unclaimed"] = json!(unclaimed);
    state["topic_count"] = json!(topic_count);
    state["topics"] = json!(shown);
    state["plugins"] = json!(api.statuses.all());
    state["largest_rooms"] = json!(api.largest_rooms(ROOMS_SHOWN).await);
    state
}

impl Api {
    /// Returns the counts and the state of the host, without its topics, plugins and rooms.
    pub(crate) fn state(&self) -> Value {
        let (ticks, ticks_missed) = self.node.tick_counts();
        let droppable = &self.node.pubsub.droppable;
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_ms": u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            "sockets": self.sockets.count(),
            "channels": self.node.channel_count(),
            "faults": self.node.fault_count(),
            "ticks": ticks,
            "ticks_missed": ticks_missed,
            "droppable": {
                "sent": droppable.sent(),
                "replaced": droppable.replaced(),
                "dropped": droppable.dropped(),
            },
            "history": history(self),
            "log_lines_lost": (self.log_lines_lost)(),
            "failure": self.failure.get(),
            "refused": counts(self, true),
            "closed": counts(self, false),
            "limited": limited(self),
            "compression": compression(),
            "deliveries": deliveries(self),
            "store": {
                "trouble": self.node.store.trouble(),
                "page_reads": self.node.store.page_reads(),
                "log": self.store_log(),
            },
            "jobs": jobs(self),
            "http": http(self),
            "entries": self.entries(),
        })
    }

    /// Returns the open rooms with the most bytes.
    pub(crate) async fn largest_rooms(&self, most: usize) -> Vec<Value> {
        self.node.largest_rooms(most).await.iter().map(room).collect()
    }

    /// Returns the numbers about the log of the store.
    pub(crate) fn store_log(&self) -> Value {
        let counts = self.node.store.log_counts();
        json!({ "bytes": counts.bytes(), "checkpoints": counts.checkpoints(), "waits": counts.waits() })
    }

    /// Returns the memory of the entries of all rooms.
    pub(crate) fn entries(&self) -> Value {
        let usage = self.node.entry_usage();
        json!({
            "memory_bytes": usage.memory_bytes,
            "cached_bytes": usage.cached_bytes,
            "dirty_bytes": usage.dirty_bytes,
            "journal_bytes": usage.journal_bytes,
            "loaded": usage.loaded,
            "evicted": usage.evicted,
        })
    }
}

/// Returns the memory of the broadcasts that are kept for clients that join again, and the counts of such joins.
fn history(api: &Api) -> Value {
    let histories = &api.node.pubsub.histories;
    json!({
        "topics": histories.topics(),
        "broadcasts": histories.stored(),
        "bytes": histories.bytes(),
        "recovered": histories.recovered(),
        "missed": histories.missed(),
    })
}

/// Returns how many schedules and times of cron lines there are.
fn jobs(api: &Api) -> Value {
    let JobCounts { all, given_up, unserved } = api.jobs.counts();
    json!({ "all": all, "given_up": given_up, "unserved": unserved })
}

/// Returns how many deliveries there are, and what has happened to those of before.
fn deliveries(api: &Api) -> Value {
    let (counts, totals) = (api.deliveries.counts(), api.deliveries.totals());
    json!({
        "all": counts.all,
        "sending": counts.sending,
        "given_up": counts.given_up,
        "accepted": totals.accepted,
        "refused": totals.refused,
        "failed": totals.failed,
    })
}

/// Returns what has happened to the requests by HTTP of all plugins.
fn http(api: &Api) -> Value {
    let counts = api.node.http().counts();
    let failed = FailureKind::ALL.iter().zip(counts.failed);
    let failed: Map<_, _> = failed.map(|(kind, count)| (kind.name().to_owned(), count.into())).collect();
    json!({
        "under_way": counts.under_way,
        "idle_connections": counts.idle_connections,
        "answered": counts.answered,
        "failed": failed,
        "sent_bytes": counts.sent_bytes,
        "received_bytes": counts.received_bytes,
    })
}

fn room(room: &RoomSize) -> Value {
    let entries = room.entries.unwrap_or_default();
    // A plugin without entries has none. The sums of a durable room aren't known before its first write.
    let sums = room.entries.map_or(Some(Default::default()), |entries| entries.sums);
    json!({
        "topic": room.topic.as_str(),
        "plugin": room.plugin,
        "room": if room.is_durable { "durable" } else { "memory" },
        "room_bytes": room.room_bytes,
        "entries": sums.map(|sums| sums.entries),
        "entries_bytes": sums.map(|sums| sums.bytes),
        "published_bytes": sums.map(|sums| sums.published),
        "dirty_bytes": entries.dirty_bytes,
        "rollback": room.rollback.map(|rollback| rollback.as_str()),
    })
}

/// Returns how many clients were refused, or closed by the host, for each reason.
fn counts(api: &Api, refused: bool) -> Value {
    let counts = api.sockets.tally.counts().filter(|(reason, _)| reason.is_refusal() == refused);
    counts.map(|(reason, count)| (reason.as_str().to_owned(), Value::from(count))).collect::<Map<_, _>>().into()
}

/// Returns how often each limit of users and addresses was reached, and who is refused now.
fn limited(api: &Api) -> Value {
    let counts = api.node.clients.counts();
    let counts: Map<_, _> = counts.map(|(limit, count)| (limit.as_str().to_owned(), count.into())).collect();
    let now = api.node.clients.limited(LIMITED_SHOWN).into_iter().map(|limited| {
        let Limited { by, who, limit, plugin, rest } = limited;
        let rest_ms = u64::try_from(rest.as_millis()).unwrap_or(u64::MAX);
        json!({ "by": by, "who": who, "limit": limit.as_str(), "plugin": plugin.as_deref(), "rest_ms": rest_ms })
    });
    json!({ "counts": counts, "now": now.collect::<Vec<_>>() })
}

/// Returns the figures about compression.
fn compression() -> Value {
    let name = |count| match count {
        DeflateCount::Messages => "messages",
        DeflateCount::Kept => "messages_kept",
        DeflateCount::BytesBefore => "bytes_before",
        DeflateCount::BytesAfter => "bytes_after",
        DeflateCount::BytesSaved => "bytes_saved",
        DeflateCount::Inflated => "inflated",
        DeflateCount::InflatedBytesBefore => "inflated_bytes_before",
        DeflateCount::InflatedBytesAfter => "inflated_bytes_after",
    };
    DeflateCount::ALL
        .iter()
        .map(|count| (name(*count).to_owned(), Value::from(count.get())))
        .collect::<Map<_, _>>()
        .into()
}
