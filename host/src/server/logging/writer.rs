//! Lines of the log on their way out: they wait in a bounded buffer, and a thread of its own writes them.
//!
//! Who logs copies a line into the buffer and does nothing else, so a reader that stands still, a full disk or a closed pipe
//! holds up nobody. A line that doesn't fit or can't be written is lost and counted, and once writing works again a line of the
//! log says how many were.
//!
//! `tracing-appender` isn't used for this. Its queue is bounded by a number of lines, each of which may have many kilobytes; it
//! forgets a line that can't be written without counting it; and where a non-blocking pipe is full, it gives a line up at once
//! that might have been written a moment later.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Bytes of lines that wait while others are being written.
pub(super) const WAITING_BYTES_MAX: usize = 2 << 20;

/// Room that an empty buffer keeps.
const SPARE_BYTES: usize = 64 << 10;

/// The pause before another attempt where a non-blocking pipe is full.
const RETRY: Duration = Duration::from_millis(10);

/// Where lines are left. Cloning shares it.
#[derive(Clone)]
pub(super) struct LogWriter(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    /// Wakes the thread that writes.
    filled: Condvar,
    /// Wakes those who wait for all to be written.
    written: Condvar,
    lost: AtomicU64,
}

#[derive(Default)]
struct Queue {
    waiting: LogLines,
    /// Whether the thread writes what it has taken.
    is_writing: bool,
}

/// Lines one after the other, and where each of them ends.
#[derive(Default)]
struct LogLines {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl LogWriter {
    /// Starts the thread. It lives for as long as the process.
    ///
    /// # Errors
    /// Where the operating system gives no thread.
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

    /// Leaves a line, or counts it as lost where there is no room for it.
    pub(super) fn push(&self, line: &[u8]) {
        let mut queue = self.0.lock();
        if queue.waiting.bytes.len() + line.len() > WAITING_BYTES_MAX {
            drop(queue);
            self.0.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let was_empty = queue.waiting.is_empty();
        queue.waiting.add(line);
        drop(queue);
        // The thread looks again before it waits, so it is woken by the first line alone.
        if was_empty {
            self.0.filled.notify_one();
        }
    }

    /// Lines that were lost so far.
    pub(super) fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// Waits until all is written that was left so far, or given up, but no longer than so long.
    pub(super) fn flush(&self, most: Duration) {
        let is_busy = |queue: &mut Queue| queue.is_writing || !queue.waiting.is_empty();
        // Whether it was in time: what isn't written by then is lost with the process.
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
                // Where its own line finds no room, it is one of those that the next line reports.
                reported = lost;
            }
            let mut queue = self.lock();
            queue.is_writing = false;
            if queue.waiting.is_empty() {
                self.written.notify_all();
            }
        }
    }

    /// Waits for lines, and exchanges the empty `lines` for them.
    fn take(&self, lines: &mut LogLines) {
        let queue = self.filled.wait_while(self.lock(), |queue| queue.waiting.is_empty());
        let mut queue = queue.unwrap_or_else(PoisonError::into_inner);
        queue.is_writing = true;
        std::mem::swap(&mut queue.waiting, lines);
    }

    /// Nothing in here can panic half-way through a change, so a poisoned lock is as good as another.
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
        // A burst must not keep its memory for ever.
        self.bytes.shrink_to(SPARE_BYTES);
        self.ends.shrink_to(SPARE_BYTES / 64);
    }
}

/// Where the lines go.
struct Out<W> {
    out: W,
    /// Whether the last line was cut off in its midst.
    is_torn: bool,
}

impl<W: Write> Out<W> {
    /// Writes lines for as long as that works. Gives how many of them weren't written as a whole.
    fn write(&mut self, lines: &LogLines) -> u64 {
        if self.is_torn && self.write_all(b"\n").0 == 0 {
            return lines.ends.len() as u64;
        }
        let (written, result) = self.write_all(&lines.bytes);
        let whole = lines.ends.partition_point(|end| *end <= written);
        self.is_torn = written > whole.checked_sub(1).map_or(0, |last| lines.ends[last]);
        // A stream that holds bytes back says only now that they are lost.
        let is_flushed = result.is_ok() && self.out.flush().is_ok();
        if result.is_ok() && !is_flushed { lines.ends.len() as u64 } else { (lines.ends.len() - whole) as u64 }
    }

    /// How many bytes were written, and whether those were all.
    fn write_all(&mut self, bytes: &[u8]) -> (usize, Result<(), ()>) {
        let mut written = 0;
        while written < bytes.len() {
            match self.out.write(&bytes[written..]) {
                Ok(0) => return (written, Err(())),
                Ok(more) => written += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Somebody else has made the pipe non-blocking, and it is full. Nobody but this thread waits for it.
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY),
                Err(_) => return (written, Err(())),
            }
        }
        (written, Ok(()))
    }
}

/// One line, as `tracing-subscriber` writes it: in one piece.
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

    /// A stream that answers each write as a test says, and from then on takes everything.
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
    fn lines_that_fail_are_counted_and_a_torn_one_is_ended_before_the_next() {
        let taken = Arc::<Mutex<Vec<u8>>>::default();
        let answers = [Ok(6), Err(ErrorKind::StorageFull), Err(ErrorKind::StorageFull)].into();
        let mut out = Out { out: Scripted { answers, taken: Arc::clone(&taken) }, is_torn: false };
        assert_eq!(out.write(&lines(&["one", "two", "three"])), 2, "the second was cut after two of its bytes");
        assert_eq!(out.write(&lines(&["four"])), 1);
        assert_eq!(out.write(&lines(&["five", "six"])), 0);
        assert_eq!(*taken.lock().expect("no panic"), b"one\ntw\nfive\nsix\n");
    }

    #[test]
    fn a_full_pipe_is_tried_again_and_an_interrupted_write_too() {
        let taken = Arc::<Mutex<Vec<u8>>>::default();
        let answers =
            [Err(ErrorKind::WouldBlock), Ok(2), Err(ErrorKind::Interrupted), Err(ErrorKind::WouldBlock)].into();
        let mut out = Out { out: Scripted { answers, taken: Arc::clone(&taken) }, is_torn: false };
        assert_eq!(out.write(&lines(&["one", "two"])), 0);
        assert_eq!(*taken.lock().expect("no panic"), b"one\ntwo\n");
    }

    /// A stream whose reader takes one write at a time.
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
    fn a_reader_that_stands_still_holds_up_nobody_and_what_does_not_fit_is_counted() {
        let (written, came) = channel();
        let (go_on, may_go_on) = channel();
        let writer = LogWriter::start(Held { written, may_go_on }).expect("a thread");
        writer.push(b"first\n");
        assert_eq!(came.recv_timeout(PATIENCE).as_deref(), Ok(&b"first\n"[..]));
        // From here on the thread is stuck in its write.
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
