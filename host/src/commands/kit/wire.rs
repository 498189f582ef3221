//! Lines from and to the client of `bennu kit`.

use std::io::{self, BufRead, Read, Write};

/// The most bytes of a line. It has room for a payload of 4 MiB and two states, in base64 or with escapes.
pub(super) const LINE_BYTES_MAX: usize = 32 << 20;

/// Both directions. Each line is a message.
pub(super) struct Wire {
    input: Box<dyn BufRead>,
    output: Box<dyn Write>,
}

/// The result of a read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// A line, without its end.
    Line(String),
    /// An unreadable line was skipped, for this reason.
    Unreadable(String),
    /// The client closed its end.
    End,
}

impl Wire {
    pub(super) fn new(input: impl BufRead + 'static, output: impl Write + 'static) -> Self {
        Self { input: Box::new(input), output: Box::new(output) }
    }

    /// The next line. A line that is too long is skipped, and its rest isn't kept in memory.
    pub(super) fn read(&mut self) -> io::Result<Incoming> {
        let mut bytes = Vec::new();
        let most = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
        (&mut self.input).take(most.saturating_add(1)).read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() {
            return Ok(Incoming::End);
        }
        let is_whole = bytes.last() == Some(&b'\n');
        if !is_whole && bytes.len() > LINE_BYTES_MAX {
            self.pass_line()?;
            return Ok(Incoming::Unreadable(format!("a line has at most {LINE_BYTES_MAX} bytes")));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Incoming::Line(text.trim_end_matches(['\r', '\n']).to_owned())),
            Err(_) => Ok(Incoming::Unreadable("a line is text in UTF-8".to_owned())),
        }
    }

    /// Skips the rest of a line.
    fn pass_line(&mut self) -> io::Result<()> {
        loop {
            let here = self.input.fill_buf()?;
            let (read, is_over) = match here.iter().position(|&byte| byte == b'\n') {
                Some(end) => (end + 1, true),
                None => (here.len(), here.is_empty()),
            };
            self.input.consume(read);
            if is_over {
                return Ok(());
            }
        }
    }

    /// Writes a line, and flushes it.
    pub(super) fn write(&mut self, line: &str) -> io::Result<()> {
        self.output.write_all(format!("{line}\n").as_bytes())?;
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_or_not_utf_8_is_skipped() -> io::Result<()> {
        let mut input = vec![b'x'; LINE_BYTES_MAX + 10];
        input.extend(b"\n\xff\xfe\n{}\r\nlast");
        let mut wire = Wire::new(io::Cursor::new(input), io::sink());
        assert_eq!(wire.read()?, Incoming::Unreadable("a line has at most 33554432 bytes".into()));
        assert_eq!(wire.read()?, Incoming::Unreadable("a line is text in UTF-8".into()));
        assert_eq!(wire.read()?, Incoming::Line("{}".into()));
        assert_eq!(wire.read()?, Incoming::Line("last".into()));
        assert_eq!(wire.read()?, Incoming::End);
        Ok(())
    }
}
