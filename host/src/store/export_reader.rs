//! Reads an export line by line, and checks that it is complete: the number of rows, and the digest.

use std::fmt::Write;
use std::io::{BufRead, Read};

use anyhow::{Context, Result, bail, ensure};
use bennu_semantics::limits::StoreLimits;
use sha2::{Digest as _, Sha256};

use super::export_line::ExportLine;

/// The most bytes of a line of a host whose limits aren't known.
const LINE_BYTES_MAX: u64 = 1 << 30;

/// The lines of an export. It keeps one line in memory.
pub struct ExportReader<R> {
    input: R,
    /// The most bytes of a line.
    most: u64,
    line: Vec<u8>,
    /// The number of the last line.
    number: u64,
    version: u64,
    checked: Checked,
    digest: Sha256,
    /// The digest of the rows alone.
    rows_digest: Sha256,
}

/// What a checked export has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// The number of keys, rooms, entries, jobs, and states from before.
    pub rows: u64,
    /// The bytes of their keys and values.
    pub data_bytes: u64,
    /// The bytes of its lines.
    pub bytes: u64,
    /// The digest of the rows, which is the same for each export of the same rows.
    pub(super) rows_sha256: String,
}

impl<R: BufRead> ExportReader<R> {
    /// Reads an export whose rows have at most the bytes of these limits.
    pub fn new(input: R, limits: &StoreLimits) -> Self {
        let most = line_bytes_most(limits);
        let (digest, rows_digest) = (Sha256::new(), Sha256::new());
        Self { input, most, line: Vec::new(), number: 0, version: 0, checked: Checked::default(), digest, rows_digest }
    }

    /// Reads an export of a host whose limits aren't known.
    pub fn of_any_host(input: R) -> Self {
        Self { most: LINE_BYTES_MAX, ..Self::new(input, &StoreLimits::default()) }
    }

    /// Reads all lines that are left.
    ///
    /// # Errors
    /// If a line is wrong, or the export isn't complete. The error gives the line.
    pub fn check(mut self) -> Result<Checked> {
        while self.step()? {}
        Ok(self.checked)
    }

    /// Reads the next line. Returns false after the last one, if the export is complete.
    ///
    /// # Errors
    /// If the line is wrong, or the export isn't complete. The error gives the line.
    pub fn step(&mut self) -> Result<bool> {
        let line = self.next_line().with_context(|| self.place())?;
        Ok(line.is_some())
    }

    /// Returns the next line: the head, or a row. Returns none after the last line, if the export is complete.
    ///
    /// # Errors
    /// If the line is wrong, or the export isn't complete. [`ExportReader::place`] says where.
    pub(super) fn next_line(&mut self) -> Result<Option<ExportLine>> {
        self.read_line()?;
        if self.line.is_empty() && self.number > 1 {
            let rows = self.checked.rows;
            bail!("it is truncated after {rows} rows: its last line, {{\"rows\":..}}, is missing");
        }
        let line = ExportLine::read(&self.line)?;
        match &line {
            ExportLine::Head { version, .. } if self.number == 1 => self.version = *version,
            _ if self.number == 1 => bail!("it isn't the first line of an export"),
            ExportLine::Head { .. } => bail!("another export begins; import one at a time"),
            ExportLine::Failed { error } => bail!("the host couldn't complete it: {error}"),
            ExportLine::Row { name, value, .. } => {
                self.checked.rows += 1;
                self.checked.data_bytes += (name.len() + value.len()) as u64;
                self.rows_digest.update(&self.line);
            }
            ExportLine::End { rows, sha256 } => {
                self.end(*rows, sha256.as_deref())?;
                return Ok(None);
            }
        }
        self.digest.update(&self.line);
        Ok(Some(line))
    }

    /// Returns the place of the last line, for an error.
    pub(super) fn place(&self) -> String {
        format!("line {}", self.number)
    }

    /// Returns what was read so far.
    pub fn checked(&self) -> &Checked {
        &self.checked
    }

    /// Reads the next bytes up to a line feed. There are none at the end of the input.
    fn read_line(&mut self) -> Result<()> {
        self.line.clear();
        self.number += 1;
        let most = self.most;
        self.input.by_ref().take(most.saturating_add(1)).read_until(b'\n', &mut self.line).context("reading it")?;
        self.checked.bytes += self.line.len() as u64;
        ensure!(self.line.len() as u64 <= most, "it has more than {most} bytes, so it can't be a row");
        Ok(())
    }

    /// Checks the last line.
    fn end(&mut self, rows: u64, sha256: Option<&str>) -> Result<()> {
        let found = self.checked.rows;
        ensure!(rows == found, "it says that the export has {rows} rows, but there are {found}");
        ensure!(sha256.is_some() || self.version < 2, "it has no `sha256`");
        let digest = hex(self.digest.finalize_reset().as_slice());
        ensure!(
            sha256.is_none_or(|sha256| sha256 == digest),
            "its `sha256` isn't that of the lines before: the export was damaged or changed"
        );
        self.checked.rows_sha256 = hex(self.rows_digest.finalize_reset().as_slice());
        self.read_line()?;
        ensure!(self.line.is_empty(), "the line before it was the last one");
        Ok(())
    }
}

/// Returns the most bytes that the line of a row can have. Each byte of a row takes at most six in JSON, as in `\u0000`.
fn line_bytes_most(limits: &StoreLimits) -> u64 {
    let value = limits.value_bytes.max(limits.room_bytes).max(limits.entry_bytes);
    // A plugin's name and the key of an entry have at most 255 bytes each.
    let bytes = limits.key_bytes.saturating_add(value).saturating_add(2 * usize::from(u8::MAX));
    bytes.saturating_mul(6).saturating_add(1024) as u64
}

/// Returns bytes in hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string never fails.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Checked> {
        ExportReader::new(text.as_bytes(), &StoreLimits::default()).check()
    }

    fn sealed(lines: &str, rows: u64) -> String {
        format!("{lines}{{\"rows\":{rows},\"sha256\":\"{}\"}}\n", hex(Sha256::digest(lines).as_slice()))
    }

    const HEAD: &str = "{\"format\":\"bennu-store\",\"version\":2}\n";
    const ROWS: &str =
        "{\"plugin\":\"a\",\"key\":\"k\",\"value\":\"v\"}\n{\"plugin\":\"a\",\"key\":\"l\",\"value\":\"vv\"}\n";

    #[test]
    fn a_complete_export_is_counted() {
        let text = sealed(&format!("{HEAD}{ROWS}"), 2);
        let checked = check(&text).unwrap();
        assert_eq!((checked.rows, checked.data_bytes, checked.bytes), (2, 5, text.len() as u64));
        let first = "{\"format\":\"bennu-store\",\"version\":1,\"ids_ms\":7}\n";
        let old = check(&format!("{first}{ROWS}{{\"rows\":2}}\n")).unwrap();
        assert_eq!(old.rows_sha256, checked.rows_sha256, "the rows are the same");
    }

    #[test]
    fn no_byte_can_be_changed_or_lost_unnoticed() {
        let text = sealed(&format!("{HEAD}{ROWS}"), 2);
        // The line feed at the end isn't needed.
        for length in 0..text.len() - 1 {
            assert!(check(&text[..length]).is_err(), "{length}");
        }
        for place in 0..text.len() {
            let mut damaged = text.clone().into_bytes();
            damaged[place] ^= 1;
            assert!(ExportReader::new(&damaged[..], &StoreLimits::default()).check().is_err(), "{place}");
        }
    }

    #[test]
    fn the_error_says_what_is_wrong_and_where() {
        let whole = sealed(&format!("{HEAD}{ROWS}"), 2);
        for (text, reason) in [
            (String::new(), "line 1: it is no JSON object"),
            (HEAD.into(), "line 2: it is truncated after 0 rows"),
            (ROWS.into(), "line 1: it isn't the first line"),
            (format!("{HEAD}{HEAD}"), "line 2: another export begins"),
            (format!("{HEAD}{ROWS}{{\"rows\":2}}\n"), "line 4: it has no `sha256`"),
            (sealed(&format!("{HEAD}{ROWS}"), 3), "line 4: it says that the export has 3 rows, but there are 2"),
            (whole.replace("vv", "vw"), "line 4: its `sha256` isn't that of the lines before"),
            (format!("{whole}{HEAD}"), "line 5: the line before it was the last one"),
            (
                format!("{HEAD}{{\"error\":\"the disk failed\"}}\n"),
                "line 2: the host couldn't complete it: the disk failed",
            ),
        ] {
            let error = format!("{:#}", check(&text).unwrap_err());
            assert!(error.starts_with(reason), "{text}: {error}");
        }
    }
}
