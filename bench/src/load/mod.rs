//! Thousands of clients on one thread. They need little CPU time compared with the measured server: one poll for all, one
//! read buffer, one write buffer, and no allocation for a message.

mod crowd;
mod drive;
mod enter;
mod pace;
mod pump;
mod words;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

pub(crate) use crowd::{Crowd, News, Play};
pub(crate) use drive::{Driven, Taken, drive};
pub(crate) use enter::{connect, join};
pub(crate) use pace::Pace;
use pump::Pump;
pub(crate) use words::{Dialect, Say, Words};

/// The clients of one server.
pub(crate) struct Load {
    pub(crate) crowd: Crowd,
    pump: Pump,
}

impl Load {
    pub(crate) fn new(address: SocketAddr, words: Words) -> Result<Self> {
        let pump = Pump::new()?;
        Ok(Self { crowd: Crowd::new(address, words, pump.registry()?), pump })
    }

    /// Waits for events, for `wait` at most, and passes them to `play`.
    pub(crate) fn turn(&mut self, wait: Duration, play: &mut impl Play) -> Result<()> {
        self.pump.turn(&mut self.crowd, wait, play)
    }
}
