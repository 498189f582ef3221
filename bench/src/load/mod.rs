//! The clients, thousands of them on one thread, so that they cost little beside the server that they measure: one poll for all,
//! one buffer to read into, one to write from, and nothing allocated for a message.

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

/// Clients of one server.
pub(crate) struct Load {
    pub(crate) crowd: Crowd,
    pump: Pump,
}

impl Load {
    pub(crate) fn new(address: SocketAddr, words: Words) -> Result<Self> {
        let pump = Pump::new()?;
        Ok(Self { crowd: Crowd::new(address, words, pump.registry()?), pump })
    }

    /// Takes in what has come, or waits for it, and lets it be answered.
    pub(crate) fn turn(&mut self, wait: Duration, play: &mut impl Play) -> Result<()> {
        self.pump.turn(&mut self.crowd, wait, play)
    }
}
