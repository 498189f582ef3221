//! Which generation of a plugin may write, as the database decides it, without any code of the host.

use anyhow::{Result, ensure};

use crate::node::{Draft, Node, OTHER_GENERATION, PLUGIN, STORED, connect, prepared, waiting};

#[tokio::test]
async fn only_the_generation_that_serves_writes() -> Result<()> {
    let (_, url) = prepared().await?;
    let mut node = Node::start(&url, "one").await?;
    let switch = async |to: Option<i64>| -> Result<()> {
        connect(&url).await?.execute("SELECT bennu.set_generation($1, $2)", &[&PLUGIN, &to]).await?;
        Ok(())
    };
    ensure!(node.commit(&[Draft::seen(0).put("a", 1)]).await?.results == [STORED]);
    switch(Some(1)).await?;
    // A draft without a generation isn't of a call.
    let drafts = [Draft::seen(0).put("a", 2), Draft::seen(0).put("b", 2).of(1), Draft::seen(0).put("c", 2).of(2)];
    ensure!(node.commit(&drafts).await?.results == [STORED, STORED, OTHER_GENERATION]);
    switch(Some(2)).await?;
    ensure!(node.commit(&drafts).await?.results == [STORED, OTHER_GENERATION, STORED]);
    switch(None).await?;
    ensure!(node.commit(&drafts).await?.results == [STORED, OTHER_GENERATION, OTHER_GENERATION]);
    Ok(())
}

/// The switch waits for the batch under way, and the next batch of the generation before is refused.
#[tokio::test]
async fn no_batch_of_a_generation_is_stored_after_the_switch() -> Result<()> {
    let (_, url) = prepared().await?;
    let mut node = Node::start(&url, "one").await?;
    let (mut busy, switching) = (connect(&url).await?, connect(&url).await?);
    switching.execute("SELECT bennu.set_generation($1, 1)", &[&PLUGIN]).await?;
    let under_way = busy.transaction().await?;
    under_way.execute("SELECT bennu.lock_head($1)", &[&PLUGIN]).await?;
    let switched =
        tokio::spawn(async move { switching.execute("SELECT bennu.set_generation($1, 2)", &[&PLUGIN]).await });
    waiting(&node.client, 1).await?;
    ensure!(!switched.is_finished());
    under_way.commit().await?;
    switched.await??;
    ensure!(node.commit(&[Draft::seen(0).put("a", 1).of(1)]).await?.results == [OTHER_GENERATION]);
    Ok(())
}
