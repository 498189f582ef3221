//! Finds out whether each connection is a session of the server. Behind a pooler in transaction mode it isn't: each statement may
//! run in another session, and the lock of the store would be lost.

use tokio_postgres::{Client, SimpleQueryMessage};

use super::connection::Unusable;

/// A setting that no server knows. Only this test uses it.
const SETTING: &str = "bennu.session";

/// Marks the session of the first connection, lets the second one take any session that is free, and then looks for the mark.
///
/// # Errors
/// If the first connection has lost its session, or the second one has it.
pub(super) async fn check(first: &Client, second: &Client) -> Result<(), Unusable> {
    let mark = getrandom::u64().unwrap_or(1).to_string();
    first.simple_query(&format!("SET {SETTING} = '{mark}'")).await?;
    second.simple_query("BEGIN").await?;
    let read = format!("SELECT current_setting('{SETTING}', true)");
    let (own, other) = (text(first, &read).await?, text(second, &read).await?);
    second.simple_query("ROLLBACK").await?;
    first.simple_query(&format!("RESET {SETTING}")).await?;
    if own.as_deref() == Some(&*mark) && other.as_deref() != Some(&*mark) {
        return Ok(());
    }
    Err(Unusable::Unfit(
        "`store.url` leads through a pooler in transaction mode; give it the address of the server itself, or of a pooler in session \
         mode"
            .into(),
    ))
}

async fn text(client: &Client, query: &str) -> Result<Option<String>, Unusable> {
    let messages = client.simple_query(query).await?;
    Ok(messages.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}
