//! Finds out whether each connection is a session of the server. Behind a pooler in transaction mode it isn't: each statement may
//! run in another session, and the lock of the store would be lost.

use tokio_postgres::{Client, SimpleQueryMessage};

use super::connection::Unusable;

/// A setting that no server knows. Only this test uses it.
const SETTING: &str = "bennu.session";

/// How often it is tried. A pooler gives a session back a moment after its answer, so a single try can miss it.
const TRIES: usize = 4;

const POOLED: &str = "`store.url` leads through a pooler in transaction mode; give it the address of the server itself, or of a \
                      pooler in session mode";

/// Marks the session of the first connection, lets the second one take a session, and then looks for the mark.
///
/// # Errors
/// If the first connection has lost its session, or the second one has it.
pub(super) async fn check(first: &Client, second: &Client) -> Result<(), Unusable> {
    let mark = getrandom::u64().unwrap_or(1).to_string();
    let (set, read) = (format!("SET {SETTING} = '{mark}'"), format!("SELECT current_setting('{SETTING}', true)"));
    for _ in 0..TRIES {
        // The second one takes the session that was used last, which the first one has marked.
        first.simple_query(&set).await?;
        second.simple_query("BEGIN").await?;
        let (own, other) = (text(first, &read).await?, text(second, &read).await?);
        // The first one marks another session than the one that is used last.
        first.simple_query(&set).await?;
        second.simple_query("ROLLBACK").await?;
        let (later, others) = (text(first, &read).await?, text(second, &read).await?);
        first.simple_query(&format!("RESET {SETTING}")).await?;
        let is_own = [&own, &later].iter().all(|found| found.as_deref() == Some(&*mark));
        if !is_own || [&other, &others].iter().any(|found| found.as_deref() == Some(&*mark)) {
            return Err(Unusable::Unfit(POOLED.into()));
        }
    }
    Ok(())
}

async fn text(client: &Client, query: &str) -> Result<Option<String>, Unusable> {
    let messages = client.simple_query(query).await?;
    Ok(messages.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}
