//! The floor: the least that a server can do for the same traffic. One thread, no plugins, one frame for all that get it, one
//! send for each connection and turn. What a server takes beyond it is its own.

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

/// Serve as little as a server can, to measure others by
#[derive(Args)]
pub(crate) struct Floor {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:4300")]
    listen: SocketAddr,
}

const LISTENER: Token = Token(usize::MAX);

/// Connections that are looked after in one turn.
const EVENTS: usize = 4_096;

/// What is read at once.
const BUFFER_BYTES: usize = 64 << 10;

/// Connections, what they have joined, and what this turn has for them.
struct House {
    poll: Poll,
    listener: TcpListener,
    connections: Slab<Connection>,
    topics: Topics,
    /// Those with something to be sent of their own.
    waiting: Vec<usize>,
    /// The message that is being written.
    text: Vec<u8>,
}

impl Floor {
    pub(crate) fn run(&self) -> Result<()> {
        let mut house = House::open(self.listen)?;
        println!("Listening on http://{}", house.listener.local_addr()?);
        house.run()
    }
}

impl House {
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
                    Token(who) => {
                        if event.is_writable() {
                            self.can_write(who);
                        }
                        self.read(who, event.is_read_closed() || event.is_error(), &mut buffer);
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

    fn can_write(&mut self, who: usize) {
        if self.connections.get(who).is_some_and(Connection::has_unsent) {
            wait(&mut self.connections[who], who, &mut self.waiting);
        }
    }

    /// Reads all that there is on a connection, and does what it asks for.
    fn read(&mut self, who: usize, is_over: bool, buffer: &mut [u8]) {
        while let Some(connection) = self.connections.get_mut(who) {
            match connection.read(buffer) {
                Ok(0) => return self.remove(who),
                Ok(whole) => {
                    let bytes = &mut buffer[..whole];
                    let Some(taken) = self.take(who, bytes) else { return self.remove(who) };
                    if taken < whole {
                        self.connections[who].keep(&bytes[taken..]);
                    }
                    // Less than was asked for is all that there was; but behind it may stand the end.
                    if whole < buffer.len() && !is_over {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.remove(who),
            }
        }
    }

    /// Takes in what is whole. None ends the connection.
    fn take(&mut self, who: usize, bytes: &mut [u8]) -> Option<usize> {
        let mut taken = 0;
        let connection = &mut self.connections[who];
        if !connection.is_upgraded {
            let Some(head) = connection.upgrade(bytes)? else { return Some(0) };
            wait(connection, who, &mut self.waiting);
            taken = head;
        }
        while let Some(frame) = frame::Frame::first(&bytes[taken..]).ok()? {
            let payload = frame.unmask(&mut bytes[taken..]);
            match frame.opcode {
                frame::TEXT => self.hear(who, payload)?,
                frame::CLOSE => {
                    let connection = &mut self.connections[who];
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

    /// Does what a message asks for. None ends the connection.
    fn hear(&mut self, who: usize, text: &[u8]) -> Option<()> {
        let message = Message::read(text)?;
        match message.event {
            b"shout" => {
                self.text.clear();
                Message { join_reference: b"", reference: b"", ..message }.write(&mut self.text);
                self.topics.shout(message.topic, &self.text);
                return Some(());
            }
            b"phx_join" => self.connections[who].joined.push(self.topics.join(message.topic, who)),
            b"phx_leave" => self.leave(who, message.topic),
            _ => {}
        }
        let (connection, text) = (&mut self.connections[who], &mut self.text);
        connection.reply(&message, text);
        if message.event == b"phx_leave" {
            let end = Message { reference: message.join_reference, event: b"phx_close", payload: b"{}", ..message };
            connection.tell(&end, text);
        }
        wait(connection, who, &mut self.waiting);
        Some(())
    }

    fn leave(&mut self, who: usize, topic: &[u8]) {
        let Some(topic) = self.topics.number(topic) else { return };
        self.topics.leave(topic, who);
        self.connections[who].joined.retain(|joined| *joined != topic);
    }

    fn remove(&mut self, who: usize) {
        for topic in self.connections.remove(who).joined {
            self.topics.leave(topic, who);
        }
    }

    /// Ends the turn: everybody is sent what there is for them.
    fn send(&mut self) {
        let Self { connections, topics, waiting, .. } = self;
        topics.hand_out(|who, frames| {
            let connection = &mut connections[who];
            if connection.is_waiting || connection.has_unsent() {
                // Behind its own.
                connection.unsent.extend_from_slice(frames);
                wait(connection, who, waiting);
            } else {
                connection.send_shared(frames);
            }
        });
        for who in waiting.drain(..) {
            // It may have gone meanwhile, and another come in its place, which then has nothing to send.
            if let Some(connection) = connections.get_mut(who) {
                connection.is_waiting = false;
                connection.send();
            }
        }
    }
}

/// Has a connection sent to at the turn's end.
fn wait(connection: &mut Connection, who: usize, waiting: &mut Vec<usize>) {
    if !connection.is_waiting {
        connection.is_waiting = true;
        waiting.push(who);
    }
}

#[cfg(test)]
mod tests;
