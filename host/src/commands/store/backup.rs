//! `bennu store backup` and `verify`, and the file that `backup` and `export` write.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use bennu::files::{directory_of, sync_directory};
use bennu::store::{Checked, ExportReader};
use bennu::terminal::{Progress, Unit, bytes};
use tempfile::{Builder, NamedTempFile};

use super::super::ask::Ask;
use super::rows;
use super::source::Source;
use super::stoppable::stoppable;

/// The beginning and the end of the name of a backup in a directory.
const NAME: (&str, &str) = ("bennu-store-", ".jsonl");

/// What a backup that was stopped says.
const STOPPED: &str = "stopped: there is no new backup, and earlier ones are as they were";

/// Writes a backup. If `place` is a directory, the backup gets a name with the time, and only the last `keep` backups stay.
pub(super) async fn backup(ask: &Ask, place: &Path, plugin: Option<&str>, keep: Option<usize>) -> Result<()> {
    let is_directory = place.is_dir();
    ensure!(is_directory || keep.is_none(), "--keep needs a directory, and {} isn't one", place.display());
    let path = if is_directory { place.join(name(now())) } else { place.to_owned() };
    let source = Source::find(ask).await?;
    let checked = written(source, plugin, &path, STOPPED).await?;
    error_line!("{}, {}, to {}", rows(checked.rows), bytes(checked.bytes), path.display());
    if let Some(keep) = keep {
        remove_old(directory_of(&path), keep)?;
    }
    Ok(())
}

/// Writes an export to a temporary file beside `path`, checks what is in it, and gives it that name. Until then, a file of that name
/// stays as it is. `stopped` says that after a signal.
pub(super) async fn written(source: Source<'_>, plugin: Option<&str>, path: &Path, stopped: &str) -> Result<Checked> {
    let directory = directory_of(path);
    // Readable only for this user. It is removed if anything fails.
    let partial = Builder::new().prefix(NAME.0).suffix(".partial").tempfile_in(directory);
    let partial = partial.with_context(|| format!("creating a file in {}", directory.display()))?;
    let (out, progress) = (partial.as_file().try_clone()?, Arc::new(Progress::default()));
    let all = write(&source, plugin, out, Some(&progress), stopped).await;
    source.close().await;
    let checked = match all {
        Ok(written) => finished(partial, path, written, &progress, stopped).await,
        Err(error) => Err(error),
    };
    progress.clear();
    checked
}

/// Writes an export, and checks each line on its way.
pub(super) async fn write(
    source: &Source<'_>,
    plugin: Option<&str>,
    out: impl Write + Send + 'static,
    progress: Option<&Arc<Progress>>,
    stopped: &str,
) -> Result<Checked> {
    // A key for exports isn't always one for this call. Then nothing is known about the whole, and no progress is shown.
    let usages = if progress.is_some() { source.usages().await.ok() } else { None };
    let is_read = |name: &str| plugin.is_none_or(|plugin| plugin == name);
    let all = usages.map(|usages| usages.iter().filter(|(name, _)| is_read(name)).map(|(_, bytes)| bytes).sum::<u64>());
    let (input, progress) = (source.export(plugin)?, progress.cloned().zip(all));
    stoppable(stopped, move || {
        let mut out = BufWriter::with_capacity(1 << 18, out);
        let checked = copy(input, &mut out, |done| {
            if let Some((progress, all)) = &progress {
                progress.report("writing", done, *all, Unit::Bytes);
            }
        })?;
        out.flush().context("writing the lines")?;
        Ok(checked)
    })
    .await
}

/// Makes a written file durable, checks what is in it, and gives it its name.
async fn finished(
    partial: NamedTempFile,
    path: &Path,
    written: Checked,
    progress: &Arc<Progress>,
    stopped: &str,
) -> Result<Checked> {
    let (file, progress) = (File::open(partial.path())?, Arc::clone(progress));
    let synced = partial.as_file().try_clone()?;
    let checked = stoppable(stopped, move || {
        synced.sync_all().context("writing the file")?;
        check(file, &progress)
    });
    let checked = checked.await.context("checking the written file")?;
    ensure!(checked == written, "the file differs from what was written: the disk may be damaged");
    partial.persist(path).with_context(|| format!("naming the file {}", path.display()))?;
    let directory = directory_of(path);
    sync_directory(directory).with_context(|| format!("syncing the directory {}", directory.display()))?;
    Ok(checked)
}

/// Copies an export, and checks that it is complete. Reports the bytes of keys and values so far.
fn copy(input: impl Read, out: &mut impl Write, note: impl Fn(u64)) -> Result<Checked> {
    let mut lines = ExportReader::of_any_host(BufReader::with_capacity(1 << 16, Copied { input, out }));
    while lines.step()? {
        note(lines.checked().data_bytes);
    }
    Ok(lines.checked().clone())
}

/// Checks an export in a file.
fn check(file: File, progress: &Progress) -> Result<Checked> {
    let all = file.metadata()?.len();
    let mut lines = ExportReader::of_any_host(BufReader::with_capacity(1 << 16, file));
    while lines.step()? {
        progress.report("checking", lines.checked().bytes, all, Unit::Bytes);
    }
    Ok(lines.checked().clone())
}

/// Writes all that is read.
struct Copied<'a, R, W> {
    input: R,
    out: &'a mut W,
}

impl<R: Read, W: Write> Read for Copied<'_, R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.out.write_all(&buffer[..read])?;
        Ok(read)
    }
}

/// Checks a backup.
pub(super) async fn verify(input: &Path) -> Result<()> {
    let file = File::open(input).with_context(|| format!("opening {}", input.display()))?;
    let progress = Progress::default();
    let checked = stoppable("stopped", move || check(file, &progress)).await;
    let checked = checked.with_context(|| format!("{} can't be restored", input.display()))?;
    out_line!("{} is complete: {}, {}", input.display(), rows(checked.rows), bytes(checked.bytes));
    Ok(())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Returns the name of a backup that is made at a time, in seconds since 1970. Names sort by their times.
fn name(seconds: u64) -> String {
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{}{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z{}", NAME.0, NAME.1)
}

/// Returns the year, the month and the day of a day since 1970. Counted from the first of March of the year 0, every leap day is the
/// last day of its year.
fn date(day: u64) -> (u64, u64, u64) {
    const FROM_YEAR_0: u64 = 719_468;
    let day = day + FROM_YEAR_0;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + later, month, day)
}

/// Removes all but the last backups from a directory. Other files stay.
fn remove_old(directory: &Path, keep: usize) -> Result<()> {
    let reading = || format!("reading the directory {}", directory.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).with_context(reading)? {
        names.extend(entry.with_context(reading)?.file_name().into_string().ok().filter(|name| is_backup(name)));
    }
    names.sort_unstable();
    let old = names.len().saturating_sub(keep);
    for name in &names[..old] {
        let path = directory.join(name);
        fs::remove_file(&path).with_context(|| format!("removing the old backup {}", path.display()))?;
        error_line!("removed {}", path.display());
    }
    Ok(())
}

/// Whether a file's name is one that [`name`] gives.
fn is_backup(file: &str) -> bool {
    let time = file.strip_prefix(NAME.0).and_then(|rest| rest.strip_suffix(NAME.1));
    let is_right = |(place, byte): (usize, u8)| match place {
        8 => byte == b'T',
        15 => byte == b'Z',
        _ => byte.is_ascii_digit(),
    };
    time.is_some_and(|time| time.len() == 16 && time.bytes().enumerate().all(is_right))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_backup_has_its_time() {
        for (seconds, expected) in [
            (0, "bennu-store-19700101T000000Z.jsonl"),
            (951_782_399, "bennu-store-20000228T235959Z.jsonl"),
            (951_782_400, "bennu-store-20000229T000000Z.jsonl"),
            (1_735_689_599, "bennu-store-20241231T235959Z.jsonl"),
            (1_785_456_000, "bennu-store-20260731T000000Z.jsonl"),
            (4_107_542_400, "bennu-store-21000301T000000Z.jsonl"),
        ] {
            assert_eq!(name(seconds), expected);
            assert!(is_backup(expected));
        }
    }

    #[test]
    fn only_old_backups_are_removed() {
        let place = tempfile::tempdir().unwrap();
        let others = ["bennu-store-mine.jsonl", "bennu-store-20260731T000000Z.jsonl.gz", "a.txt"];
        let backups = [0, 1, 1_000_000_000].map(name);
        for name in others.into_iter().chain(backups.iter().map(String::as_str)) {
            fs::write(place.path().join(name), "").unwrap();
        }
        let left = |name: &str| place.path().join(name).exists();
        remove_old(place.path(), 3).unwrap();
        assert!(backups.iter().all(|name| left(name)));
        remove_old(place.path(), 1).unwrap();
        assert_eq!([left(&backups[0]), left(&backups[1]), left(&backups[2])], [false, false, true]);
        assert!(others.into_iter().all(left));
    }
}
