//! Waiting: for a condition, and never for a time.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Whatever should happen happens within this time, or the test fails.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// The pause between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits until `condition` gives something, and gives that.
///
/// # Errors
/// Where the deadline passes before, or the condition itself fails.
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = condition().await? {
            return Ok(found);
        }
        if Instant::now() > end {
            bail!("waited {DEADLINE:?} in vain until {what}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What `work` gives, unless that takes too long.
///
/// # Errors
/// Where the deadline passes before.
pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(DEADLINE, work).await.with_context(|| format!("waited {DEADLINE:?} in vain for {what}"))
}
