//! A connection of the floor.

use std::io::{self, Read, Write};
use std::net::Shutdown;

use mio::net::TcpStream;

use crate::wire::phoenix::Message;
use crate::wire::{frame, upgrade};

/// More than that unsent ends a connection.
const UNSENT_BYTES: usize = 4 << 20;

/// One client.
pub(super) struct Connection {
    stream: TcpStream,
    pub(super) is_upgraded: bool,
    /// The topics that it has joined, by their numbers.
    pub(super) joined: Vec<usize>,
    /// It is sent to at the turn's end.
    pub(super) is_waiting: bool,
    /// The beginning of a frame whose end hasn't come.
    rest: Vec<u8>,
    pub(super) unsent: Vec<u8>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        let (joined, rest, unsent) = (Vec::new(), Vec::new(), Vec::new());
        Self { stream, is_upgraded: false, joined, is_waiting: false, rest, unsent }
    }

    /// Reads behind what was kept. Tells how much there is now, which is none where the connection has ended.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let kept = self.rest.len();
        if kept >= buffer.len() {
            return Ok(0);
        }
        let read = self.stream.read(&mut buffer[kept..])?;
        if read == 0 {
            return Ok(0);
        }
        buffer[..kept].copy_from_slice(&self.rest);
        self.rest = Vec::new();
        Ok(kept + read)
    }

    /// Keeps what isn't whole for the next time.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        self.rest = bytes.to_vec();
    }

    /// Answers the request that begins everything, once all of it is there. Tells its length; none if it is no such request.
    pub(super) fn upgrade(&mut self, bytes: &[u8]) -> Option<Option<usize>> {
        let Some(head) = upgrade::head(bytes) else { return Some(None) };
        upgrade::accept(&bytes[..head], &mut self.unsent)?;
        self.is_upgraded = true;
        Some(Some(head))
    }

    /// Answers a message with its own payload.
    pub(super) fn reply(&mut self, to: &Message<'_>, text: &mut Vec<u8>) {
        text.clear();
        Message { event: b"phx_reply", payload: b"", ..*to }.write(text);
        // What ends it comes behind the payload.
        text.pop();
        text.extend_from_slice(b"{\"status\":\"ok\",\"response\":");
        text.extend_from_slice(to.payload);
        text.extend_from_slice(b"}]");
        frame::write(frame::TEXT, text, &mut self.unsent);
    }

    pub(super) fn tell(&mut self, message: &Message<'_>, text: &mut Vec<u8>) {
        text.clear();
        message.write(text);
        frame::write(frame::TEXT, text, &mut self.unsent);
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Sends what is its own.
    pub(super) fn send(&mut self) {
        let sent = write(&mut self.stream, &self.unsent);
        if sent == self.unsent.len() {
            // Most connections have nothing most of the time, and so they hold nothing.
            self.unsent = Vec::new();
        } else {
            self.unsent.drain(..sent);
            self.bound();
        }
    }

    /// Sends what others are sent too. It has nothing of its own to send.
    pub(super) fn send_shared(&mut self, frames: &[u8]) {
        let sent = write(&mut self.stream, frames);
        if sent < frames.len() {
            self.unsent.extend_from_slice(&frames[sent..]);
            self.bound();
        }
    }

    fn bound(&mut self) {
        if self.unsent.len() > UNSENT_BYTES {
            self.unsent = Vec::new();
            // Its end is then read. Where this fails, it has ended already.
            let _ = self.stream.shutdown(Shutdown::Both);
        }
    }
}

/// How much of it the connection took. One that has ended takes all: its end is heard of when it is read.
fn write(stream: &mut TcpStream, bytes: &[u8]) -> usize {
    match stream.write(bytes) {
        Ok(sent) => sent,
        Err(error) if [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted].contains(&error.kind()) => 0,
        Err(_) => bytes.len(),
    }
}
