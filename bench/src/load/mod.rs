//! Thousands of clients on one thread. They need little CPU time compared with the measured server: one poll for all, one
//! read buffer, one write buffer, and no allocation for a message.

mod clients;
mod drive;
mod encoding;
mod enter;
mod event_loop;
mod inflate;
mod rate;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

pub(crate) use clients::{ClientEvent, Clients, EventHandler};
pub(crate) use drive::{Generator, Measurement, drive};
pub(crate) use encoding::{ClientMessage, Dialect, Encoding};
pub(crate) use enter::{connect, join};
use event_loop::EventLoop;
pub(crate) use rate::Rate;

/// The clients of one server.
pub(crate) struct Load {
    pub(crate) clients: Clients,
    event_loop: EventLoop,
}

impl Load {
    pub(crate) fn new(address: SocketAddr, encoding: Encoding) -> Result<Self> {
        Self::with(address, encoding, false)
    }

    /// Clients that negotiate compression. They compress no messages themselves.
    pub(crate) fn deflating(address: SocketAddr, encoding: Encoding) -> Result<Self> {
        Self::with(address, encoding, true)
    }

    fn with(address: SocketAddr, encoding: Encoding, deflates: bool) -> Result<Self> {
        let event_loop = EventLoop::new()?;
        Ok(Self { clients: Clients::new(address, encoding, deflates, event_loop.registry()?), event_loop })
    }

    /// Waits for events, for `wait` at most, and passes them to `handler`.
    pub(crate) fn turn(&mut self, wait: Duration, handler: &mut impl EventHandler) -> Result<()> {
        self.event_loop.turn(&mut self.clients, wait, handler)
    }
}
