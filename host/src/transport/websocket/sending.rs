//! Writes to the stream of a client, as much as it has room for.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Write};
use std::time::Instant;

use mio::net::TcpStream;

use super::unsent::Unsent;
use crate::counts::Traffic;
use crate::protocol::Frame;

/// The most frames that are written at once from their own memory.
const SLICES: usize = 64;

/// Writes frames from their own memory, as many as one call takes. Returns the rest of a frame that was written in part.
#[inline(never)]
pub(super) fn send_long(
    mut stream: &TcpStream,
    frames: &mut VecDeque<Frame>,
    now: Instant,
) -> io::Result<Option<Unsent>> {
    let mut slices = [IoSlice::new(&[]); SLICES];
    for (slice, frame) in slices.iter_mut().zip(&*frames) {
        *slice = IoSlice::new(frame.wire());
    }
    let count = frames.len().min(SLICES);
    let mut sent = count_sent(|| stream.write_vectored(&slices[..count]))?;
    for _ in 0..count {
        let Some(frame) = frames.pop_front() else { break };
        if sent < frame.len() {
            return Ok(Some(Unsent::of_frame(frame, sent, now)));
        }
        sent -= frame.len();
    }
    Ok(None)
}

/// Writes to the stream. Returns how many bytes it had room for.
pub(super) fn send(mut stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    count_sent(|| stream.write(bytes))
}

/// Writes by a call that may be repeated. Returns how many bytes the stream had room for.
fn count_sent(mut write: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match write() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            sent => return sent.inspect(|sent| Traffic::BytesSent.add(*sent as u64)),
        }
    }
}
