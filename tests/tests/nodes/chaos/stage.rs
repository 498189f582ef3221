//! Three nodes with their servers, and what can be done to them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bennu_test_tiers::Noise;
use bennu_tests::{NatsServer, PostgresServer, Relay, TestHost, Way, eventually, get};
use rustix::process::Signal;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::clients::{ROOM, resident};
use super::lag::Lag;
use super::trouble::Trouble;
use crate::plan::{Plan, knows, lease_ms, readiness, state};

/// The names of the nodes.
pub(crate) const NAMES: [&str; 3] = ["one", "two", "three"];

/// How long after the lease of a dead node its presences may still be there.
const LEAVE_MAX: Duration = Duration::from_secs(2);

/// Three nodes behind a balancer, each with ways to the database and to the bus that can be cut.
pub(crate) struct Stage {
    postgres: PostgresServer,
    /// The server of the bus, if that isn't PostgreSQL.
    nats: Option<NatsServer>,
    to_postgres: Vec<Relay>,
    to_nats: Vec<Relay>,
    hosts: Vec<TestHost>,
    balancer: Relay,
    pub(crate) lag: Lag,
    /// The longest time from the death of a node until its presences had left.
    pub(crate) longest_leave: Duration,
}

impl Stage {
    pub(crate) async fn start(nats: Option<NatsServer>) -> Result<Self> {
        let postgres = PostgresServer::start()?;
        postgres.database("chaos")?;
        let (mut to_postgres, mut to_nats, mut hosts) = (Vec::new(), Vec::new(), Vec::new());
        for name in NAMES {
            let relay = Relay::start(&[postgres.port()]).await?;
            let url = format!("postgres://postgres@127.0.0.1:{}/chaos", relay.port());
            let mut plan = Plan::on(&url).guests(&["echo", "ledger", "chat"]).key("sticky = [\"room:*\"]").lease();
            to_postgres.push(relay);
            if let Some(server) = &nats {
                let relay = Relay::start(&[server.port()]).await?;
                plan = plan.key(&format!("bus = {{ nats = \"nats://127.0.0.1:{}\" }}", relay.port()));
                to_nats.push(relay);
            }
            hosts.push(plan.start(name).await?);
        }
        let balancer = Relay::start(&ports(&hosts)).await?;
        let (lag, longest_leave) = (Lag::watch(), Duration::ZERO);
        Ok(Self { postgres, nats, to_postgres, to_nats, hosts, balancer, lag, longest_leave })
    }

    pub(crate) fn hosts(&self) -> &[TestHost] {
        &self.hosts
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.hosts.iter().map(TestHost::address).collect()
    }

    pub(crate) fn balancer(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.balancer.port()).into()
    }

    /// Whether the bus has a server of its own.
    pub(crate) fn has_bus(&self) -> bool {
        self.nats.is_some()
    }

    /// A moment that is shorter than the lease is for a node itself.
    async fn moment(noise: &mut Noise) {
        sleep(Duration::from_millis(noise.below(lease_ms() as usize / 3) as u64)).await;
    }

    /// Sets what becomes of all connections of a node.
    fn set(&self, node: usize, way: Way) {
        for relay in [&self.to_postgres, &self.to_nats].into_iter().filter_map(|relays| relays.get(node)) {
            relay.set(way);
        }
    }

    /// Waits until the others count a node as dead and none of its presences is left.
    ///
    /// # Errors
    /// If that takes longer than its lease and [`LEAVE_MAX`], since it began to be silent.
    async fn dies(&mut self, node: usize, silent: Instant, late: Duration) -> Result<()> {
        let user = resident(node);
        for other in (0..NAMES.len()).filter(|other| *other != node) {
            let host = &self.hosts[other];
            knows(host, NAMES[node], "dead").await?;
            eventually("the presence of a dead node has left", async || {
                Ok(presences(host).await?.iter().all(|(present, _)| *present != user).then_some(()))
            })
            .await?;
        }
        let (took, late) = (silent.elapsed(), self.lag.sum() - late);
        self.longest_leave = self.longest_leave.max(took.saturating_sub(late));
        let allowed = Duration::from_millis(lease_ms()) + LEAVE_MAX + late;
        ensure!(took <= allowed, "the presence of a dead node left after {took:.2?}, and the promise is {allowed:.2?}");
        Ok(())
    }

    /// Lets something go wrong.
    pub(crate) async fn suffer(&mut self, trouble: Trouble, noise: &mut Noise) -> Result<()> {
        Self::moment(noise).await;
        let (began, late) = (Instant::now(), self.lag.sum());
        match trouble {
            Trouble::Kill(node) => self.hosts[node].signal(Signal::KILL)?,
            Trouble::Lose(node) => {
                self.hosts[node].signal(Signal::KILL)?;
                self.dies(node, began, late).await?;
            }
            Trouble::KillAll => self.hosts.iter().try_for_each(|host| host.signal(Signal::KILL))?,
            Trouble::Pause(node) => {
                self.hosts[node].signal(Signal::STOP)?;
                Self::moment(noise).await;
                self.hosts[node].signal(Signal::CONT)?;
            }
            Trouble::Freeze(node) => {
                self.hosts[node].signal(Signal::STOP)?;
                self.dies(node, began, late).await?;
                self.hosts[node].signal(Signal::CONT)?;
            }
            Trouble::Hiccup(node) => {
                self.set(node, Way::Silent);
                Self::moment(noise).await;
                self.set(node, Way::Open);
            }
            Trouble::CutOff(node) => {
                self.set(node, Way::Silent);
                self.dies(node, began, late).await?;
                self.set(node, Way::Open);
            }
            Trouble::Break(node) => {
                self.set(node, Way::Cut);
                Self::moment(noise).await;
                self.set(node, Way::Open);
            }
            Trouble::Stop(node) => self.hosts[node].signal(Signal::TERM)?,
            Trouble::Crash => {
                self.postgres.kill()?;
                Self::moment(noise).await;
                self.postgres.start_again()?;
            }
            Trouble::Stall => {
                self.postgres.pause(true)?;
                Self::moment(noise).await;
                self.postgres.pause(false)?;
            }
            Trouble::Outage => self.outage().await?,
            Trouble::BusCrash | Trouble::BusStall | Trouble::BusCutOff(_) => self.bus_suffers(trouble, noise).await?,
        }
        Self::moment(noise).await;
        Ok(())
    }

    async fn outage(&mut self) -> Result<()> {
        self.postgres.stop()?;
        for host in &self.hosts {
            eventually("the node is suspended", async || {
                Ok(readiness(host).await?.body.contains("this node is suspended").then_some(()))
            })
            .await?;
        }
        self.postgres.start_again()
    }

    async fn bus_suffers(&mut self, trouble: Trouble, noise: &mut Noise) -> Result<()> {
        let server = self.nats.as_ref().context("the bus has no server of its own")?;
        match trouble {
            Trouble::BusCrash => {
                server.kill()?;
                Self::moment(noise).await;
                server.start_again()?;
            }
            Trouble::BusStall => {
                server.pause(true)?;
                Self::moment(noise).await;
                server.pause(false)?;
            }
            Trouble::BusCutOff(node) => {
                self.to_nats[node].set(Way::Silent);
                Self::moment(noise).await;
                self.to_nats[node].set(Way::Open);
            }
            other => anyhow::bail!("{other:?} doesn't concern the bus"),
        }
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

/// The users in the room, as a node shows them, each with the number of their presences.
pub(crate) async fn presences(host: &TestHost) -> Result<Vec<(String, usize)>> {
    let answer = get(host.address(), &format!("/api/topics/{ROOM}/presence")).await?.json()?;
    let online = answer.as_object().context("presences")?.iter();
    let count = |shown: &Value| shown["metas"].as_array().map_or(0, Vec::len);
    Ok(online.map(|(user, shown)| (user.clone(), count(shown))).collect())
}

fn ports(hosts: &[TestHost]) -> Vec<u16> {
    hosts.iter().map(|host| host.address().port()).collect()
}
