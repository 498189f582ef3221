//! Clients that get the diffs of a window, and states in between, end with the server's list.

use std::time::{Duration, Instant};

use super::client::{self, Client};
use super::*;
use crate::presence::{Offer, Pace, Window};

const MS: Duration = Duration::from_millis(1);

/// One topic of a node, with the replica of another node, and its clients.
struct Server {
    state: State,
    remote: State,
    pace: Pace,
    window: Window,
    flush_at: Option<Instant>,
    now: Instant,
    clients: Vec<Client>,
    /// The first states after a join that were read and not sent yet.
    read: Vec<(usize, String)>,
    diffs_made: usize,
}

impl Server {
    fn new(pace: Pace) -> Self {
        let (mut state, now) = (State::new(replica("a")), Instant::now());
        state.up(&replica("b"));
        let window = Window::new(now, &pace);
        let (remote, clients) = (State::new(replica("b")), (0..4).map(|_| Client::default()).collect());
        Self { state, remote, pace, window, flush_at: None, now, clients, read: Vec::new(), diffs_made: 0 }
    }

    fn step(&mut self, random: &mut Random) {
        let client = random.below(self.clients.len());
        match random.below(16) {
            0..8 => {
                let change = operate(&mut self.state, random);
                self.offer(&change.diffs);
            }
            8 => {
                let change = operate(&mut self.remote, random);
                let diffs = self.state.merge(&change.delta);
                self.offer(&diffs);
            }
            9 => {
                let up_or_down = if random.one_in(2) { State::up } else { State::down };
                let diffs = up_or_down(&mut self.state, &replica("b"));
                self.offer(&diffs);
            }
            // The first state is read at one time and sent at another. A client of phoenix.js that drops out between
            // its join and the state keeps old diffs for ever. The server can't change that.
            10 if self.clients[client].is_synced() => self.clients[client].join(),
            10 | 11 if self.read.iter().all(|(reader, _)| *reader != client) && !self.clients[client].is_synced() => {
                self.read.push((client, text(self.state.payload(&topic()))));
            }
            12 if !self.read.is_empty() => {
                let (reader, state) = self.read.swap_remove(random.below(self.read.len()));
                self.clients[reader].on_state(&state);
            }
            // A further state is sent at the moment when it is read.
            13 if self.clients[client].is_synced() => {
                let state = text(self.state.payload(&topic()));
                self.clients[client].on_state(&state);
            }
            _ => self.pass(MS * random.below(60) as u32),
        }
    }

    fn offer(&mut self, diffs: &Diffs) {
        let Some(diff) = diffs.get(&topic()) else { return };
        self.diffs_made += 1;
        match self.window.offer(diff.clone(), self.now, &self.pace) {
            Offer::Send(diff) => self.send(&diff),
            Offer::Flush(at) => assert!(self.flush_at.replace(at).is_none()),
            Offer::Wait => assert!(self.flush_at.is_some()),
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        if let Some(at) = self.flush_at.take_if(|at| *at <= self.now) {
            let waiting = self.window.flush(at, &self.pace);
            waiting.iter().for_each(|diff| self.send(diff));
        }
    }

    fn send(&mut self, diff: &Diff) {
        let payload = text(diff.payload());
        self.clients.iter_mut().for_each(|client| client.on_diff(&payload));
    }

    /// Delivers all pending states and diffs.
    fn settle(&mut self) {
        for client in 0..self.clients.len() {
            if !self.clients[client].is_synced() && self.read.iter().all(|(reader, _)| *reader != client) {
                self.read.push((client, text(self.state.payload(&topic()))));
            }
        }
        for (client, state) in std::mem::take(&mut self.read) {
            self.clients[client].on_state(&state);
        }
        self.pass(self.pace.window);
    }
}

#[test]
fn every_client_ends_with_the_servers_list() {
    let paces = [(8, 100), (2, 100), (1, 300), (0, 50), (8, 0)].map(|(burst, ms)| Pace { burst, window: MS * ms });
    for mut random in Random::runs(20) {
        for pace in paces {
            let mut server = Server::new(pace);
            for _ in 0..10 {
                for _ in 0..60 {
                    server.step(&mut random);
                }
                server.settle();
                let expected = client::list(&parsed(&text(server.state.payload(&topic()))));
                for client in &server.clients {
                    assert_eq!(client.list(), expected, "{pace:?}");
                }
            }
            assert!(server.diffs_made > 50, "too few diffs were made");
        }
    }
}
