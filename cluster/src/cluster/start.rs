//! How a node gets its row in the table.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::event::StartError;
use super::options::{ClusterOptions, LEASE_MIN};
use super::tasks::within;
use crate::moment::Moment;
use crate::node::{Incarnation, NodeId};
use crate::roll::{Namesake, NamesakeState};
use crate::table::{Hello, NodeRow, NodeTable};
use crate::wire::MESSAGE_BYTES_MAX;

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
async fn outwait(table: &Arc<dyn NodeTable>, lease: Duration, row: NodeRow) -> Result<(), StartError> {
    let mut namesake = Namesake::new(row, lease, Moment::now());
    loop {
        sleep(namesake.next().since(Moment::now())).await;
        let sent_at = Moment::now();
        let limit = namesake.sent(sent_at);
        match within(limit, table.roll()).await {
            Ok(rows) => match namesake.polled(rows, sent_at, Moment::now()) {
                NamesakeState::Waits => {}
                NamesakeState::Over => return Ok(()),
                NamesakeState::Runs(row) => return Err(StartError::NameTaken(row)),
                NamesakeState::Bury(row) => {
                    // If it isn't dead then, its beat has changed, which the next answer shows.
                    within(lease, table.bury(row.id.epoch, row.beat)).await?;
                }
            },
            Err(error) => {
                if !namesake.poll_failed(Moment::now()) {
                    return Err(error.into());
                }
            }
        }
    }
}
