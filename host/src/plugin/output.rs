//! What a guest prints to its standard streams: any part of a text. Complete lines are logged.

use super::bindings::bennu::channel::host::{Level, StandardStream};
use super::guest::Guest;
use crate::contract::{DETAIL_BYTES_MAX, Fault, one_line};

/// The maximum number of bytes of printed text in a fault's message.
const TAIL_BYTES_MAX: usize = DETAIL_BYTES_MAX / 2;

/// The texts that a call has printed and that aren't logged yet, and the end of its standard error.
#[derive(Default)]
pub(super) struct Output {
    /// The unfinished line of the standard output.
    output: Vec<u8>,
    /// The unfinished line of the standard error.
    error: Vec<u8>,
    /// The last bytes of the standard error, of which `TAIL_BYTES_MAX` are kept at least.
    tail: Vec<u8>,
}

impl Output {
    fn line(&mut self, stream: StandardStream) -> &mut Vec<u8> {
        match stream {
            StandardStream::Output => &mut self.output,
            StandardStream::Error => &mut self.error,
        }
    }

    /// Adds to the end of the standard error. Each byte is moved once at most on average.
    fn add_to_tail(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(TAIL_BYTES_MAX)..];
        if self.tail.len() + bytes.len() > 2 * TAIL_BYTES_MAX {
            self.tail.drain(..self.tail.len().saturating_sub(TAIL_BYTES_MAX));
        }
        self.tail.extend(bytes);
    }

    /// Returns the end of what the call has printed: of its standard error, or else the unfinished line of its standard
    /// output.
    fn end(&self) -> Option<String> {
        let printed = if self.tail.is_empty() { &self.output } else { &self.tail };
        let end = &printed[printed.len().saturating_sub(TAIL_BYTES_MAX)..];
        let text = String::from_utf8_lossy(end);
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }
}

impl Guest {
    /// Prints a part of a text. Each line is logged when it is complete, or has the length of the longest log line.
    ///
    /// # Errors
    /// Returns a fault if the call has logged too many lines.
    pub(super) fn print(&mut self, stream: StandardStream, mut text: &[u8]) -> Result<(), Fault> {
        if let StandardStream::Error = stream {
            self.output.get_or_insert_default().add_to_tail(text);
        }
        while !text.is_empty() {
            let line = self.output.get_or_insert_default().line(stream);
            let room = DETAIL_BYTES_MAX.saturating_sub(line.len()).max(1);
            let part = &text[..text.len().min(room)];
            let newline = memchr::memchr(b'\n', part);
            let part = newline.map_or(part, |at| &part[..at]);
            line.extend(part);
            text = &text[part.len() + usize::from(newline.is_some())..];
            if newline.is_some() || line.len() >= DETAIL_BYTES_MAX {
                let line = std::mem::take(line);
                self.count_line()?;
                self.log_printed(stream, &line);
            }
        }
        Ok(())
    }

    /// Logs the unfinished lines at the end of a call. Returns the end of what the call has printed.
    pub(super) fn end_output(&mut self) -> Option<String> {
        let output = self.output.take()?;
        let end = output.end();
        self.log_printed(StandardStream::Output, &output.output);
        self.log_printed(StandardStream::Error, &output.error);
        end
    }

    fn log_printed(&mut self, stream: StandardStream, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return;
        }
        let level = match stream {
            StandardStream::Output => Level::Info,
            StandardStream::Error => Level::Warn,
        };
        self.log_line(level, one_line(String::from_utf8_lossy(line).into_owned()));
    }
}
