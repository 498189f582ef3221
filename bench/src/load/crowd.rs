//! Connections, and what is said on them.

use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use anyhow::{Context, Result};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use slab::Slab;
use socket2::{Domain, SockRef, Socket, Type};

use super::words::{Say, Words, time};
use crate::wire::{frame, upgrade};

/// What is heard on a connection.
#[derive(Clone, Copy)]
pub(crate) enum News<'a> {
    /// It may join.
    Ready,
    /// What had that reference is answered.
    Answer {
        reference: u64,
        is_ok: bool,
    },
    Event {
        event: &'a [u8],
        payload: &'a [u8],
    },
    /// It is gone, and the next that is opened may have its number.
    Closed,
}

/// What becomes of what is heard.
pub(crate) trait Play {
    fn hear(&mut self, crowd: &mut Crowd, who: usize, news: News<'_>) -> Result<()>;
}

/// All connections. Each has a number; the first are counted from 0 in the order in which they are opened.
pub(crate) struct Crowd {
    address: SocketAddr,
    pub(super) words: Words,
    registry: Registry,
    pub(super) lines: Slab<Line>,
    /// The message that is being written, and the frames that are about to be sent.
    text: Vec<u8>,
    out: Vec<u8>,
    began: Instant,
}

/// A connection.
pub(super) struct Line {
    pub(super) stream: TcpStream,
    pub(super) stage: Stage,
    /// It was asked to end by this side.
    pub(super) is_ending: bool,
    /// It reads nothing for now.
    pub(super) is_deaf: bool,
    /// The beginning of a frame whose end hasn't come.
    pub(super) rest: Vec<u8>,
    /// What the connection hasn't taken yet.
    unsent: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Stage {
    Connecting,
    Upgrading,
    Open,
}

/// After so many connections the next ones come from another address, for the ports of one would not do.
const CONNECTIONS_PER_ADDRESS: usize = 20_000;

/// What the kernel takes in for a connection that isn't read.
const DEAF_BUFFER_BYTES: usize = 64 << 10;

/// The same for one that is read again.
const BUFFER_BYTES: usize = 1 << 20;

const INTEREST: Interest = Interest::READABLE.add(Interest::WRITABLE);

impl Crowd {
    pub(super) fn new(address: SocketAddr, words: Words, registry: Registry) -> Self {
        let (lines, text, out) = (Slab::new(), Vec::new(), Vec::new());
        Self { address, words, registry, lines, text, out, began: Instant::now() }
    }

    /// Begins to connect another one. It is heard of once it may join.
    pub(crate) fn open(&mut self) -> Result<usize> {
        let entry = self.lines.vacant_entry();
        let who = entry.key();
        let mut stream = TcpStream::from_std(connect(self.address, who).context("connecting")?);
        self.registry.register(&mut stream, Token(who), INTEREST)?;
        let (rest, unsent) = (Vec::new(), Vec::new());
        entry.insert(Line { stream, stage: Stage::Connecting, is_ending: false, is_deaf: false, rest, unsent });
        Ok(who)
    }

    /// Adds to what [`Crowd::send`] sends.
    pub(crate) fn put(&mut self, say: Say) {
        self.words.write(say, &mut self.text);
        frame::write_masked(frame::TEXT, &self.text, &mut self.out);
    }

    /// Sends what was put together, at once.
    pub(crate) fn send(&mut self, who: usize) -> Result<()> {
        let line = self.lines.get_mut(who).context("that connection is gone")?;
        let sent = line.send(&self.out);
        self.out.clear();
        sent
    }

    pub(crate) fn say(&mut self, who: usize, say: Say) -> Result<()> {
        self.put(say);
        self.send(who)
    }

    /// Says something that is no message of the channel's.
    pub(super) fn answer(&mut self, who: usize, opcode: u8, payload: &[u8]) -> Result<()> {
        frame::write_masked(opcode, payload, &mut self.out);
        self.send(who)
    }

    /// Asks the server to close a connection, as a page does that is left.
    pub(crate) fn close(&mut self, who: usize) -> Result<()> {
        if let Some(line) = self.lines.get_mut(who) {
            line.is_ending = true;
        }
        // 1000: all is well.
        self.answer(who, frame::CLOSE, &1000_u16.to_be_bytes())
    }

    /// Reads nothing any more on a connection. The kernel takes in little for it, so that the server feels it soon.
    pub(crate) fn deafen(&mut self, who: usize) -> Result<()> {
        let line = self.lines.get_mut(who).context("that connection is gone")?;
        line.is_deaf = true;
        Ok(SockRef::from(&line.stream).set_recv_buffer_size(DEAF_BUFFER_BYTES)?)
    }

    /// Reads again.
    pub(crate) fn listen(&mut self, who: usize) -> Result<()> {
        let line = self.lines.get_mut(who).context("that connection is gone")?;
        line.is_deaf = false;
        SockRef::from(&line.stream).set_recv_buffer_size(BUFFER_BYTES)?;
        // What has come meanwhile is to be told again.
        Ok(self.registry.reregister(&mut line.stream, Token(who), INTEREST)?)
    }

    /// A connection can be written to: it has come to be, or there is room again.
    pub(super) fn can_write(&mut self, who: usize) -> Result<()> {
        let Some(line) = self.lines.get_mut(who) else { return Ok(()) };
        if line.stage == Stage::Connecting {
            if let Some(error) = line.stream.take_error()? {
                return Err(error).context("connecting");
            }
            if line.stream.peer_addr().is_err() {
                return Ok(());
            }
            line.stage = Stage::Upgrading;
            upgrade::ask(self.address, self.words.path(), &mut self.out);
            return self.send(who);
        }
        line.send(&[])
    }

    /// Nanoseconds since the crowd came together.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// How long ago what came was said, in nanoseconds.
    pub(crate) fn age(&self, payload: &[u8]) -> Option<u64> {
        Some(self.now().saturating_sub(time(payload)?))
    }
}

impl Line {
    /// Sends what was left over, and this.
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            let sent = write(&mut self.stream, &self.unsent)?;
            self.unsent.drain(..sent);
            return Ok(());
        }
        let sent = write(&mut self.stream, bytes)?;
        self.unsent.extend_from_slice(&bytes[sent..]);
        Ok(())
    }
}

/// How much of it the connection took. One that has ended takes all: its end is heard of when it is read.
fn write(stream: &mut TcpStream, bytes: &[u8]) -> Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match stream.write(&bytes[sent..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset].contains(&error.kind()) => {
                return Ok(bytes.len());
            }
            Err(error) => return Err(error).context("sending"),
        }
    }
    Ok(sent)
}

fn connect(address: SocketAddr, who: usize) -> Result<std::net::TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    let addresses = u8::try_from(who / CONNECTIONS_PER_ADDRESS)?;
    if addresses > 0 && address.ip() == Ipv4Addr::LOCALHOST {
        socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 1, addresses), 0)).into())?;
    }
    // Where it has to wait, it has begun.
    match socket.connect(&address.into()) {
        Err(error) if error.kind() != ErrorKind::WouldBlock && error.raw_os_error() != Some(IN_PROGRESS) => {
            Err(error.into())
        }
        _ => Ok(socket.into()),
    }
}

/// Linux's number for a connection that is coming to be.
const IN_PROGRESS: i32 = 115;
