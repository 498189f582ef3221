//! The counts of the host, and the state of its parts.

use serde_json::{Map, Value, json};

use super::milliseconds;
use crate::api::Api;
use crate::counts::{Limit, ProcessUse, Rare, Traffic};
use crate::health::Present;

/// The most topics that are listed, those with the most members first.
const TOPICS_SHOWN: usize = 10;

/// The counts that every push has, for the charts. The page computes rates from two of them.
pub(super) fn counts(api: &Api) -> Value {
    let plugins = api.statuses.all();
    let calls: u64 = plugins.values().map(|plugin| plugin.usage.counts().all_calls()).sum();
    let process = ProcessUse::read();
    json!({
        "uptime_ms": milliseconds(api.started.elapsed()),
        "sockets": api.sockets.count(),
        "channels": api.node.channel_count(),
        "topics": api.node.pubsub.topic_count(),
        "messages": Traffic::MessagesReceived.count(),
        "broadcasts": Traffic::Broadcasts.count(),
        "deliveries": Traffic::Deliveries.count(),
        "frames": Traffic::FramesSent.count(),
        "received_bytes": Traffic::BytesReceived.count(),
        "sent_bytes": Traffic::BytesSent.count(),
        "calls": calls,
        "faults": api.node.fault_count(),
        "pressure_ms": Rare::PressureNanoseconds.count() / 1_000_000,
        "cpu_ms": process.map(|process| milliseconds(process.cpu)),
        "memory_bytes": process.map(|process| process.resident_bytes),
    })
}

/// The state of the parts of the host.
pub(super) fn see(api: &Api) -> Value {
    let mut topics = api.node.pubsub.topics();
    let members: usize = topics.iter().map(|(_, members)| members).sum();
    let topic_count = topics.len();
    topics.sort_unstable_by(|(a, a_members), (b, b_members)| b_members.cmp(a_members).then_with(|| a.cmp(b)));
    topics.truncate(TOPICS_SHOWN);
    let topics = topics.iter().map(|(topic, members)| json!({ "topic": topic.as_str(), "members": members }));
    let limits = Limit::ALL.iter().filter(|limit| limit.hits() > 0);
    let limits: Map<_, _> = limits.map(|limit| (limit.as_str().to_owned(), limit.hits().into())).collect();
    json!({
        "topic_count": topic_count,
        "memberships": members,
        "largest_topics": topics.collect::<Vec<_>>(),
        "limits": limits,
        "health": health(api),
        "state": api.state(),
        "cluster": api.cluster_state(),
    })
}

/// Why a restart would help, and why the host should get no traffic.
fn health(api: &Api) -> Value {
    let trouble = api.node.store.trouble();
    let cluster_troubles = api.cluster_troubles();
    let present = Present {
        failure: api.failure.get().map(String::as_str),
        store_trouble: trouble.as_ref().map(|trouble| trouble.reason.as_str()),
        cluster_troubles: &cluster_troubles,
        is_served: api.statuses.is_any_served(),
    };
    let now = std::time::Instant::now();
    json!({ "dead": api.health.dead(now, present), "unready": api.health.unready(now, present) })
}
