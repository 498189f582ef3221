//! `bennu store check`.

use anyhow::{Result, bail};
use bennu::store::{StorePlace, check_files};
use bennu::terminal::bytes;

use super::Place;
use super::stoppable::stoppable;

pub(super) async fn check(place: &Place) -> Result<()> {
    let config = place.config()?;
    let data = match config.store_place()? {
        StorePlace::Directory(data) => data,
        StorePlace::Postgres(database) => bail!(
            "the store is {database}: check it with PostgreSQL's own programs, `pg_amcheck`, and `pg_checksums` while the server is stopped"
        ),
    };
    let cache_bytes = config.limits.store().cache_bytes;
    let checked = stoppable("stopped", move || check_files(&data, cache_bytes)).await?;
    out_line!("{} is undamaged: {}", checked.file.display(), bytes(checked.bytes));
    if checked.commits > 0 {
        out_line!("its log is undamaged, too: {} commits, which the next start writes to that file", checked.commits);
    }
    Ok(())
}
