//! The host as a node of a cluster. A host without a cluster has none of these.

use std::fmt;

use bennu_cluster::{ClusterCounts, LeaseStatus, NodePresence, NodeStatus};

use super::Page;
use crate::api::Api;
use crate::api::cluster::presence_name;
use crate::cluster::PeerCounts;

/// The states of nodes, each with its label.
const STATES: [NodePresence; 5] =
    [NodePresence::Own, NodePresence::Unheard, NodePresence::Up, NodePresence::Silent, NodePresence::Dead];

pub(super) fn write(api: &Api, page: &mut Page<'_>) -> fmt::Result {
    let Some(peers) = &api.cluster else { return Ok(()) };
    let link = peers.link();
    nodes(&link.nodes(), page)?;
    lease(&link.lease(), &link.counts(), page)?;
    let help = "How far this machine's clock is ahead of the database's; negative if it is behind.";
    page.gauge("bennu_cluster_clock_ahead_seconds", help, peers.clock_ahead_ms() as f64 / 1000.0)?;
    if let Some(ids) = peers.transaction_ids_per_day() {
        let help =
            "Ids of transactions that the database's server used between the last two readings, scaled to a day.";
        page.gauge("bennu_cluster_transaction_ids_per_day", help, ids)?;
    }
    let help = "Sticky topics that have members at this node and at another one.";
    page.gauge("bennu_cluster_split_topics", help, peers.split_topics() as u64)?;
    messages(&link.counts(), page)?;
    losses(&link.counts(), &peers.counts(), page)?;
    rows(&link.counts(), &peers.counts(), page)?;
    plugins(api, &peers.counts(), page)
}

fn nodes(nodes: &[NodeStatus], page: &mut Page<'_>) -> fmt::Result {
    let mut states = page.gauges("bennu_cluster_nodes", "Nodes by their state; the dead ones are those of late.")?;
    for state in STATES {
        let count = nodes.iter().filter(|node| node.presence == state).count();
        states.gauge(&[("state", presence_name(state))], count as u64)?;
    }
    let behind = nodes.iter().map(|node| node.behind).sum::<u64>();
    let help = "Flushes that other nodes have sent and that haven't arrived.";
    page.gauge("bennu_cluster_flushes_behind", help, behind)
}

fn lease(lease: &LeaseStatus, counts: &ClusterCounts, page: &mut Page<'_>) -> fmt::Result {
    let help = "1 while the lease is renewed; 0 while the node is suspended.";
    page.gauge("bennu_cluster_lease_up", help, u64::from(lease.is_good))?;
    if let Some(ago) = lease.renewed_ago {
        let help = "The time since the last renewal of the lease that succeeded.";
        page.gauge("bennu_cluster_lease_age_seconds", help, ago.as_secs_f64())?;
    }
    let mut renewals = page.counters("bennu_cluster_lease_renewals", "Renewals of the lease by their result.")?;
    for (result, count) in [("renewed", counts.table.renewals), ("failed", counts.table.misses)] {
        renewals.counter(&[("result", result)], count)?;
    }
    let help = "How often the lease ran out.";
    page.counter("bennu_cluster_suspensions", help, counts.table.suspensions)?;
    page.counter(
        "bennu_cluster_nodes_declared_dead",
        "Nodes that this one has declared dead.",
        counts.table.declared_dead,
    )
}

fn messages(counts: &ClusterCounts, page: &mut Page<'_>) -> fmt::Result {
    let ClusterCounts { sent, heard, bus, .. } = counts;
    for (name, help, [sent, heard]) in [
        ("bennu_cluster_messages", "Messages between nodes.", [sent.messages, heard.messages]),
        ("bennu_cluster_message_bytes", "Bytes of messages between nodes.", [sent.bytes, heard.bytes]),
        ("bennu_cluster_flushes", "Flushes with messages.", [sent.flushes, heard.flushes]),
        ("bennu_cluster_repeats", "Flushes that were sent again.", [sent.repeats, heard.repeats]),
    ] {
        let mut ways = page.counters(name, help)?;
        ways.counter(&[("way", "sent")], sent)?;
        ways.counter(&[("way", "heard")], heard)?;
    }
    page.counter("bennu_cluster_gaps", "Gaps in the numbers of what was heard.", heard.gaps)?;
    page.counter("bennu_cluster_bus_failures", "Flushes that the bus didn't take at once.", sent.failures)?;
    page.counter("bennu_cluster_bus_losses", "How often the connection to the bus was lost.", heard.downs)?;
    let help = "Flushes that the bus has delivered, and that were dropped because the host was too slow.";
    page.counter("bennu_cluster_bus_overflows", help, bus.overflows)?;
    let help = "Messages on the bus that no node has sent.";
    page.counter("bennu_cluster_bus_foreign_messages", help, bus.ignored)?;
    let help = "How full PostgreSQL's queue of notifications is, from 0 to 1.";
    page.gauge("bennu_cluster_bus_queue_ratio", help, f64::from(bus.queue_thousandths) / 1000.0)
}

fn rows(link: &ClusterCounts, peers: &PeerCounts, page: &mut Page<'_>) -> fmt::Result {
    let help = "How often a sticky topic began to have members at this node and at another one.";
    page.counter("bennu_cluster_topics_split", help, peers.topics_split)?;
    let help = "Rows of the database that this node can't read, each at each read, by what they are about.";
    let mut tables = page.counters("bennu_cluster_rows_unreadable", help)?;
    tables.counter(&[("table", "nodes")], link.table.rows_unreadable)?;
    tables.counter(&[("table", "plugins")], peers.rows_unreadable)
}

fn plugins(api: &Api, peers: &PeerCounts, page: &mut Page<'_>) -> fmt::Result {
    let statuses = api.statuses.all();
    let in_cluster = || statuses.values().filter_map(|status| status.cluster.as_ref());
    let prepared = in_cluster().filter(|cluster| cluster.rollout.is_some()).count();
    page.gauge("bennu_cluster_rollouts", "Plugins of which all nodes prepare a build.", prepared as u64)?;
    let troubles = in_cluster().flat_map(|cluster| &cluster.nodes).filter(|node| node.trouble.is_some()).count();
    let help = "Builds that the cluster serves and a node can't load, at all nodes together.";
    page.gauge("bennu_cluster_builds_not_served", help, troubles as u64)?;
    let help = "How often the records of the cluster's plugins couldn't be read or written.";
    page.counter("bennu_cluster_registry_failures", help, peers.registry_failures)
}

fn losses(link: &ClusterCounts, peers: &PeerCounts, page: &mut Page<'_>) -> fmt::Result {
    page.counter("bennu_cluster_losses", "Gaps that couldn't be filled.", link.heard.losses)?;
    let help = "Messages that weren't sent, because too many bytes waited or the message was too large.";
    page.counter("bennu_cluster_messages_dropped", help, peers.messages_dropped)?;
    let help = "Members whose clients were told to join again after a loss.";
    page.counter("bennu_cluster_members_rejoined", help, peers.members_rejoined)?;
    let help = "Answers of other nodes that were missing when the time was over.";
    page.counter("bennu_cluster_answers_missing", help, peers.answers_missing)?;
    let dropped = &link.dropped;
    let mut reasons = page.counters("bennu_cluster_flushes_ignored", "Flushes that were ignored, by the reason.")?;
    for (reason, count) in [
        ("malformed", dropped.malformed),
        ("version", dropped.version),
        ("forged", dropped.forged),
        ("unknown", dropped.unknown),
        ("dead", dropped.dead),
        ("incarnation", dropped.incarnation),
        ("duplicate", dropped.duplicate),
    ] {
        reasons.counter(&[("reason", reason)], count)?;
    }
    Ok(())
}
