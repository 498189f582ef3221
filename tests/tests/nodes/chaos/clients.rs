//! The clients of a chaos run: some pay, some audit, some broadcast, some hear, some are present. Each connects again by itself.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bennu_tests::{ConnectRequest, Received, TestClient};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::books::Books;
use super::talk::Talk;

/// How long a client waits for anything before it connects again.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The pause before a client connects again, and between two payments or broadcasts.
pub(super) const PAUSE: Duration = Duration::from_millis(20);

/// How much of each second payers pay, in milliseconds. An audit reads all accounts, so it runs again whenever one of them is paid into. In the
/// rest of the second, audits find an end, also those that began before.
const PAYING_MS: u32 = 600;

/// The topic with presences.
pub(crate) const ROOM: &str = "room:chaos";

/// How many clients of each kind there are.
#[derive(Clone, Copy)]
pub(crate) struct Roles {
    pub(crate) payers: usize,
    pub(crate) auditors: usize,
    pub(crate) speakers: usize,
    pub(crate) listeners: usize,
    /// Users in the room, who connect through the balancer.
    pub(crate) guests: usize,
}

/// What a client does.
#[derive(Clone, Copy)]
enum Role {
    /// Pays into accounts, and tries to take money that isn't there.
    Payer(usize),
    /// Reads all accounts at once.
    Auditor(usize),
    /// Broadcasts numbers.
    Speaker,
    /// Hears the broadcasts of all.
    Listener(usize),
    /// Is in the room.
    Guest(usize),
    /// Is in the room at one node, and at no other one.
    Resident(usize),
}

/// What all clients share.
pub(crate) struct Clients {
    began: Instant,
    balancer: SocketAddr,
    /// The addresses of the nodes.
    nodes: Mutex<Vec<SocketAddr>>,
    /// Whether clients pay, audit and broadcast.
    is_busy: AtomicBool,
    has_ended: AtomicBool,
    /// Calls whose outcome is still awaited.
    under_way: AtomicUsize,
    pub(super) books: Mutex<Books>,
    pub(super) talk: Mutex<Talk>,
    /// The users who are in the room, and when one came or left last.
    present: Mutex<(BTreeSet<String>, Instant)>,
    /// How often listeners were told to join again.
    pub(crate) told_to_join: AtomicU64,
    /// The first promise that a client saw broken.
    broken: Mutex<Option<String>>,
}

impl Clients {
    /// Starts clients, which connect through a balancer, and one at each node.
    pub(crate) fn start(balancer: SocketAddr, nodes: Vec<SocketAddr>, roles: Roles) -> Arc<Self> {
        let residents = nodes.len();
        let clients = Arc::new(Self {
            began: Instant::now(),
            balancer,
            nodes: Mutex::new(nodes),
            is_busy: AtomicBool::new(true),
            has_ended: AtomicBool::new(false),
            under_way: AtomicUsize::new(0),
            books: Mutex::default(),
            talk: Mutex::new(Talk::new(roles.listeners)),
            present: Mutex::new((BTreeSet::new(), Instant::now())),
            told_to_join: AtomicU64::new(0),
            broken: Mutex::default(),
        });
        let all = (0..roles.payers)
            .map(Role::Payer)
            .chain((0..roles.auditors).map(Role::Auditor))
            .chain((0..roles.speakers).map(|_| Role::Speaker))
            .chain((0..roles.listeners).map(Role::Listener))
            .chain((0..roles.guests).map(Role::Guest))
            .chain((0..residents).map(Role::Resident));
        for role in all {
            tokio::spawn(Arc::clone(&clients).play(role));
        }
        clients
    }

    /// Plays a role until the clients end. The client begins anew whenever its connection ends.
    async fn play(self: Arc<Self>, role: Role) {
        while !self.has_ended() {
            // Why it ended doesn't matter: the checks say whether it saw what it should.
            let _ = match role {
                Role::Payer(number) => self.pay(number).await,
                Role::Auditor(number) => self.audit(number).await,
                Role::Speaker => self.speak().await,
                Role::Listener(number) => self.listen(number).await,
                Role::Guest(number) => self.stay(&format!("user-{number}"), self.balancer).await,
                Role::Resident(node) => {
                    let address = lock(&self.nodes)[node];
                    self.stay(&resident(node), address).await
                }
            };
            sleep(PAUSE).await;
        }
    }

    /// Tells the residents where the nodes are now.
    pub(crate) fn know(&self, nodes: Vec<SocketAddr>) {
        *lock(&self.nodes) = nodes;
    }

    pub(crate) fn set_busy(&self, is_busy: bool) {
        self.is_busy.store(is_busy, Ordering::SeqCst);
    }

    pub(super) fn is_busy(&self) -> bool {
        self.is_busy.load(Ordering::SeqCst)
    }

    /// Ends all clients.
    pub(crate) fn end(&self) {
        self.has_ended.store(true, Ordering::SeqCst);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::SeqCst)
    }

    /// Whether no call is under way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.under_way.load(Ordering::SeqCst) == 0
    }

    /// Who is in the room, and since when nobody has come or left.
    pub(crate) fn present(&self) -> (BTreeSet<String>, Instant) {
        lock(&self.present).clone()
    }

    /// Notes that a promise is broken.
    pub(super) fn breaks(&self, what: String) {
        lock(&self.broken).get_or_insert(what);
    }

    /// # Errors
    /// If a client saw a broken promise.
    pub(crate) fn check(&self) -> Result<()> {
        match &*lock(&self.broken) {
            Some(what) => bail!("{what}"),
            None => Ok(()),
        }
    }

    /// Joins a topic at a node that the balancer chooses.
    pub(super) async fn join(&self, topic: &str) -> Result<TestClient> {
        join(self.balancer, topic, &json!({})).await
    }

    /// Waits until clients may work. Returns whether they have ended.
    pub(super) async fn rests(&self) -> bool {
        sleep(PAUSE).await;
        while !self.is_busy() && !self.has_ended() {
            sleep(PAUSE).await;
        }
        self.has_ended()
    }

    /// Waits until it is time to pay.
    pub(super) async fn waits_for_auditors(&self) {
        let now = self.began.elapsed().subsec_millis();
        if now >= PAYING_MS {
            sleep(Duration::from_millis(u64::from(1_000 - now))).await;
        }
    }

    /// Makes a call while clients may work. Whoever has seen no call under way sees none begin.
    pub(super) async fn works(&self, call: impl Future<Output = Result<()>>) -> Result<()> {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        // Asked again, after the count.
        let called = if self.is_busy() { call.await } else { Ok(()) };
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        called
    }

    /// Is in the room.
    async fn stay(&self, user: &str, address: SocketAddr) -> Result<()> {
        let mut client = join(address, ROOM, &json!({ "user": user })).await?;
        self.note_presence(user, true);
        let ended = loop {
            if self.has_ended() {
                break Ok(());
            }
            match next_or_silence(&mut client).await {
                Ok(Some(frame)) if frame[3] == "phx_error" => break Ok(()),
                Ok(_) => {}
                Err(error) => break Err(error),
            }
        };
        self.note_presence(user, false);
        ended
    }

    fn note_presence(&self, user: &str, is_there: bool) {
        let mut present = lock(&self.present);
        let changed = if is_there { present.0.insert(user.to_owned()) } else { present.0.remove(user) };
        if changed {
            present.1 = Instant::now();
        }
    }
}

/// The name of the user who is only at one node.
pub(crate) fn resident(node: usize) -> String {
    format!("resident-{node}")
}

async fn join(address: SocketAddr, topic: &str, params: &Value) -> Result<TestClient> {
    let joining = async {
        let mut client = ConnectRequest::to(address).connect().await?;
        client.join(topic, params).await?;
        anyhow::Ok(client)
    };
    timeout(PATIENCE, joining).await.context("no answer to a join")?
}

/// Waits for a frame. After some silence, sends a heartbeat, as clients do, and returns none.
///
/// # Errors
/// If the connection has ended, or if a heartbeat can't be sent.
pub(super) async fn next_or_silence(client: &mut TestClient) -> Result<Option<Value>> {
    match timeout(PATIENCE, client.next()).await {
        Ok(Ok(Received::Json(frame))) => Ok(Some(frame)),
        Ok(received) => bail!("expected a frame, and got {}", received?),
        Err(_) => {
            timeout(PATIENCE, client.push("phoenix", "heartbeat", &json!({}))).await.context("no room to send")??;
            Ok(None)
        }
    }
}

/// A client that panics has failed its test, and the data is still whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
