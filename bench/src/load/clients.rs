//! The connections of all clients, and the messages that they send.

use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use anyhow::{Context, Result};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use slab::Slab;
use socket2::{Domain, SockRef, Socket, Type};

use super::encoding::{ClientMessage, Encoding, time};
use crate::wire::{frame, upgrade};

/// An event on a connection.
#[derive(Clone, Copy)]
pub(crate) enum ClientEvent<'a> {
    /// The connection is open, and can join topics.
    Ready,
    /// The message with this reference is answered.
    Answer { reference: u64, is_ok: bool },
    /// A message that isn't an answer.
    Message { event: &'a [u8], payload: &'a [u8] },
    /// The connection is closed. The next one that is opened may have its number.
    Closed,
}

/// The part of a scenario that handles events.
pub(crate) trait EventHandler {
    fn handle_event(&mut self, clients: &mut Clients, client: usize, event: ClientEvent<'_>) -> Result<()>;
}

/// All connections. Each has a number. Without closed connections, the numbers count from 0 in the order of opening.
pub(crate) struct Clients {
    address: SocketAddr,
    pub(super) encoding: Encoding,
    /// Whether compression is negotiated.
    pub(super) deflates: bool,
    /// The bytes of the last text frame that came, with its header.
    pub(crate) last_frame: usize,
    registry: Registry,
    pub(super) connections: Slab<Connection>,
    /// Buffers for the message that is being written, and for the frames that are sent next.
    text: Vec<u8>,
    out: Vec<u8>,
    began: Instant,
}

/// A connection.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) stage: Stage,
    /// Whether this side has asked the server to close the connection.
    pub(super) is_ending: bool,
    /// Whether the connection isn't read at present.
    pub(super) is_paused: bool,
    /// The beginning of a frame that hasn't arrived completely.
    pub(super) rest: Vec<u8>,
    /// Bytes that the connection hasn't accepted yet.
    unsent: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Stage {
    Connecting,
    Upgrading,
    Open,
}

/// The number of connections from one local address. One address doesn't have enough ports for all.
const CONNECTIONS_PER_ADDRESS: usize = 20_000;

/// The kernel's receive buffer for a connection that isn't read.
const PAUSED_BUFFER_BYTES: usize = 64 << 10;

/// The kernel's receive buffer for a connection that is read again.
const BUFFER_BYTES: usize = 1 << 20;

const INTEREST: Interest = Interest::READABLE.add(Interest::WRITABLE);

impl Clients {
    pub(super) fn new(address: SocketAddr, encoding: Encoding, deflates: bool, registry: Registry) -> Self {
        let (connections, text, out) = (Slab::new(), Vec::new(), Vec::new());
        let began = Instant::now();
        Self { address, encoding, deflates, last_frame: 0, registry, connections, text, out, began }
    }

    /// Begins to open another connection and returns its number. [`ClientEvent::Ready`] follows when it can join topics.
    pub(crate) fn open(&mut self) -> Result<usize> {
        let entry = self.connections.vacant_entry();
        let client = entry.key();
        let mut stream = TcpStream::from_std(connect(self.address, client).context("connecting")?);
        self.registry.register(&mut stream, Token(client), INTEREST)?;
        let (rest, unsent) = (Vec::new(), Vec::new());
        entry.insert(Connection { stream, stage: Stage::Connecting, is_ending: false, is_paused: false, rest, unsent });
        Ok(client)
    }

    /// Adds a message to the frames that [`Clients::send`] sends.
    pub(crate) fn put(&mut self, message: ClientMessage) {
        self.encoding.write(message, &mut self.text);
        frame::write_masked(frame::TEXT, &self.text, &mut self.out);
    }

    /// Sends all frames that were added with [`Clients::put`], in one call.
    pub(crate) fn send(&mut self, client: usize) -> Result<()> {
        let connection = self.connections.get_mut(client).context("the connection is closed")?;
        let sent = connection.send(&self.out);
        self.out.clear();
        sent
    }

    pub(crate) fn send_message(&mut self, client: usize, message: ClientMessage) -> Result<()> {
        self.put(message);
        self.send(client)
    }

    /// Sends a frame that isn't a channel message.
    pub(super) fn answer(&mut self, client: usize, opcode: u8, payload: &[u8]) -> Result<()> {
        frame::write_masked(opcode, payload, &mut self.out);
        self.send(client)
    }

    /// Asks the server to close a connection, as a browser does when the user leaves the page.
    pub(crate) fn close(&mut self, client: usize) -> Result<()> {
        if let Some(connection) = self.connections.get_mut(client) {
            connection.is_ending = true;
        }
        // 1000: normal closure.
        self.answer(client, frame::CLOSE, &1000_u16.to_be_bytes())
    }

    /// Stops reading a connection. Its receive buffer is small, so that the server's send buffer soon fills.
    pub(crate) fn pause_reading(&mut self, client: usize) -> Result<()> {
        let connection = self.connections.get_mut(client).context("the connection is closed")?;
        connection.is_paused = true;
        Ok(SockRef::from(&connection.stream).set_recv_buffer_size(PAUSED_BUFFER_BYTES)?)
    }

    /// Reads a connection again.
    pub(crate) fn resume_reading(&mut self, client: usize) -> Result<()> {
        let connection = self.connections.get_mut(client).context("the connection is closed")?;
        connection.is_paused = false;
        SockRef::from(&connection.stream).set_recv_buffer_size(BUFFER_BYTES)?;
        // Registering again makes the poll report the data that arrived meanwhile.
        Ok(self.registry.reregister(&mut connection.stream, Token(client), INTEREST)?)
    }

    /// Handles a writable connection: it is established, or its send buffer has room again.
    pub(super) fn can_write(&mut self, client: usize) -> Result<()> {
        let Some(connection) = self.connections.get_mut(client) else { return Ok(()) };
        if connection.stage == Stage::Connecting {
            if let Some(error) = connection.stream.take_error()? {
                return Err(error).context("connecting");
            }
            if connection.stream.peer_addr().is_err() {
                return Ok(());
            }
            connection.stage = Stage::Upgrading;
            upgrade::ask(self.address, self.encoding.path(), self.deflates, &mut self.out);
            return self.send(client);
        }
        connection.send(&[])
    }

    /// Nanoseconds since this value was created.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// How long ago a payload was sent, in nanoseconds.
    pub(crate) fn age(&self, payload: &[u8]) -> Option<u64> {
        Some(self.now().saturating_sub(time(payload)?))
    }
}

impl Connection {
    /// Sends the unsent bytes, and then `bytes`.
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

/// Writes to the connection and returns the number of bytes that it accepted. For a connection that has ended, this is the
/// whole length: the next read reports the end.
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

fn connect(address: SocketAddr, client: usize) -> Result<std::net::TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    let addresses = u8::try_from(client / CONNECTIONS_PER_ADDRESS)?;
    if addresses > 0 && address.ip() == Ipv4Addr::LOCALHOST {
        socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 1, addresses), 0)).into())?;
    }
    // These two errors mean that connecting has begun and isn't finished.
    match socket.connect(&address.into()) {
        Err(error) if error.kind() != ErrorKind::WouldBlock && error.raw_os_error() != Some(IN_PROGRESS) => {
            Err(error.into())
        }
        _ => Ok(socket.into()),
    }
}

/// Linux's `EINPROGRESS`.
const IN_PROGRESS: i32 = 115;
