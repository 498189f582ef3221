//! The floor: the least that a server can need for the same traffic. It has one thread, no plugins, one frame that all
//! receivers share, and one send for each connection and turn. The costs of other servers are compared with it.

mod connection;
mod topics;

use std::io::ErrorKind;
use std::net::SocketAddr;

use anyhow::Result;
use clap::Args;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::wire::frame;
use crate::wire::phoenix::Message;
use connection::Connection;
use topics::Topics;

/// Serve the same traffic with the least work, so that other servers can be compared with it
#[derive(Args)]
pub(crate) struct Floor {
    /// The address to listen on; port 0 takes a free port
    #[arg(long, default_value = "127.0.0.1:4300")]
    listen: SocketAddr,
}

const LISTENER: Token = Token(usize::MAX);

/// The maximum number of events that are handled in one turn.
const EVENTS: usize = 4_096;

/// The size of the read buffer.
const BUFFER_BYTES: usize = 64 << 10;

/// The server: its connections, their topics, and the frames that this turn sends.
struct MinimalServer {
    poll: Poll,
    listener: TcpListener,
    connections: Slab<Connection>,
    topics: Topics,
    /// The connections with unsent frames of their own.
    waiting: Vec<usize>,
    /// A buffer for the message that is being written.
    text: Vec<u8>,
}

impl Floor {
    pub(crate) fn run(&self) -> Result<()> {
        let mut server = MinimalServer::open(self.listen)?;
        println!("Listening on http://{}", server.listener.local_addr()?);
        server.run()
    }
}

impl MinimalServer {
    fn open(address: SocketAddr) -> Result<Self> {
        let (poll, mut listener) = (Poll::new()?, TcpListener::bind(address)?);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let (connections, topics) = (Slab::new(), Topics::default());
        Ok(Self { poll, listener, connections, topics, waiting: Vec::new(), text: Vec::new() })
    }

    fn run(&mut self) -> Result<()> {
        let (mut events, mut buffer) = (Events::with_capacity(EVENTS), vec![0; BUFFER_BYTES]);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    Token(client) => {
                        if event.is_writable() {
                            self.can_write(client);
                        }
                        self.read(client, event.is_read_closed() || event.is_error(), &mut buffer);
                    }
                }
            }
            self.send();
        }
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            stream.set_nodelay(true)?;
            let entry = self.connections.vacant_entry();
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(entry.key()), interest)?;
            entry.insert(Connection::new(stream));
        }
    }

    fn can_write(&mut self, client: usize) {
        if self.connections.get(client).is_some_and(Connection::has_unsent) {
            wait(&mut self.connections[client], client, &mut self.waiting);
        }
    }

    /// Reads all available bytes of a connection and handles its messages.
    fn read(&mut self, client: usize, is_over: bool, buffer: &mut [u8]) {
        while let Some(connection) = self.connections.get_mut(client) {
            match connection.read(buffer) {
                Ok(0) => return self.remove(client),
                Ok(whole) => {
                    let bytes = &mut buffer[..whole];
                    let Some(taken) = self.take(client, bytes) else { return self.remove(client) };
                    if taken < whole {
                        self.connections[client].keep(&bytes[taken..]);
                    }
                    // A read that doesn't fill the buffer has read everything. If the connection is over, its end is still
                    // to be read.
                    if whole < buffer.len() && !is_over {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.remove(client),
            }
        }
    }

    /// Handles all complete frames and returns the number of bytes that they have. `None` means that the connection has to
    /// be closed.
    fn take(&mut self, client: usize, bytes: &mut [u8]) -> Option<usize> {
        let mut taken = 0;
        let connection = &mut self.connections[client];
        if !connection.is_upgraded {
            let Some(head) = connection.upgrade(bytes)? else { return Some(0) };
            wait(connection, client, &mut self.waiting);
            taken = head;
        }
        while let Some(frame) = frame::Frame::first(&bytes[taken..]).ok()? {
            let payload = frame.unmask(&mut bytes[taken..]);
            match frame.opcode {
                frame::TEXT => self.handle_message(client, payload)?,
                frame::CLOSE => {
                    let connection = &mut self.connections[client];
                    frame::write(frame::CLOSE, payload, &mut connection.unsent);
                    connection.send();
                    return None;
                }
                _ => {}
            }
            taken += frame.ends;
        }
        Some(taken)
    }

    /// Handles a message. `None` means that the connection has to be closed.
    fn handle_message(&mut self, client: usize, text: &[u8]) -> Option<()> {
        let message = Message::read(text)?;
        match message.event {
            b"shout" => {
                self.text.clear();
                Message { join_reference: b"", reference: b"", ..message }.write(&mut self.text);
                self.topics.shout(message.topic, &self.text);
                return Some(());
            }
            b"phx_join" => self.connections[client].joined.push(self.topics.join(message.topic, client)),
            b"phx_leave" => self.leave(client, message.topic),
            _ => {}
        }
        let (connection, text) = (&mut self.connections[client], &mut self.text);
        connection.reply(&message, text);
        if message.event == b"phx_leave" {
            let end = Message { reference: message.join_reference, event: b"phx_close", payload: b"{}", ..message };
            connection.tell(&end, text);
        }
        wait(connection, client, &mut self.waiting);
        Some(())
    }

    fn leave(&mut self, client: usize, topic: &[u8]) {
        let Some(topic) = self.topics.number(topic) else { return };
        self.topics.leave(topic, client);
        self.connections[client].joined.retain(|joined| *joined != topic);
    }

    fn remove(&mut self, client: usize) {
        for topic in self.connections.remove(client).joined {
            self.topics.leave(topic, client);
        }
    }

    /// Ends the turn: sends the frames of the turn to all connections.
    fn send(&mut self) {
        let Self { connections, topics, waiting, .. } = self;
        topics.hand_out(|client, frames| {
            let connection = &mut connections[client];
            if connection.is_waiting || connection.has_unsent() {
                // The shared frames are sent after its own.
                connection.unsent.extend_from_slice(frames);
                wait(connection, client, waiting);
            } else {
                connection.send_shared(frames);
            }
        });
        for client in waiting.drain(..) {
            // The connection may have ended meanwhile. If another one has its number now, that one has nothing to send.
            if let Some(connection) = connections.get_mut(client) {
                connection.is_waiting = false;
                connection.send();
            }
        }
    }
}

/// Marks a connection to be sent to at the end of the turn.
fn wait(connection: &mut Connection, client: usize, waiting: &mut Vec<usize>) {
    if !connection.is_waiting {
        connection.is_waiting = true;
        waiting.push(client);
    }
}

#[cfg(test)]
mod tests;
