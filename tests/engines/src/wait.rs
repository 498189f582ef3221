//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The limit of each wait. It is long, because tests run side by side and also on a busy machine; a test that passes never waits
/// so long.
pub const DEADLINE: Duration = Duration::from_secs(180);

/// The pause between two checks of a condition.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits until `condition` returns a value, and returns this value. `what` describes the condition in the error.
///
/// # Errors
/// If the deadline passes first, or `condition` returns an error.
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = condition().await? {
            return Ok(found);
        }
        if Instant::now() > end {
            bail!("timed out after {DEADLINE:?}, waiting for: {what}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits for `work` and returns its output. `what` describes the output in the error.
///
/// # Errors
/// If the deadline passes first.
pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(DEADLINE, work)
        .await
        .with_context(|| format!("timed out after {DEADLINE:?}, waiting for: {what}"))
}
