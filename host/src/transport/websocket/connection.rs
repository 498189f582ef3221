//! One connection: its stream, its socket, and what is under way between the two.
//!
//! It never waits. Its [`Reactor`](super::reactor::Reactor) calls when there is something to read, room to write, something in
//! the outbox, or a time that has come.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use super::Manners;
use super::reader::{ReadEvent, Reader};
use super::received::Received;
use super::unsent::Unsent;
use crate::contract::Ending;
use crate::protocol::{CloseCode, Frame};
use crate::pubsub::{Outbox, Taken};
use crate::socket::{Client, Reason, Registered, Socket};
use crate::transport::mount::ConnectionPermit;

/// How long the other side may take over the end of the connection.
const GOODBYE: Duration = Duration::from_secs(2);

/// The most messages of one connection that are handled before it is others' turn.
const MESSAGES_A_TURN: usize = 32;

/// Bytes that are read at once.
const INPUT_BYTES: usize = 64 << 10;

/// Bytes of a frame from which on it is written from where it is; what is shorter is put together with its neighbours.
const LONG: usize = 1 << 10;

/// Bytes of short frames that are put together, and one frame more.
const OUTPUT_BYTES: usize = 127 << 10;

/// Long frames that are written at once.
const SLICES: usize = 64;

/// What a client that has connected comes with.
pub(in crate::transport) struct Arrival {
    pub(super) stream: std::net::TcpStream,
    /// What it has written behind its request already.
    pub(super) received: Bytes,
    pub(super) socket: Socket,
    pub(super) manners: Arc<Manners>,
    /// The page's, if it is a browser.
    pub(super) origin: Option<Box<str>>,
    pub(super) places: Places,
}

/// What counts as taken for as long as a connection is open.
pub(super) struct Places {
    pub(super) _entered: ConnectionPermit,
    pub(super) _connection: Option<Arc<OwnedSemaphorePermit>>,
}

/// A connection.
pub(super) struct Connection {
    stream: TcpStream,
    reader: Reader,
    life: Life,
    outbox: Arc<Outbox>,
    /// What was read and not heard yet: the beginning of a frame, or more than could be handled.
    received: Received,
    /// Whether the stream may have more to read.
    pub(super) is_readable: bool,
    /// Whether the client writes no more, behind what there is.
    pub(super) is_read_closed: bool,
    /// What the stream had no room for.
    unsent: Option<Box<Unsent>>,
    /// The answer to the last ping, which stands for those before it.
    pong: Option<Frame>,
    heard: Instant,
    manners: Arc<Manners>,
    /// For the log alone.
    origin: Option<Box<str>>,
    /// When its reactor looks at its deadline next.
    pub(super) alarm: Instant,
    /// Whether it waits for its next turn.
    pub(super) is_ready: bool,
    /// What the socket says of it, kept where each write needn't look for it.
    is_held_back: bool,
    _places: Places,
}

enum Life {
    Open(Box<Socket>),
    Leaving(Box<Leaving>),
}

/// A connection that ends.
struct Leaving {
    /// What is still to be written: the goodbye, and what was said before it.
    last: VecDeque<Frame>,
    /// When it ends in any case.
    until: Instant,
    /// Whether the client has closed too: then nothing is waited for but the writing.
    is_agreed: bool,
    _registered: Option<Registered>,
}

/// What its reactor lends a connection while it calls it.
pub(super) struct Scratch {
    /// The time of this turn.
    pub(super) now: Instant,
    input: Vec<u8>,
    output: Vec<u8>,
    frames: VecDeque<Frame>,
}

/// What is to be done about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing until something happens.
    Wait,
    /// It has more to read or to handle, once others had their turn.
    GoOn,
    /// It is over.
    Drop,
}

impl Scratch {
    pub(super) fn new() -> Self {
        let (input, output) = (vec![0; INPUT_BYTES], Vec::with_capacity(OUTPUT_BYTES + LONG));
        Self { now: Instant::now(), input, output, frames: VecDeque::new() }
    }

    #[cfg(test)]
    pub(super) fn put(&mut self, frame: Frame) {
        self.frames.push_back(frame);
    }

    /// Throws away what was about to be written.
    pub(super) fn clear(&mut self) {
        self.output.clear();
        self.frames.clear();
    }
}

impl Connection {
    /// A connection for who has arrived.
    pub(super) fn new(arrival: Arrival, now: Instant) -> Self {
        let Arrival { stream, received, socket, manners, origin, places } = arrival;
        Self {
            stream: TcpStream::from_std(stream),
            reader: Reader::new(manners.limits.frame_bytes),
            outbox: Arc::clone(socket.outbox()),
            life: Life::Open(Box::new(socket)),
            // A copy, for it is a slice of all the room that the request was read in.
            received: Received::new(received.to_vec()),
            is_readable: false,
            is_read_closed: false,
            unsent: None,
            pong: None,
            heard: now,
            alarm: now + manners.limits.idle,
            manners,
            origin,
            is_ready: false,
            is_held_back: false,
            _places: places,
        }
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// How long the client may be silent.
    pub(super) fn idle(&self) -> Duration {
        self.manners.limits.idle
    }

    pub(super) fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Whether something was read and not heard yet.
    pub(super) fn has_received(&self) -> bool {
        !self.received.is_empty()
    }

    /// Whether the stream had no room for all that was to be written.
    pub(super) fn is_stuck(&self) -> bool {
        self.unsent.is_some()
    }

    /// Whether it is open, and nothing waits to be written but what is in its outbox.
    pub(super) fn is_at_ease(&self) -> bool {
        matches!(self.life, Life::Open(_)) && self.unsent.is_none() && self.pong.is_none()
    }

    /// Handles what it has received, or reads more: so much of it as makes a turn.
    pub(super) fn go_on(&mut self, scratch: &mut Scratch) -> Next {
        if !self.received.is_empty() && self.listens() {
            let next = self.handle_received(scratch.now);
            if next != Next::Wait {
                return next;
            }
        }
        if self.is_readable && self.listens() { self.read(scratch) } else { Next::Wait }
    }

    fn read(&mut self, scratch: &mut Scratch) -> Next {
        let Scratch { now, input, .. } = scratch;
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
        // Less than there was room for is all there was; only an end may stand behind it.
        self.is_readable = read == input.len() || self.is_read_closed;
        let next = if self.received.is_empty() {
            let (next, left) = self.handle_input(&input[..read], *now);
            self.received.extend(&input[read - left..read]);
            next
        } else {
            self.received.extend(&input[..read]);
            self.handle_received(*now)
        };
        if self.is_readable && next == Next::Wait { Next::GoOn } else { next }
    }

    /// Handles what was read before.
    fn handle_received(&mut self, now: Instant) -> Next {
        let mut received = std::mem::take(&mut self.received);
        let (next, left) = self.handle_input(received.bytes(), now);
        received.leave(left);
        self.received = received;
        next
    }

    /// Handles what came in. Gives how many bytes of it are left, besides.
    fn handle_input(&mut self, mut input: &[u8], now: Instant) -> (Next, usize) {
        for _ in 0..MESSAGES_A_TURN {
            if !self.listens() {
                return (Next::Wait, input.len());
            }
            match self.reader.next(&mut input) {
                Ok(None) => return (Next::Wait, input.len()),
                Ok(Some(ReadEvent::Message(message))) => {
                    let Life::Open(socket) = &mut self.life else { continue };
                    let received = socket.receive(&message);
                    self.is_held_back = socket.is_held_back();
                    if let Err(closing) = received {
                        self.leave(closing.0, now, None);
                    }
                }
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

    /// Whether what the client says is heard: not while something of it waits for room, or while it doesn't read what is for it.
    fn listens(&self) -> bool {
        match &self.life {
            Life::Open(_) => !self.is_held_back && self.unsent.is_none(),
            Life::Leaving(_) => true,
        }
    }

    /// Whether there is something that [`flush`](Self::flush) would write though no bell rings for it.
    pub(super) fn wants_flush(&self) -> bool {
        let is_leaving = matches!(&self.life, Life::Leaving(leaving) if !leaving.last.is_empty());
        self.unsent.is_none() && (self.pong.is_some() || is_leaving)
    }

    /// Writes what the outbox holds, or what is left of what it held.
    pub(super) fn flush(&mut self, scratch: &mut Scratch) -> Next {
        let was_stuck = self.unsent.is_some();
        if was_stuck && self.send_rest(scratch.now).is_err() {
            return Next::Drop;
        }
        if self.unsent.is_some() {
            if matches!(self.life, Life::Open(_))
                && let Some(code) = self.outbox.closing()
            {
                self.leave(code, scratch.now, None);
            }
            return Next::Wait;
        }
        let mut taken = None;
        match &mut self.life {
            Life::Open(_) => {
                taken = self.outbox.take(&mut scratch.frames);
                scratch.frames.extend(self.pong.take());
            }
            Life::Leaving(leaving) => {
                if !leaving.last.is_empty() {
                    leaving.until = scratch.now + GOODBYE;
                }
                scratch.frames.append(&mut leaving.last);
            }
        }
        if !scratch.frames.is_empty() && self.write(scratch).is_err() {
            scratch.frames.clear();
            return Next::Drop;
        }
        if let Some(Taken::Close(code)) = taken {
            self.leave(code, scratch.now, None);
            return Next::Wait;
        }
        if self.is_held_back
            && let Life::Open(socket) = &mut self.life
        {
            // Whatever the bell was rung for: what was held back may go on.
            socket.resume();
            self.is_held_back = socket.is_held_back();
            return Next::GoOn;
        }
        if was_stuck { Next::GoOn } else { self.end_of_turn() }
    }

    /// Writes the frames on the desk, in as few calls as it fits. What the stream has no room for remains unsent.
    fn write(&mut self, scratch: &mut Scratch) -> io::Result<()> {
        let Scratch { now, output, frames, .. } = scratch;
        while let Some(frame) = frames.front() {
            let unsent = if frame.len() < LONG {
                output.clear();
                while let Some(next) = frames.pop_front_if(|next| next.len() < LONG && output.len() < OUTPUT_BYTES) {
                    output.extend_from_slice(next.wire());
                }
                let sent = send(&self.stream, &[IoSlice::new(output)])?;
                (sent < output.len()).then(|| Unsent::of_bytes(&output[sent..], *now))
            } else {
                write_long(&self.stream, frames, *now)?
            };
            if let Some(mut unsent) = unsent {
                unsent.behind = std::mem::take(frames);
                self.unsent = Some(Box::new(unsent));
                return Ok(());
            }
        }
        Ok(())
    }

    /// Goes on with what the stream had no room for.
    fn send_rest(&mut self, now: Instant) -> io::Result<()> {
        while let Some(unsent) = &mut self.unsent {
            match send(&self.stream, &[IoSlice::new(unsent.bytes())])? {
                0 => return Ok(()),
                sent if unsent.advance(sent, now) => {}
                _ => {
                    self.unsent = None;
                    // It wasn't listened to meanwhile.
                    self.heard = now;
                }
            }
        }
        Ok(())
    }

    /// The client closes: that is answered, and then it is over.
    fn on_close(&mut self, code: Option<u16>, now: Instant) {
        self.end(Ending::Closed, Frame::close(code), now);
        if let Life::Leaving(leaving) = &mut self.life {
            leaving.is_agreed = true;
        }
    }

    /// Ends its channels and says goodbye with this code, and waits for the client to close too: bytes that it has on the way
    /// would break the connection before it reads the reason.
    fn leave(&mut self, code: CloseCode, now: Instant, reason: Option<Reason>) {
        if matches!(self.life, Life::Open(_)) {
            self.note(reason.unwrap_or_else(|| Reason::of_close(code)));
        }
        let ending = if code == CloseCode::ServiceRestart { Ending::Shutdown } else { Ending::Closed };
        self.end(ending, Frame::close(Some(code.code())), now);
    }

    fn end(&mut self, ending: Ending, goodbye: Frame, now: Instant) {
        if matches!(self.life, Life::Leaving(_)) {
            return;
        }
        let mut leaving = Leaving { last: VecDeque::new(), until: now + GOODBYE, is_agreed: false, _registered: None };
        // What was said before.
        let _ = self.outbox.take(&mut leaving.last);
        leaving.last.push_back(goodbye);
        if let Life::Open(socket) = std::mem::replace(&mut self.life, Life::Leaving(Box::new(leaving))) {
            let registered = socket.close(ending);
            if let Life::Leaving(leaving) = &mut self.life {
                leaving._registered = registered;
            }
        }
    }

    fn end_of_turn(&self) -> Next {
        match &self.life {
            Life::Leaving(leaving) if leaving.is_agreed && leaving.last.is_empty() && self.unsent.is_none() => {
                Next::Drop
            }
            _ => Next::Wait,
        }
    }

    /// When it is to be looked after even if nothing happens.
    pub(super) fn deadline(&self) -> Instant {
        match (&self.life, &self.unsent) {
            (Life::Leaving(leaving), _) => leaving.until,
            (Life::Open(_), Some(unsent)) => unsent.since + self.idle(),
            (Life::Open(_), None) => self.heard + self.idle(),
        }
    }

    /// Counts and logs that the host ends it.
    pub(super) fn note(&self, reason: Reason) {
        let (peer, origin) = (self.stream.peer_addr().ok(), self.origin.as_deref());
        self.manners.tally.note(reason, &Client { peer, mount: &self.manners.path, origin });
    }

    /// Its deadline may have come: the client is silent, or takes nothing, or doesn't answer the goodbye.
    pub(super) fn on_alarm(&mut self, scratch: &mut Scratch) -> Next {
        let now = scratch.now;
        if matches!(&self.life, Life::Open(_)) && !self.listens() && self.unsent.is_none() {
            // It isn't silent: we don't listen.
            self.heard = now;
        }
        if now < self.deadline() {
            return Next::Wait;
        }
        // Before it is judged: what it has sent may lie unread, and there may be room again, since this thread stood still, or there
        // is more to do than one turn looks at.
        let next = match (&self.life, &self.unsent) {
            (Life::Open(_), Some(_)) => self.flush(scratch),
            (_, None) if self.listens() => self.read(scratch),
            _ => Next::Wait,
        };
        if next == Next::Drop || now < self.deadline() {
            return next;
        }
        match (&self.life, &self.unsent) {
            (Life::Leaving(_), _) => return Next::Drop,
            (Life::Open(_), Some(_)) => self.leave(CloseCode::SlowConsumer, now, Some(Reason::NotReading)),
            (Life::Open(_), None) => self.leave(CloseCode::ProtocolError, now, Some(Reason::Idle)),
        }
        next
    }
}

/// Writes frames as they are, so many as one call takes.
fn write_long(stream: &TcpStream, frames: &mut VecDeque<Frame>, now: Instant) -> io::Result<Option<Unsent>> {
    let mut slices = [IoSlice::new(&[]); SLICES];
    for (slice, frame) in slices.iter_mut().zip(&*frames) {
        *slice = IoSlice::new(frame.wire());
    }
    let count = frames.len().min(SLICES);
    let mut sent = send(stream, &slices[..count])?;
    for _ in 0..count {
        let Some(frame) = frames.pop_front() else { break };
        if sent < frame.len() {
            return Ok(Some(Unsent::of_frame(frame, sent, now)));
        }
        sent -= frame.len();
    }
    Ok(None)
}

/// How many bytes the stream had room for.
fn send(mut stream: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    loop {
        let sent = match slices {
            [slice] => stream.write(slice),
            slices => stream.write_vectored(slices),
        };
        match sent {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            sent => return sent,
        }
    }
}
