//! Writes the lines of the log: they are queued in a bounded buffer, and a separate thread writes them.
//!
//! A thread that logs only copies its line into the buffer, so a blocked reader, a full disk or a closed pipe never blocks it.
//! A line that doesn't fit or can't be written is lost and counted. Once writing works again, a line of the log has the number
//! of lost lines.
//!
//! `tracing-appender` isn't used, for three reasons. Its queue is bounded by a number of lines, each of which may have many
//! kilobytes. It doesn't count a line that can't be written. And if a non-blocking pipe is full, it drops a line at once that
//! could have been written a moment later.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use crate::counts::{HighWater, Limit};

/// The maximum number of bytes of queued lines, not counting the lines that are being written.
pub(super) const WAITING_BYTES_MAX: usize = 2 << 20;

/// The capacity that an empty buffer keeps.
const SPARE_BYTES: usize = 64 << 10;

/// The pause before the next attempt to write to a full non-blocking pipe.
const RETRY: Duration = Duration::from_millis(10);

/// A handle to the queue of lines. Clones share the queue.
#[derive(Clone)]
pub(super) struct LogWriter(Arc<Shared>);

struct Shared {
    /// Held only to append a line or to swap the buffers, never during a write. A mutex with condition variables, because the
    /// writing thread and [`LogWriter::flush`] have to wait for changes.
    queue: Mutex<Queue>,
    /// Wakes the thread that writes.
    filled: Condvar,
    /// Wakes the callers of [`LogWriter::flush`].
    written: Condvar,
    /// The number of lost lines. A counter that orders no other memory, so every access is `Relaxed`.
    lost: AtomicU64,
}

#[derive(Default)]
struct Queue {
    waiting: LogLines,
    /// Whether the thread is writing lines that it has taken from the queue.
    is_writing: bool,
}

/// Lines in one buffer, and the offset at which each line ends.
#[derive(Default)]
struct LogLines {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl LogWriter {
    /// Starts the thread that writes to `out`. It runs until the process ends.
    ///
    /// # Errors
    /// Returns the operating system's error if it can't start a thread.
    pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            written: Condvar::new(),
            lost: AtomicU64::new(0),
        });
        let inside = Arc::clone(&shared);
        thread::Builder::new().name("bennu-log".into()).spawn(move || inside.run(Out { out, is_torn: false }))?;
        Ok(Self(shared))
    }

    /// Queues a line, or counts it as lost if there is no room for it. Never waits for the output.
    pub(super) fn push(&self, line: &[u8]) {
        let mut queue = self.0.lock();
        if queue.waiting.bytes.len() + line.len() > WAITING_BYTES_MAX {
            drop(queue);
            Limit::LogQueue.hit();
            self.0.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let was_empty = queue.waiting.is_empty();
        queue.waiting.add(line);
        HighWater::LogBytes.note(queue.waiting.bytes.len());
        drop(queue);
        // The thread checks the queue before it waits, so only the first line of an empty queue has to wake it.
        if was_empty {
            self.0.filled.notify_one();
        }
    }

    /// Returns the number of lines that were lost so far.
    pub(super) fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// Waits until all queued lines are written or lost, but at most for `most`.
    pub(super) fn flush(&self, most: Duration) {
        let is_busy = |queue: &mut Queue| queue.is_writing || !queue.waiting.is_empty();
        // A timeout isn't reported: lines that aren't written by then are lost with the process.
        let _ = self.0.written.wait_timeout_while(self.0.lock(), most, is_busy);
    }
}

impl Shared {
    fn run(&self, mut out: Out<impl Write>) {
        let (mut lines, mut reported) = (LogLines::default(), 0);
        loop {
            self.take(&mut lines);
            let unwritten = out.write(&lines);
            lines.clear();
            let lost = self.lost.fetch_add(unwritten, Ordering::Relaxed) + unwritten;
            if unwritten == 0 && lost > reported {
                tracing::warn!(
                    lines = lost - reported,
                    "lines of the log were lost: they could not be written in time"
                );
                // If this line itself doesn't fit into the queue, the next report counts it.
                reported = lost;
            }
            let mut queue = self.lock();
            queue.is_writing = false;
            if queue.waiting.is_empty() {
                self.written.notify_all();
            }
        }
    }

    /// Waits for queued lines, and swaps them with the empty `lines`.
    fn take(&self, lines: &mut LogLines) {
        let queue = self.filled.wait_while(self.lock(), |queue| queue.waiting.is_empty());
        let mut queue = queue.unwrap_or_else(PoisonError::into_inner);
        queue.is_writing = true;
        std::mem::swap(&mut queue.waiting, lines);
    }

    /// No panic can leave the data half changed, so a poisoned lock is used like any other.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogLines {
    fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn add(&mut self, line: &[u8]) {
        self.bytes.extend_from_slice(line);
        self.ends.push(self.bytes.len());
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        // Frees the memory of a burst.
        self.bytes.shrink_to(SPARE_BYTES);
        self.ends.shrink_to(SPARE_BYTES / 64);
    }
}

/// The output of the log.
struct Out<W> {
    out: W,
    /// Whether the last line was written only in part.
    is_torn: bool,
}

impl<W: Write> Out<W> {
    /// Writes lines until a write fails. Returns the number of lines that weren't written completely. After a partial line,
    /// the next call first writes a newline.
    fn write(&mut self, lines: &LogLines) -> u64 {
        if self.is_torn && self.write_all(b"\n").0 == 0 {
            return lines.ends.len() as u64;
        }
        let (written, result) = self.write_all(&lines.bytes);
        let whole = lines.ends.partition_point(|end| *end <= written);
        self.is_torn = written > whole.checked_sub(1).map_or(0, |last| lines.ends[last]);
        // A buffering stream reports lost bytes only when it is flushed.
        let is_flushed = result.is_ok() && self.out.flush().is_ok();
        if result.is_ok() && !is_flushed { lines.ends.len() as u64 } else { (lines.ends.len() - whole) as u64 }
    }

    /// Returns how many bytes were written, and an error if those weren't all.
    fn write_all(&mut self, bytes: &[u8]) -> (usize, Result<(), ()>) {
        let mut written = 0;
        while written < bytes.len() {
            match self.out.write(&bytes[written..]) {
                Ok(0) => return (written, Err(())),
                Ok(more) => written += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Another process has made the pipe non-blocking, and it is full. Only this thread waits for it.
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY),
                Err(_) => return (written, Err(())),
            }
        }
        (written, Ok(()))
    }
}

/// The writer of one line. `tracing-subscriber` writes each line in a single call.
pub(super) struct LogLine<'a>(&'a LogWriter);

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = LogLine<'a>;

    fn make_writer(&'a self) -> LogLine<'a> {
        LogLine(self)
    }
}

impl Write for LogLine<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A stream that returns the given results of writes, and afterwards accepts everything.
    struct Scripted {
        answers: VecDeque<Result<usize, ErrorKind>>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let most = match self.answers.pop_front() {
                Some(answer) => answer?,
                None => bytes.len(),
            };
            let taken = &bytes[..most.min(bytes.len())];
            self.taken.lock().expect("no panic").extend_from_slice(taken);
            Ok(taken.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(texts: &[&str]) -> LogLines {
        let mut lines = LogLines::default();
        texts.iter().for_each(|text| lines.add(format!("{text}\n").as_bytes()));
        lines
    }

    #[test]
    fn lost_lines_are_counted_and_a_partial_line_is_ended_before_the_next() {
        let taken = Arc::<Mutex<Vec<u8>>>::default();
        let answers = [Ok(6), Err(ErrorKind::StorageFull), Err(ErrorKind::StorageFull)].into();
        let mut out = Out { out: Scripted { answers, taken: Arc::clone(&taken) }, is_torn: false };
        assert_eq!(out.write(&lines(&["one", "two", "three"])), 2, "the second line was cut after two of its bytes");
        assert_eq!(out.write(&lines(&["four"])), 1);
        assert_eq!(out.write(&lines(&["five", "six"])), 0);
        assert_eq!(*taken.lock().expect("no panic"), b"one\ntw\nfive\nsix\n");
    }

    #[test]
    fn writes_to_a_full_pipe_and_interrupted_writes_are_retried() {
        let taken = Arc::<Mutex<Vec<u8>>>::default();
        let answers =
            [Err(ErrorKind::WouldBlock), Ok(2), Err(ErrorKind::Interrupted), Err(ErrorKind::WouldBlock)].into();
        let mut out = Out { out: Scripted { answers, taken: Arc::clone(&taken) }, is_torn: false };
        assert_eq!(out.write(&lines(&["one", "two"])), 0);
        assert_eq!(*taken.lock().expect("no panic"), b"one\ntwo\n");
    }

    /// A stream whose writes block until the test lets them continue.
    struct Held {
        written: Sender<Vec<u8>>,
        may_go_on: Receiver<()>,
    }

    impl Write for Held {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.written.send(bytes.to_vec());
            let _ = self.may_go_on.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_blocked_reader_blocks_nobody_and_lines_that_do_not_fit_are_counted() {
        let (written, came) = channel();
        let (go_on, may_go_on) = channel();
        let writer = LogWriter::start(Held { written, may_go_on }).expect("a thread");
        writer.push(b"first\n");
        assert_eq!(came.recv_timeout(PATIENCE).as_deref(), Ok(&b"first\n"[..]));
        // The thread is now blocked in its write.
        let line = [b'x'; 1024];
        let fit = WAITING_BYTES_MAX / line.len();
        (0..fit + 3).for_each(|_| writer.push(&line));
        assert_eq!(writer.lost(), 3);
        writer.flush(Duration::ZERO);
        drop(go_on);
        assert_eq!(came.recv_timeout(PATIENCE).map(|bytes| bytes.len()), Ok(fit * line.len()));
        writer.flush(PATIENCE);
        writer.push(b"last\n");
        assert_eq!(came.recv_timeout(PATIENCE).as_deref(), Ok(&b"last\n"[..]));
    }
}
