//! Blocks of numbers for the members of a node.

use std::sync::Arc;
use std::time::Duration;

use bennu_cluster::TableError;
use bennu_cluster::postgres::PostgresTable;
use futures_util::future::BoxFuture;

use crate::channel::Node;

/// The first pause after a block couldn't be got. It doubles with each further failure, up to the maximum.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Where a node gets its blocks of numbers.
pub trait MemberBlocks: Send + Sync {
    /// Returns a block that no node has got before, and that is later than all of them. The first one is 1.
    ///
    /// # Errors
    /// If the table of nodes doesn't answer.
    fn next(&self) -> BoxFuture<'_, Result<u64, TableError>>;
}

impl MemberBlocks for PostgresTable {
    fn next(&self) -> BoxFuture<'_, Result<u64, TableError>> {
        Box::pin(self.member_block())
    }
}

/// Gives a node its first block. No client can join before.
///
/// # Errors
/// If the table of nodes doesn't answer.
pub async fn give_first_block(node: &Node, blocks: &dyn MemberBlocks) -> Result<(), TableError> {
    node.add_member_block(blocks.next().await?);
    Ok(())
}

/// Gives a node further blocks before it needs them, for as long as the host runs.
pub async fn keep_giving_blocks(node: Arc<Node>, blocks: Arc<dyn MemberBlocks>) {
    let mut pause = PAUSE_FIRST;
    loop {
        node.wants_member_block().await;
        match blocks.next().await {
            Ok(block) => {
                node.add_member_block(block);
                pause = PAUSE_FIRST;
            }
            Err(error) => {
                tracing::warn!("numbers for members can't be reserved, and are asked for again in {pause:?}: {error}");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}
