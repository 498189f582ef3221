//! PgBouncer between the host and the server.

use anyhow::{Context, Result, ensure};
use bennu_tests::{PostgresPooler, Setup, check};

use crate::{config, database};

#[tokio::test]
async fn a_pooler_is_refused_in_transaction_mode_and_used_in_session_mode() -> Result<()> {
    let (name, _) = database()?;
    let Some(transaction) = PostgresPooler::start("transaction").await? else {
        bennu_test_tiers::note_skipped("PgBouncer isn't installed");
        return Ok(());
    };
    let refused =
        Setup::new().config(&config(&transaction.url(&name))).start().await.err().context("the host has started")?;
    let refused = format!("{refused:#}");
    ensure!(refused.contains("pooler in transaction mode"), "{refused}");
    let session = PostgresPooler::start("session").await?.context("PgBouncer was there")?;
    let host = Setup::new().guests(&["ledger"])?.config(&config(&session.url(&name))).start().await?;
    check(
        &host,
        "alice > join ledger:1\nalice < ok {}\nalice > deposit {\"to\": \"a\", \"n\": 5}\nalice < ok {\"balance\": 5}",
    )
    .await?;
    host.stop().await?;
    Ok(())
}
