//! One connection: its stream, its socket, and the buffers between the two.
//!
//! A connection never blocks. Its [`Reactor`](super::reactor::Reactor) calls it when there are bytes to read, room to write,
//! or frames in the outbox, and when its deadline has come.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use super::ConnectionSettings;
use super::arrival::{Arrival, Origin, Permits};
use super::inflate::Inflation;
use super::large_frames::ToSend;
use super::reader::{ReadEvent, Reader};
use super::received::Received;
use super::scratch::{LONG, OUTPUT_BYTES, Scratch};
use super::sending::{send, send_long};
use super::unsent::Unsent;
use crate::contract::Ending;
use crate::protocol::{CloseCode, Frame};
use crate::pubsub::{Outbox, Taken};
use crate::socket::{Client, Reason, Registered, Socket};

/// How long the client may take to answer a close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The most messages of one connection that are handled in a turn, so that other connections don't wait too long.
const MESSAGES_A_TURN: usize = 32;

/// A connection.
pub(super) struct Connection {
    stream: TcpStream,
    reader: Reader,
    phase: Phase,
    outbox: Arc<Outbox>,
    /// Bytes that were read and aren't handled yet: the beginning of a frame, or more messages than one turn handles.
    received: Received,
    /// Whether the stream may have bytes to read. Events are edge-triggered: an event sets this, and it stays set until a
    /// read shows that there are no more bytes.
    pub(super) is_readable: bool,
    /// Whether the client has closed its side of the stream. Bytes from before that may still be unread.
    pub(super) is_read_closed: bool,
    /// The frames that the stream had no room for, or that wait until one of them is compressed. While there are any,
    /// nothing else is written, and no message is handled.
    unsent: Option<Box<Unsent>>,
    /// The answer to the last ping. It also answers earlier pings (RFC 6455, 5.5.3).
    pong: Option<Frame>,
    /// When the client was last heard of: the start of its idle time.
    heard: Instant,
    settings: Arc<ConnectionSettings>,
    /// The origin of the page, only for the log.
    origin: Option<Origin>,
    /// When its reactor checks its deadline next. It is never later than the deadline.
    pub(super) alarm: Instant,
    /// Whether it is in its reactor's queue of ready connections. The flag keeps it from being queued twice.
    pub(super) is_ready: bool,
    /// A copy of `socket.is_held_back()`, which saves each write from a look into the boxed socket.
    is_held_back: bool,
    /// Whether the reason of its end was counted. A panic while it is closed must not count it again.
    is_noted: bool,
    _permits: Permits,
}

/// The state of a connection. Its contents are boxed, so that a connection stays small in both states.
enum Phase {
    Open(Box<Socket>),
    Leaving(Box<Leaving>),
}

/// The state of a connection that is closing.
struct Leaving {
    /// The frames that are still to be written: the close frame, and the frames before it.
    last: VecDeque<Frame>,
    /// When the connection is dropped, even if the client hasn't answered.
    until: Instant,
    /// Whether the client has sent a close frame too. Then the connection is dropped as soon as all frames are written.
    is_agreed: bool,
    _registered: Option<Registered>,
}

/// What the reactor must do with a connection after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Wait for the next event.
    Wait,
    /// Call it again after the other ready connections, because it has more to read or to handle.
    GoOn,
    /// Call it again in the next turn, before the other ready connections, because a compressed message has to be inflated.
    Postponed,
    /// Drop it, because it has ended.
    Drop,
}

impl Connection {
    /// Creates the connection for an arrival.
    pub(super) fn new(arrival: Arrival, now: Instant) -> Self {
        let Arrival { stream, received, socket, settings, deflates, origin, permits } = arrival;
        Self {
            stream: TcpStream::from_std(stream),
            reader: Reader::new(settings.limits.frame_bytes, deflates),
            outbox: Arc::clone(socket.outbox()),
            phase: Phase::Open(Box::new(socket)),
            // Copied, because these bytes are a slice of the whole buffer that hyper read the request into.
            received: Received::new(received.to_vec()),
            is_readable: false,
            is_read_closed: false,
            unsent: None,
            pong: None,
            heard: now,
            alarm: now + settings.limits.idle,
            settings,
            origin,
            is_ready: false,
            is_held_back: false,
            is_noted: false,
            _permits: permits,
        }
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Returns how long the client may be silent.
    pub(super) fn idle(&self) -> Duration {
        self.settings.limits.idle
    }

    pub(super) fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Whether there are bytes that were read and aren't handled yet.
    pub(super) fn has_received(&self) -> bool {
        !self.received.is_empty()
    }

    /// Whether frames wait: the stream had no room for all of them, or one is being compressed.
    pub(super) fn is_stuck(&self) -> bool {
        self.unsent.is_some()
    }

    /// Whether it is open, and no frames wait to be written except those in its outbox.
    pub(super) fn is_at_ease(&self) -> bool {
        matches!(self.phase, Phase::Open(_)) && self.unsent.is_none() && self.pong.is_none()
    }

    /// Handles received bytes, or reads more, up to the amount for one turn.
    pub(super) fn go_on(&mut self, scratch: &mut Scratch) -> Next {
        if (!self.received.is_empty() || self.reader.is_inflating()) && self.listens_now(scratch) {
            let next = self.handle_received(scratch.now, &mut scratch.inflation);
            if next != Next::Wait {
                return next;
            }
        }
        if self.is_readable && self.listens_now(scratch) { self.read(scratch) } else { Next::Wait }
    }

    fn read(&mut self, scratch: &mut Scratch) -> Next {
        let Scratch { now, input, inflation, .. } = scratch;
        let read = match self.stream.read(input) {
            Ok(0) => return Next::Drop,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.is_readable = false;
                return Next::Wait;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => return Next::GoOn,
            Err(_) => return Next::Drop,
        };
        self.heard = *now;
        crate::counts::Traffic::BytesReceived.add(read as u64);
        // If the read didn't fill the buffer, there are no more bytes, and the next bytes cause a new event. The end of the
        // stream is the exception: its event may have come already, so it must be read without another event.
        self.is_readable = read == input.len() || self.is_read_closed;
        let next = if self.received.is_empty() {
            let (next, left) = self.handle_input(&input[..read], *now, inflation);
            self.received.extend(&input[read - left..read]);
            next
        } else {
            self.received.extend(&input[..read]);
            self.handle_received(*now, inflation)
        };
        if self.is_readable && next == Next::Wait { Next::GoOn } else { next }
    }

    /// Handles bytes that were read before.
    fn handle_received(&mut self, now: Instant, inflation: &mut Inflation) -> Next {
        let mut received = std::mem::take(&mut self.received);
        let (next, left) = self.handle_input(received.bytes(), now, inflation);
        received.leave(left);
        self.received = received;
        next
    }

    /// Handles bytes of the client. Also returns how many bytes at the end are left.
    fn handle_input(&mut self, mut input: &[u8], now: Instant, inflation: &mut Inflation) -> (Next, usize) {
        let was_inflating = self.reader.is_inflating();
        for _ in 0..MESSAGES_A_TURN {
            if !self.listens() {
                return (Next::Wait, input.len());
            }
            match self.reader.next(&mut input, inflation) {
                Ok(None) => return (Next::Wait, input.len()),
                Ok(Some(ReadEvent::Message(message))) => {
                    let Phase::Open(socket) = &mut self.phase else { continue };
                    let received = socket.receive(&message);
                    self.is_held_back = socket.is_held_back();
                    if let Err(closing) = received {
                        self.leave(closing.0, now, None);
                    }
                    if was_inflating {
                        // Compressed messages of other clients come first. Otherwise a client with long ones could use the
                        // work of each turn.
                        return (Next::GoOn, input.len());
                    }
                }
                Ok(Some(ReadEvent::Postponed)) => return (Next::Postponed, input.len()),
                Ok(Some(ReadEvent::Ping(payload))) => self.pong = Some(Frame::pong(&payload)),
                Ok(Some(ReadEvent::Pong)) => {}
                Ok(Some(ReadEvent::Close(code))) => {
                    self.on_close(code, now);
                    return (self.end_of_turn(), 0);
                }
                Err(code) => {
                    self.leave(code, now, None);
                    return (Next::Wait, 0);
                }
            }
        }
        (Next::GoOn, input.len())
    }

    /// Whether messages of the client are handled now. They aren't while an earlier message waits for room, or while the
    /// client doesn't read its frames. Then its bytes stay in the stream, and TCP slows the client down.
    fn listens(&self) -> bool {
        match &self.phase {
            Phase::Open(_) => !self.is_held_back && self.unsent.is_none(),
            Phase::Leaving(_) => true,
        }
    }

    /// The same, and false while the host handles no messages. A connection that is closing still waits for its client's
    /// close frame.
    fn listens_now(&self, scratch: &Scratch) -> bool {
        self.listens() && !(scratch.is_paused && matches!(self.phase, Phase::Open(_)))
    }

    /// Whether there are frames that [`flush`](Self::flush) would write, although the outbox doesn't wake the reactor for
    /// them.
    pub(super) fn wants_flush(&self) -> bool {
        let is_leaving = matches!(&self.phase, Phase::Leaving(leaving) if !leaving.last.is_empty());
        self.unsent.is_none() && (self.pong.is_some() || is_leaving)
    }

    /// Writes the unsent frames, and then those of the outbox.
    pub(super) fn flush(&mut self, scratch: &mut Scratch) -> Next {
        let was_stuck = self.unsent.is_some();
        if was_stuck && let Some(next) = self.flush_unsent(scratch.now) {
            return next;
        }
        let mut taken = None;
        match &mut self.phase {
            Phase::Open(_) => {
                taken = self.outbox.take(&mut scratch.frames);
                // Not `extend`: it would cost each delivery a hundred instructions, although there is hardly ever a pong.
                if let Some(pong) = self.pong.take() {
                    scratch.frames.push_back(pong);
                }
            }
            Phase::Leaving(leaving) => {
                if !leaving.last.is_empty() {
                    leaving.until = scratch.now + CLOSE_TIMEOUT;
                }
                scratch.frames.append(&mut leaving.last);
            }
        }
        let awaits_large = self.reader.deflates() && self.awaits_large(scratch);
        if !scratch.frames.is_empty() && !awaits_large && self.write(scratch).is_err() {
            scratch.frames.clear();
            return Next::Drop;
        }
        if let Some(Taken::Close(code)) = taken {
            self.leave(code, scratch.now, None);
            return Next::Wait;
        }
        if self.is_held_back
            && let Phase::Open(socket) = &mut self.phase
        {
            // The reason for this call isn't known. It may be that there is room again for the message that was held back.
            socket.resume();
            self.is_held_back = socket.is_held_back();
            return Next::GoOn;
        }
        if was_stuck { Next::GoOn } else { self.end_of_turn() }
    }

    /// Exchanges a large frame in the scratch buffers for its compressed form. If that isn't made yet, all frames wait for it,
    /// and this returns true. There is at most one large frame, because the outbox gives the frames in batches. Only for a
    /// connection with compression.
    #[inline(never)]
    fn awaits_large(&mut self, scratch: &mut Scratch) -> bool {
        let Scratch { now, frames, .. } = scratch;
        let Some(place) = frames.iter().position(Frame::is_large_and_plain) else { return false };
        match self.settings.large_frames.deflate(&frames[place], &self.outbox) {
            ToSend::Now(frame) => {
                frames[place] = frame;
                false
            }
            ToSend::Later(frame) => {
                frames.remove(place);
                self.unsent = Some(Box::new(Unsent::of_large(frame, place, std::mem::take(frames), *now)));
                true
            }
        }
    }

    /// Writes the frames in the scratch buffers, in few system calls. Frames that the stream has no room for go to `unsent`.
    fn write(&mut self, scratch: &mut Scratch) -> io::Result<()> {
        let Scratch { now, output, frames, .. } = scratch;
        while let Some(frame) = frames.front() {
            let unsent = if frame.len() < LONG {
                output.clear();
                while let Some(next) = frames.pop_front_if(|next| next.len() < LONG && output.len() < OUTPUT_BYTES) {
                    output.extend_from_slice(next.wire());
                }
                let sent = send(&self.stream, output)?;
                (sent < output.len()).then(|| Unsent::of_bytes(&output[sent..], *now))
            } else {
                send_long(&self.stream, frames, *now)?
            };
            if let Some(mut unsent) = unsent {
                unsent.behind = std::mem::take(frames);
                self.unsent = Some(Box::new(unsent));
                return Ok(());
            }
        }
        Ok(())
    }

    /// Writes the unsent frames. Returns what comes next, if some of them remain. Like the other rare steps of `flush`, it is
    /// never inlined, so that a delivery doesn't save registers for it.
    #[inline(never)]
    fn flush_unsent(&mut self, now: Instant) -> Option<Next> {
        if self.send_rest(now).is_err() {
            return Some(Next::Drop);
        }
        let is_stuck = self.unsent.is_some();
        if is_stuck
            && matches!(self.phase, Phase::Open(_))
            && let Some(code) = self.outbox.closing()
        {
            self.leave(code, now, None);
        }
        is_stuck.then_some(Next::Wait)
    }

    /// Writes the rest of the frames that the stream had no room for.
    fn send_rest(&mut self, now: Instant) -> io::Result<()> {
        while let Some(unsent) = &mut self.unsent
            && unsent.is_ready(now)
        {
            match send(&self.stream, unsent.bytes())? {
                0 => return Ok(()),
                sent if unsent.advance(sent, now) => {}
                _ => {
                    self.unsent = None;
                    // Meanwhile the host didn't read, so this time doesn't count as silence of the client.
                    self.heard = now;
                }
            }
        }
        Ok(())
    }

    /// Handles a close frame of the client: answers it. The connection ends when the answer is written.
    fn on_close(&mut self, code: Option<u16>, now: Instant) {
        self.end(Ending::Closed, Frame::close(code), now);
        if let Phase::Leaving(leaving) = &mut self.phase {
            leaving.is_agreed = true;
        }
    }

    /// Ends the channels, sends a close frame with this code, and waits for the client to close too. If the host closed the
    /// stream at once, bytes that the client is sending would reset the connection, and the client might not get the code.
    #[cold]
    fn leave(&mut self, code: CloseCode, now: Instant, reason: Option<Reason>) {
        if matches!(self.phase, Phase::Open(_)) {
            self.note(reason.unwrap_or_else(|| Reason::of_close(code)));
        }
        let ending = if code == CloseCode::ServiceRestart { Ending::Shutdown } else { Ending::Closed };
        self.end(ending, Frame::close(Some(code.code())), now);
    }

    fn end(&mut self, ending: Ending, close_frame: Frame, now: Instant) {
        if matches!(self.phase, Phase::Leaving(_)) {
            return;
        }
        let mut leaving =
            Leaving { last: VecDeque::new(), until: now + CLOSE_TIMEOUT, is_agreed: false, _registered: None };
        // All frames that are still queued come before the close frame. The outbox gives them in batches.
        let mut batch = VecDeque::new();
        while self.outbox.take(&mut batch).is_some() && !batch.is_empty() {
            leaving.last.append(&mut batch);
        }
        leaving.last.push_back(close_frame);
        if let Phase::Open(socket) = std::mem::replace(&mut self.phase, Phase::Leaving(Box::new(leaving))) {
            let registered = socket.close(ending);
            if let Phase::Leaving(leaving) = &mut self.phase {
                leaving._registered = registered;
            }
        }
    }

    fn end_of_turn(&self) -> Next {
        match &self.phase {
            Phase::Leaving(leaving) if leaving.is_agreed && leaving.last.is_empty() && self.unsent.is_none() => {
                Next::Drop
            }
            _ => Next::Wait,
        }
    }

    /// Returns when the connection times out if nothing happens before.
    pub(super) fn deadline(&self) -> Instant {
        match (&self.phase, &self.unsent) {
            (Phase::Leaving(leaving), _) => leaving.until,
            (Phase::Open(_), Some(unsent)) => unsent.since + self.idle(),
            (Phase::Open(_), None) => self.heard + self.idle(),
        }
    }

    /// Counts and logs that the host ends the connection, once: the first reason counts.
    pub(super) fn note(&mut self, reason: Reason) {
        // Set before the call, because the line of the log comes after the count, and may panic.
        if std::mem::replace(&mut self.is_noted, true) {
            return;
        }
        let known = if let Phase::Open(socket) = &self.phase { socket.address() } else { None };
        let (peer, mount) = (known.or_else(|| self.stream.peer_addr().ok()), &self.settings.path);
        let origin = self.origin.as_deref().map(AsRef::as_ref);
        self.settings.tally.note(reason, &Client { peer, mount, origin });
    }

    /// Checks the deadline. If it has passed, the client is silent, takes no bytes, or doesn't answer the close frame.
    pub(super) fn on_alarm(&mut self, scratch: &mut Scratch) -> Next {
        let now = scratch.now;
        if matches!(&self.phase, Phase::Open(_)) && !self.listens_now(scratch) && self.unsent.is_none() {
            // The host isn't reading, so this time doesn't count as silence of the client.
            self.heard = now;
        }
        if now < self.deadline() {
            return Next::Wait;
        }
        // Before it is closed, the stream is tried once more. It may have unread bytes or room again, because this thread
        // was suspended, or because one turn doesn't process all events.
        let next = match (&self.phase, &self.unsent) {
            (Phase::Open(_), Some(_)) => self.flush(scratch),
            (_, None) if self.listens_now(scratch) => self.read(scratch),
            _ => Next::Wait,
        };
        if next == Next::Drop || now < self.deadline() {
            return next;
        }
        match (&self.phase, &self.unsent) {
            (Phase::Leaving(_), _) => return Next::Drop,
            (Phase::Open(_), Some(_)) => self.leave(CloseCode::SlowConsumer, now, Some(Reason::NotReading)),
            (Phase::Open(_), None) => self.leave(CloseCode::ProtocolError, now, Some(Reason::Idle)),
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each idle connection has this memory. A connection with compression has no more: a flag in the reader, and one in the
    /// socket.
    #[test]
    fn an_idle_connection_is_small() {
        assert_eq!(size_of::<Reader>(), 3 * size_of::<usize>());
        assert!(size_of::<Connection>() <= 248, "{}", size_of::<Connection>());
    }
}
