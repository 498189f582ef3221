//! `GET /api/cluster`, and what other calls say in a cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use bennu_cluster::{ClusterCounts, NodePresence, NodeStatus};
use serde_json::{Map, Value, json};

use super::health::cluster_troubles;
use super::{Api, ApiError};
use crate::cluster::{Acted, Coverage, NodeQuestion, Peers};
use crate::health::Reasons;
use crate::plugin::PluginStatuses;

/// `GET /api/cluster`: the nodes as this one knows them.
pub(super) async fn cluster(State(api): State<Arc<Api>>) -> Result<Json<Value>, ApiError> {
    let Some(peers) = &api.cluster else {
        return Err(ApiError::unknown("this host isn't in a cluster; `bennu docs cluster` describes clusters"));
    };
    Ok(Json(state(peers, &api.statuses)))
}

/// The state of the cluster as this node sees it.
fn state(peers: &Peers, statuses: &PluginStatuses) -> Value {
    let (link, lease) = (peers.link(), peers.link().lease());
    let nodes: Vec<Value> = link.nodes().iter().map(node).collect();
    let plugins: BTreeMap<_, _> =
        statuses.all().into_iter().filter_map(|(name, status)| Some((name, status.cluster?))).collect();
    let counts: Map<_, _> = peers.counts().named().map(|(name, count)| (name.to_owned(), count.into())).collect();
    json!({
        "node": link.name(),
        "epoch": link.me().0,
        "is_good": lease.is_good,
        "lease": {
            "length_ms": milliseconds(lease.length),
            "renewed_ms_ago": lease.renewed_ago.map(milliseconds),
            "failure": lease.failure,
        },
        "clock_ahead_ms": peers.clock_ahead_ms(),
        "transaction_ids_per_day": peers.transaction_ids_per_day(),
        "nodes": nodes,
        "plugins": plugins,
        "topics_elsewhere": peers.topics_elsewhere(),
        "split_topics": peers.split_topics(),
        "counts": counts,
        "link": link_counts(&link.counts()),
    })
}

fn node(status: &NodeStatus) -> Value {
    let NodeStatus { row, presence, heard_ago, beat_ago, behind, gaps, losses } = status;
    json!({
        "name": row.name,
        "epoch": row.id.epoch.0,
        "version": row.version,
        "state": presence_name(*presence),
        "is_draining": row.is_draining,
        "heard_ms_ago": heard_ago.map(milliseconds),
        "beat_ms_ago": beat_ago.map(milliseconds),
        "behind": behind,
        "gaps": gaps,
        "losses": losses,
    })
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The name of a node's state.
pub(super) fn presence_name(presence: NodePresence) -> &'static str {
    match presence {
        NodePresence::Own => "own",
        NodePresence::Unheard => "unheard",
        NodePresence::Up => "up",
        NodePresence::Silent => "silent",
        NodePresence::Dead => "dead",
    }
}

fn link_counts(counts: &ClusterCounts) -> Value {
    let ClusterCounts { sent, heard, dropped, table, bus } = counts;
    json!({
        "sent": {
            "flushes": sent.flushes,
            "messages": sent.messages,
            "bytes": sent.bytes,
            "full": sent.full,
            "nacks": sent.nacks,
            "repeats": sent.repeats,
            "refused": sent.refused,
            "failures": sent.failures,
        },
        "heard": {
            "flushes": heard.flushes,
            "messages": heard.messages,
            "bytes": heard.bytes,
            "nacks": heard.nacks,
            "repeats": heard.repeats,
            "gaps": heard.gaps,
            "losses": heard.losses,
            "downs": heard.downs,
        },
        "dropped": {
            "malformed": dropped.malformed,
            "version": dropped.version,
            "forged": dropped.forged,
            "unknown": dropped.unknown,
            "dead": dropped.dead,
            "incarnation": dropped.incarnation,
            "duplicate": dropped.duplicate,
        },
        "table": {
            "renewals": table.renewals,
            "misses": table.misses,
            "suspensions": table.suspensions,
            "polls": table.polls,
            "poll_failures": table.poll_failures,
            "declared_dead": table.declared_dead,
            "rows_unreadable": table.rows_unreadable,
        },
        "bus": {
            "flushes": bus.flushes,
            "pieces": bus.pieces,
            "heard": bus.heard,
            "overflows": bus.overflows,
            "ignored": bus.ignored,
            "reconnects": bus.reconnects,
            "queue_thousandths": bus.queue_thousandths,
        },
    })
}

impl Api {
    /// The state of the cluster as this node sees it. None without a cluster.
    pub(crate) fn cluster_state(&self) -> Option<Value> {
        self.cluster.as_ref().map(|peers| state(peers, &self.statuses))
    }

    /// Why clients shouldn't connect to this node of a cluster, in sentences. Empty without a cluster.
    pub(crate) fn cluster_troubles(&self) -> Reasons {
        cluster_troubles(self.cluster.as_deref(), &self.statuses)
    }

    /// Has the other nodes do what this one does for its own members. None without a cluster.
    pub(super) async fn act_elsewhere(&self, question: impl FnOnce() -> NodeQuestion) -> Option<Acted> {
        match &self.cluster {
            Some(peers) => Some(peers.act(question()).await),
            None => None,
        }
    }

    /// The number of a topic's members at the other nodes, which may be a second old.
    pub(super) fn count_elsewhere(&self, topic: &str) -> usize {
        self.cluster.as_ref().map_or(0, |peers| peers.count(topic))
    }
}

/// Adds to an answer which nodes it includes. Without a cluster, nothing is added.
pub(super) fn covering(mut answer: Value, coverage: Option<Coverage>) -> Value {
    if let Some(Coverage { asked, answered }) = coverage {
        answer["asked"] = asked.into();
        answer["answered"] = answered.into();
    }
    answer
}
