//! The event loop: waits for data on any connection, decodes it, and passes it to the scenario.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use mio::event::Event;
use mio::{Events, Poll, Registry};

use super::clients::{ClientEvent, Clients, EventHandler, Stage};
use super::encoding::{Dialect, ServerMessage};
use super::inflate::Inflater;
use crate::wire::frame::{self, Frame};
use crate::wire::upgrade;

/// The maximum number of events that are handled in one turn.
const EVENTS: usize = 4_096;

/// The size of the read buffer, which also limits the length of a frame.
const BUFFER_BYTES: usize = 1 << 20;

/// The poll and the read buffer.
pub(super) struct EventLoop {
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    /// None until a compressed message comes.
    inflater: Option<Inflater>,
}

/// The result of handling a connection's bytes.
enum Progress {
    /// This number of bytes was handled.
    Taken(usize),
    /// The server has closed the connection.
    Closed,
}

impl EventLoop {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS),
            buffer: vec![0; BUFFER_BYTES],
            inflater: None,
        })
    }

    /// The registry of the poll, for new connections.
    pub(super) fn registry(&self) -> Result<Registry> {
        Ok(self.poll.registry().try_clone()?)
    }

    pub(super) fn turn(
        &mut self,
        clients: &mut Clients,
        wait: Duration,
        handler: &mut impl EventHandler,
    ) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        for event in &self.events {
            let client = event.token().0;
            if event.is_writable() {
                clients.can_write(client)?;
            }
            if event.is_readable() || is_over(event) {
                read(clients, client, is_over(event), (&mut self.buffer, &mut self.inflater), handler)?;
            }
        }
        Ok(())
    }
}

fn is_over(event: &Event) -> bool {
    event.is_read_closed() || event.is_error()
}

/// Reads all available bytes of a connection and handles its frames.
fn read(
    clients: &mut Clients,
    client: usize,
    is_over: bool,
    (buffer, inflater): (&mut [u8], &mut Option<Inflater>),
    handler: &mut impl EventHandler,
) -> Result<()> {
    while let Some(connection) = clients.connections.get_mut(client) {
        if connection.is_paused || connection.stage == Stage::Connecting {
            break;
        }
        let held = connection.rest.len();
        ensure!(held < buffer.len(), "a frame is longer than {BUFFER_BYTES} bytes");
        let count = match connection.stream.read(&mut buffer[held..]) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // The connection was reset.
            Err(_) => 0,
        };
        if count == 0 {
            return end(clients, client, handler);
        }
        buffer[..held].copy_from_slice(&connection.rest);
        connection.rest.clear();
        let whole = held + count;
        match take(clients, client, &buffer[..whole], inflater, handler)? {
            Progress::Closed => return end(clients, client, handler),
            Progress::Taken(taken) if taken < whole => {
                let connection =
                    clients.connections.get_mut(client).context("the connection was removed while it was read")?;
                connection.rest.extend_from_slice(&buffer[taken..whole]);
            }
            Progress::Taken(_) => {}
        }
        // A read that doesn't fill the buffer has read everything. If the connection is over, its end is still to be read.
        if whole < buffer.len() && !is_over {
            break;
        }
    }
    Ok(())
}

/// Removes a connection that the server has closed, and reports [`ClientEvent::Closed`].
fn end(clients: &mut Clients, client: usize, handler: &mut impl EventHandler) -> Result<()> {
    clients.connections.remove(client);
    handler.handle_event(clients, client, ClientEvent::Closed)
}

/// Handles all complete frames.
fn take(
    clients: &mut Clients,
    client: usize,
    bytes: &[u8],
    inflater: &mut Option<Inflater>,
    handler: &mut impl EventHandler,
) -> Result<Progress> {
    let mut taken = 0;
    if clients.connections[client].stage == Stage::Upgrading {
        let Some(head) = upgrade::head(bytes) else { return Ok(Progress::Taken(0)) };
        ensure!(upgrade::is_accepted(bytes), "the upgrade was refused: {}", String::from_utf8_lossy(&bytes[..head]));
        ensure!(
            upgrade::is_deflating(&bytes[..head]) == clients.deflates,
            "compression wasn't negotiated as it should be: {}",
            String::from_utf8_lossy(&bytes[..head])
        );
        clients.connections[client].stage = Stage::Open;
        taken = head;
        if clients.encoding.dialect == Dialect::Phoenix {
            handler.handle_event(clients, client, ClientEvent::Ready)?;
        }
    }
    while let Some(Frame { opcode, is_compressed, starts, ends, .. }) = Frame::first(&bytes[taken..])? {
        let mut payload = &bytes[taken + starts..taken + ends];
        taken += ends;
        if opcode == frame::TEXT {
            clients.last_frame = ends;
        }
        if is_compressed {
            payload = inflater.get_or_insert_with(Inflater::new).inflate(payload)?;
        }
        match opcode {
            frame::TEXT => handle_text(clients, client, payload, handler)?,
            frame::PING => clients.answer(client, frame::PONG, payload)?,
            // The server's answer to our close frame. It closes the connection next.
            frame::CLOSE if clients.connections[client].is_ending => {}
            frame::CLOSE => return Ok(Progress::Closed),
            _ => {}
        }
    }
    Ok(Progress::Taken(taken))
}

fn handle_text(clients: &mut Clients, client: usize, text: &[u8], handler: &mut impl EventHandler) -> Result<()> {
    match clients.encoding.decode(text) {
        ServerMessage::Event(ClientEvent::Message { event: b"phx_error", .. }) => bail!("a channel failed"),
        ServerMessage::Event(event) => handler.handle_event(clients, client, event),
        ServerMessage::Answer(answer) => clients.answer(client, frame::TEXT, answer),
        ServerMessage::Nothing => Ok(()),
    }
}
