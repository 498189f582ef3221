//! The loop: waits for what comes on any connection, takes it apart, and hands it on.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use mio::event::Event;
use mio::{Events, Poll, Registry};

use super::crowd::{Crowd, News, Play, Stage};
use super::words::{Dialect, Heard};
use crate::wire::frame::{self, Frame};
use crate::wire::upgrade;

/// Connections that are looked after in one turn.
const EVENTS: usize = 4_096;

/// What is read at once, and the longest frame.
const BUFFER_BYTES: usize = 1 << 20;

/// What waits, and what is read into.
pub(super) struct Pump {
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
}

/// How far a connection's bytes were taken in.
enum Progress {
    Taken(usize),
    /// The server has closed it.
    Closed,
}

impl Pump {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { poll: Poll::new()?, events: Events::with_capacity(EVENTS), buffer: vec![0; BUFFER_BYTES] })
    }

    /// Where connections are registered.
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

/// Reads all that there is on a connection.
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
            // It was reset.
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
                let line = crowd.lines.get_mut(who).context("a connection ends where it is read")?;
                line.rest.extend_from_slice(&buffer[taken..whole]);
            }
            Progress::Taken(_) => {}
        }
        // Less than was asked for is all that there was; but behind it may stand the end.
        if whole < buffer.len() && !is_over {
            break;
        }
    }
    Ok(())
}

/// A connection has ended, at the server's side too.
fn end(crowd: &mut Crowd, who: usize, play: &mut impl Play) -> Result<()> {
    crowd.lines.remove(who);
    play.hear(crowd, who, News::Closed)
}

/// Takes in what is whole.
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
            // The server's answer: it closes the connection now.
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
