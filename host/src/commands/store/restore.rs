//! `bennu store restore`.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, bail};
use bennu::server::Config;
use bennu::store::{RestoreStep, Store as Storage, StorePlace};
use bennu::terminal::{Progress, Unit};

use super::stoppable::stoppable_future;
use super::{Place, rows};

pub(super) async fn restore(place: &Place, input: &Path) -> Result<()> {
    let config = place.config()?;
    if let StorePlace::Postgres(database) = config.store_place()? {
        bail!(
            "a backup is restored into a data directory, and the store is {database}: use `bennu store import` for it"
        );
    }
    let Config { data, limits, .. } = config;
    let file = File::open(input).with_context(|| format!("opening {}", input.display()))?;
    let stopped = format!("stopped: {} has no store; the backup can be restored again", data.display());
    let (directory, limits) = (data.clone(), limits.store());
    let restored = stoppable_future(&stopped, move || async move {
        let progress = Progress::default();
        let report = |step, done, all| match step {
            RestoreStep::Check => progress.report("checking", done, all, Unit::Bytes),
            RestoreStep::Write => progress.report("writing", done, all, Unit::Bytes),
            RestoreStep::Compare => progress.report("comparing", done, all, Unit::Rows),
        };
        Storage::restore(&file, &directory, limits, report).await
    });
    let restored = restored.await.with_context(|| format!("restoring {}", input.display()))?;
    error_line!("{} restored, of {} plugins, to {}", rows(restored.rows), restored.plugins, data.display());
    Ok(())
}
