//! How a node gets its row in the table.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::event::StartError;
use super::options::{ClusterOptions, LEASE_MIN};
use super::tasks::within;
use crate::moment::Moment;
use crate::node::{Epoch, Incarnation, NodeId};
use crate::roll::{Polls, Watch};
use crate::table::{Hello, NodeRow, NodeTable};
use crate::wire::MESSAGE_BYTES_MAX;

/// How many leases a newcomer waits for a namesake to be over, if the table doesn't answer in between.
const LEASES_MAX: u32 = 4;

/// Refuses options that can't work.
pub(super) fn check(options: &ClusterOptions) -> Result<(), StartError> {
    let limits = &options.limits;
    let wrong = [
        (options.lease < LEASE_MIN, "the lease of a node is shorter than a second"),
        (options.speaks.from > options.speaks.to, "a node must understand at least one version of the protocol"),
        (limits.message_bytes > MESSAGE_BYTES_MAX, "a message between nodes may have at most 8 MiB"),
        (
            limits.queue_bytes < 2 * limits.message_bytes || limits.ring_bytes < 2 * limits.message_bytes,
            "the queue and the ring of a node must have room for two of the largest messages",
        ),
        (limits.events == 0, "the queue of events must have room for one"),
    ];
    match wrong.into_iter().find(|(is_wrong, _)| *is_wrong) {
        Some((_, why)) => Err(StartError::Option(why.to_owned())),
        None => Ok(()),
    }
}

/// Adds a row to the table. Returns who this node is, and when it asked for that.
pub(super) async fn arrive(
    options: &ClusterOptions,
    table: &Arc<dyn NodeTable>,
) -> Result<(NodeId, Moment), StartError> {
    let mut incarnation = [0; 16];
    getrandom::fill(&mut incarnation).map_err(|error| StartError::System(std::io::Error::other(error.to_string())))?;
    let incarnation = Incarnation(incarnation);
    if let Some(over) = options.over {
        within(options.lease, table.leave(over)).await?;
    }
    loop {
        let sent_at = Moment::now();
        let hello = table.hello(&options.name, &options.version, incarnation, options.speaks);
        match within(options.lease, hello).await? {
            Hello::Welcome(epoch) => return Ok((NodeId { epoch, incarnation }, sent_at)),
            Hello::NoCommonVersion(row) => return Err(StartError::NoCommonVersion(row)),
            Hello::NameTaken(row) => {
                tracing::info!(
                    name = options.name,
                    epoch = row.id.epoch.0,
                    "waits until the last node of this name is over"
                );
                outwait(table, options.lease, row).await?;
            }
        }
    }
}

/// Waits until a namesake is dead, and buries it once its beat stood still for a lease.
async fn outwait(table: &Arc<dyn NodeTable>, lease: Duration, namesake: NodeRow) -> Result<(), StartError> {
    let begun = Moment::now();
    let mut last = begun;
    let mut polls = Polls::new(lease, begun);
    let mut watch = Watch::new(namesake.beat, begun);
    loop {
        sleep(polls.next().since(Moment::now())).await;
        let sent_at = Moment::now();
        polls.sent(sent_at);
        let rows = match within(polls.timeout(), table.roll()).await {
            Ok(rows) => rows,
            Err(error) if sent_at.since(begun) > lease * LEASES_MAX => return Err(error.into()),
            // The watch begins anew with the next answer, because it comes late.
            Err(_) => {
                last = Moment::START;
                continue;
            }
        };
        let now = Moment::now();
        let Some(row) = living(rows, namesake.id.epoch) else { return Ok(()) };
        if row.beat != namesake.beat {
            return Err(StartError::NameTaken(row));
        }
        watch.saw(row.beat, Watch::is_unbroken(lease, last, now), now);
        last = now;
        if watch.is_over(lease, sent_at) {
            // If it isn't dead then, its beat has changed, which the next answer shows.
            within(lease, table.bury(row.id.epoch, row.beat)).await?;
        }
    }
}

fn living(rows: Vec<NodeRow>, epoch: Epoch) -> Option<NodeRow> {
    rows.into_iter().find(|row| row.id.epoch == epoch && !row.is_dead)
}
