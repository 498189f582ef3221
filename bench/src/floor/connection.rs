//! A connection of the floor.

use std::io::{self, Read, Write};
use std::net::Shutdown;

use mio::net::TcpStream;

use crate::wire::phoenix::Message;
use crate::wire::{frame, upgrade};

/// A connection with more unsent bytes than this is closed.
const UNSENT_BYTES: usize = 4 << 20;

/// One client.
pub(super) struct Connection {
    stream: TcpStream,
    pub(super) is_upgraded: bool,
    /// The numbers of the topics that the client has joined.
    pub(super) joined: Vec<usize>,
    /// Whether the connection is in the list of those that are sent to at the end of the turn.
    pub(super) is_waiting: bool,
    /// The beginning of a frame that hasn't arrived completely.
    rest: Vec<u8>,
    pub(super) unsent: Vec<u8>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        let (joined, rest, unsent) = (Vec::new(), Vec::new(), Vec::new());
        Self { stream, is_upgraded: false, joined, is_waiting: false, rest, unsent }
    }

    /// Reads into `buffer`, after the bytes that were kept. Returns the number of bytes that are now in `buffer`; 0 means
    /// that the connection has ended.
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

    /// Keeps an incomplete frame until the next read.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        self.rest = bytes.to_vec();
    }

    /// Answers the WebSocket handshake when it has arrived completely. Returns `Some(Some(length))` of the answered
    /// request, `Some(None)` if the request is incomplete, and `None` if it isn't a handshake.
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
        // The closing bracket of the message has to follow the payload.
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

    /// Sends the frames that only this connection gets.
    pub(super) fn send(&mut self) {
        let sent = write(&mut self.stream, &self.unsent);
        if sent == self.unsent.len() {
            // Frees the memory, because most connections have nothing to send most of the time.
            self.unsent = Vec::new();
        } else {
            self.unsent.drain(..sent);
            self.bound();
        }
    }

    /// Sends frames that other connections get too. The connection must have no unsent frames of its own.
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
            // The next read then returns the end of the connection. An error means that the connection has already ended.
            let _ = self.stream.shutdown(Shutdown::Both);
        }
    }
}

/// Writes to the connection and returns the number of bytes that it accepted. For a connection that has ended, this is the
/// whole length: the next read reports the end.
fn write(stream: &mut TcpStream, bytes: &[u8]) -> usize {
    match stream.write(bytes) {
        Ok(sent) => sent,
        Err(error) if [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted].contains(&error.kind()) => 0,
        Err(_) => bytes.len(),
    }
}
