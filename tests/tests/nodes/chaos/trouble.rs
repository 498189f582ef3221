//! What goes wrong in a round of a chaos run.

use std::time::Duration;

use anyhow::{Context, Result};
use bennu_test_tiers::Noise;
use bennu_tests::{PostgresServer, Relay, TestHost, Way, eventually};
use rustix::process::Signal;
use tokio::time::{sleep, timeout};

use crate::plan::{Plan, knows, state};

/// The names of the nodes.
pub(crate) const NAMES: [&str; 3] = ["one", "two", "three"];

/// The lease of the nodes in milliseconds.
const LEASE_MS: u64 = 3_000;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    /// A node is killed.
    Kill(usize),
    /// All nodes are killed at once.
    KillAll,
    /// A node stands still for a moment.
    Pause(usize),
    /// A node stands still until the others count it as dead.
    Freeze(usize),
    /// A node loses its way to the database for a moment.
    Hiccup(usize),
    /// A node loses its way to the database until the others count it as dead.
    CutOff(usize),
    /// All connections of a node to the database break.
    Break(usize),
    /// A node is stopped in order.
    Stop(usize),
    /// The database is killed, and starts again.
    Crash,
    /// The database stands still for a moment.
    Stall,
}

/// Three nodes, each with a way to the database that can be cut, behind a balancer.
pub(crate) struct Stage {
    server: PostgresServer,
    relays: Vec<Relay>,
    hosts: Vec<TestHost>,
    pub(crate) balancer: Relay,
}

impl Trouble {
    /// Chooses one.
    pub(crate) fn choose(noise: &mut Noise) -> Self {
        let node = noise.below(NAMES.len());
        match noise.below(10) {
            0 => Self::Kill(node),
            1 => Self::KillAll,
            2 => Self::Pause(node),
            3 => Self::Freeze(node),
            4 => Self::Hiccup(node),
            5 => Self::CutOff(node),
            6 => Self::Break(node),
            7 => Self::Stop(node),
            8 => Self::Crash,
            _ => Self::Stall,
        }
    }
}

impl Stage {
    pub(crate) async fn start() -> Result<Self> {
        let server = PostgresServer::start()?;
        server.database("chaos")?;
        let (mut relays, mut hosts) = (Vec::new(), Vec::new());
        for name in NAMES {
            let relay = Relay::start(&[server.port()]).await?;
            let url = format!("postgres://postgres@127.0.0.1:{}/chaos", relay.port());
            let plan = Plan::on(&url).guests(&["echo", "ledger", "chat"]).key("sticky = [\"room:*\"]");
            let plan = plan.key(&format!("lease_ms = {LEASE_MS}"));
            hosts.push(plan.start(name).await?);
            relays.push(relay);
        }
        let balancer = Relay::start(&ports(&hosts)).await?;
        Ok(Self { server, relays, hosts, balancer })
    }

    pub(crate) fn hosts(&self) -> &[TestHost] {
        &self.hosts
    }

    /// A moment that is shorter than the lease is for a node itself.
    async fn moment(noise: &mut Noise) {
        sleep(Duration::from_millis(noise.below(LEASE_MS as usize / 3) as u64)).await;
    }

    /// Waits until the other nodes count a node as dead.
    async fn is_dead(&self, node: usize) -> Result<()> {
        let other = (node + 1) % NAMES.len();
        knows(&self.hosts[other], NAMES[node], "dead").await
    }

    /// Lets something go wrong.
    pub(crate) async fn suffer(&mut self, trouble: Trouble, noise: &mut Noise) -> Result<()> {
        Self::moment(noise).await;
        match trouble {
            Trouble::Kill(node) => self.hosts[node].signal(Signal::KILL)?,
            Trouble::KillAll => self.hosts.iter().try_for_each(|host| host.signal(Signal::KILL))?,
            Trouble::Pause(node) => {
                self.hosts[node].signal(Signal::STOP)?;
                Self::moment(noise).await;
                self.hosts[node].signal(Signal::CONT)?;
            }
            Trouble::Freeze(node) => {
                self.hosts[node].signal(Signal::STOP)?;
                self.is_dead(node).await?;
                self.hosts[node].signal(Signal::CONT)?;
            }
            Trouble::Hiccup(node) => {
                self.relays[node].set(Way::Silent);
                Self::moment(noise).await;
                self.relays[node].set(Way::Open);
            }
            Trouble::CutOff(node) => {
                self.relays[node].set(Way::Silent);
                self.is_dead(node).await?;
                self.relays[node].set(Way::Open);
            }
            Trouble::Break(node) => {
                self.relays[node].set(Way::Cut);
                Self::moment(noise).await;
                self.relays[node].set(Way::Open);
            }
            Trouble::Stop(node) => self.hosts[node].signal(Signal::TERM)?,
            Trouble::Crash => {
                self.server.kill()?;
                Self::moment(noise).await;
                self.server.start_again()?;
            }
            Trouble::Stall => {
                self.server.pause(true)?;
                Self::moment(noise).await;
                self.server.pause(false)?;
            }
        }
        Self::moment(noise).await;
        Ok(())
    }

    /// Starts the nodes again that have ended, until all are there and hear each other. Returns how many were started.
    pub(crate) async fn recover(&mut self) -> Result<usize> {
        let mut started = 0;
        eventually("all nodes hear each other", async || {
            started += self.start_ended().await?;
            self.balancer.redirect(&ports(&self.hosts));
            Ok(self.hear_each_other().await.then_some(()))
        })
        .await?;
        Ok(started)
    }

    async fn start_ended(&mut self) -> Result<usize> {
        let mut started = 0;
        for (node, name) in NAMES.iter().enumerate() {
            let host = &mut self.hosts[node];
            // A process that has ended is noticed at the first look.
            if timeout(Duration::from_millis(1), host.ended()).await.is_ok() {
                let host = self.hosts.remove(node);
                let again = host.start_again().await;
                self.hosts.insert(node, again.with_context(|| format!("starting {name} again"))?);
                started += 1;
            }
        }
        Ok(started)
    }

    /// Whether each node is up for each other one. A node that has just died doesn't answer.
    async fn hear_each_other(&self) -> bool {
        for (host, own) in self.hosts.iter().zip(NAMES) {
            for other in NAMES {
                let wanted = if other == own { "own" } else { "up" };
                if !state(host, other).await.is_ok_and(|state| state == wanted) {
                    return false;
                }
            }
        }
        true
    }
}

fn ports(hosts: &[TestHost]) -> Vec<u16> {
    hosts.iter().map(|host| host.address().port()).collect()
}
