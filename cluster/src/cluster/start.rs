//! How a node gets its row in the table.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::event::StartError;
use super::options::{ClusterOptions, LEASE_MIN};
use super::tasks::within;
use crate::membership::{Namesake, NamesakeState};
use crate::moment::Moment;
use crate::node::{Incarnation, NodeId};
use crate::settings::NodeSettings;
use crate::table::{Hello, NewNode, NodeRow, NodeTable};
use crate::wire::{MESSAGE_BYTES_MAX, Seal};

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

/// Adds a row to the table for a node whose bus has this name. Returns who this node is, and when it asked for that.
pub(super) async fn arrive(
    options: &ClusterOptions,
    bus: &str,
    table: &Arc<dyn NodeTable>,
) -> Result<(NodeId, Moment), StartError> {
    let mut incarnation = [0; 16];
    getrandom::fill(&mut incarnation).map_err(|error| StartError::System(std::io::Error::other(error.to_string())))?;
    let incarnation = Incarnation(incarnation);
    if let Some(over) = options.over {
        within(options.lease, table.leave(over)).await?;
    }
    let ClusterOptions { name, version, speaks, lease, secret, .. } = options;
    let secret_mark = Seal::new(secret.as_ref()).mark();
    let settings = NodeSettings { lease: *lease, bus: bus.to_owned(), secret_mark };
    let node = NewNode { name: name.clone(), version: version.clone(), incarnation, speaks: *speaks, settings };
    loop {
        let sent_at = Moment::now();
        match within(*lease, table.hello(&node)).await? {
            Hello::Welcome(epoch) => return Ok((NodeId { epoch, incarnation }, sent_at)),
            Hello::NoCommonVersion(row) => return Err(StartError::NoCommonVersion(Box::new(row))),
            Hello::OtherSettings(row) => {
                let differences = node.settings.differences(&row.settings);
                return Err(StartError::OtherSettings { node: row.name, differences });
            }
            Hello::NameTaken(row) => {
                tracing::info!(name, epoch = row.id.epoch.0, "waits until the last node of this name is over");
                wait_for_namesake(table, *lease, row).await?;
            }
        }
    }
}

/// Waits until a namesake is dead, and declares it dead once its beat stood still for a lease.
async fn wait_for_namesake(table: &Arc<dyn NodeTable>, lease: Duration, row: NodeRow) -> Result<(), StartError> {
    let mut namesake = Namesake::new(row, lease, Moment::now());
    loop {
        sleep(namesake.next().since(Moment::now())).await;
        let sent_at = Moment::now();
        let limit = namesake.sent(sent_at);
        match within(limit, table.list()).await {
            Ok(rows) => match namesake.polled(rows, sent_at, Moment::now()) {
                NamesakeState::Waits => {}
                NamesakeState::Over => return Ok(()),
                NamesakeState::Runs(row) => return Err(StartError::NameTaken(Box::new(row))),
                NamesakeState::Expired(row) => {
                    // If it isn't dead then, its beat has changed, which the next answer shows.
                    within(lease, table.declare_dead(row.id.epoch, row.beat)).await?;
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
