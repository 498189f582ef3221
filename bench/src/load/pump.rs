//! The event loop: waits for data on any connection, decodes it, and passes it to the scenario.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use mio::event::Event;
use mio::{Events, Poll, Registry};

use super::crowd::{Crowd, News, Play, Stage};
use super::words::{Dialect, Heard};
use crate::wire::frame::{self, Frame};
use crate::wire::upgrade;

/// The maximum number of events that are handled in one turn.
const EVENTS: usize = 4_096;

/// The size of the read buffer, which also limits the length of a frame.
const BUFFER_BYTES: usize = 1 << 20;

/// The poll and the read buffer.
pub(super) struct Pump {
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
}

/// The result of handling a connection's bytes.
enum Progress {
    /// This number of bytes was handled.
    Taken(usize),
    /// The server has closed the connection.
    Closed,
}

impl Pump {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { poll: Poll::new()?, events: Events::with_capacity(EVENTS), buffer: vec![0; BUFFER_BYTES] })
    }

    /// The registry of the poll, for new connections.
    pub(super) fn registry(&self) -> Result<Registry> {
        Ok(self.poll.registry().try_clone()?)
    }

    pub(super) fn turn(&mut self, crowd: &mut Crowd, wait: Duration, play: &mut impl Play) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        for event in &self.events {
            let who = event.token().0;
            if event.is_writable() {
                crowd.can_write(who)?;
            }
            if event.is_readable() || is_over(event) {
                read(crowd, who, is_over(event), &mut self.buffer, play)?;
            }
        }
        Ok(())
    }
}

fn is_over(event: &Event) -> bool {
    event.is_read_closed() || event.is_error()
}

/// Reads all available bytes of a connection and handles its frames.
fn read(crowd: &mut Crowd, who: usize, is_over: bool, buffer: &mut [u8], play: &mut impl Play) -> Result<()> {
    while let Some(line) = crowd.lines.get_mut(who) {
        if line.is_deaf || line.stage == Stage::Connecting {
            break;
        }
        let held = line.rest.len();
        ensure!(held < buffer.len(), "a frame is longer than {BUFFER_BYTES} bytes");
        let count = match line.stream.read(&mut buffer[held..]) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // The connection was reset.
            Err(_) => 0,
        };
        if count == 0 {
            return end(crowd, who, play);
        }
        buffer[..held].copy_from_slice(&line.rest);
        line.rest.clear();
        let whole = held + count;
        match take(crowd, who, &buffer[..whole], play)? {
            Progress::Closed => return end(crowd, who, play),
            Progress::Taken(taken) if taken < whole => {
                let line = crowd.lines.get_mut(who).context("the connection was removed while it was read")?;
                line.rest.extend_from_slice(&buffer[taken..whole]);
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

/// Removes a connection that the server has closed, and reports [`News::Closed`].
fn end(crowd: &mut Crowd, who: usize, play: &mut impl Play) -> Result<()> {
    crowd.lines.remove(who);
    play.hear(crowd, who, News::Closed)
}

/// Handles all complete frames.
fn take(crowd: &mut Crowd, who: usize, bytes: &[u8], play: &mut impl Play) -> Result<Progress> {
    let mut taken = 0;
    if crowd.lines[who].stage == Stage::Upgrading {
        let Some(head) = upgrade::head(bytes) else { return Ok(Progress::Taken(0)) };
        ensure!(upgrade::is_accepted(bytes), "the upgrade was refused: {}", String::from_utf8_lossy(&bytes[..head]));
        crowd.lines[who].stage = Stage::Open;
        taken = head;
        if crowd.words.dialect == Dialect::Phoenix {
            play.hear(crowd, who, News::Ready)?;
        }
    }
    while let Some(Frame { opcode, starts, ends, .. }) = Frame::first(&bytes[taken..])? {
        let payload = &bytes[taken + starts..taken + ends];
        taken += ends;
        match opcode {
            frame::TEXT => hear(crowd, who, payload, play)?,
            frame::PING => crowd.answer(who, frame::PONG, payload)?,
            // The server's answer to our close frame. It closes the connection next.
            frame::CLOSE if crowd.lines[who].is_ending => {}
            frame::CLOSE => return Ok(Progress::Closed),
            _ => {}
        }
    }
    Ok(Progress::Taken(taken))
}

fn hear(crowd: &mut Crowd, who: usize, text: &[u8], play: &mut impl Play) -> Result<()> {
    match crowd.words.understand(text) {
        Heard::News(News::Event { event: b"phx_error", .. }) => bail!("a channel failed"),
        Heard::News(news) => play.hear(crowd, who, news),
        Heard::Answer(answer) => crowd.answer(who, frame::TEXT, answer),
        Heard::Nothing => Ok(()),
    }
}
