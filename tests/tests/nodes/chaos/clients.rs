//! The clients of a chaos run: some pay, some broadcast, some hear. Each connects again by itself.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bennu_tests::{ConnectRequest, Received, TestClient};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::hearing::Hearing;
use super::history::Payment;

/// How long a client waits for anything before it connects again.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pause before a client connects again, and between two payments or broadcasts.
const PAUSE: Duration = Duration::from_millis(20);

/// The topic in which clients broadcast.
const TALK: &str = "echo:chaos";

/// The topic with presences.
pub(crate) const ROOM: &str = "room:chaos";

/// The accounts into which the clients pay.
pub(crate) const ACCOUNTS: [&str; 3] = ["a", "b", "c"];

/// What a client does.
#[derive(Clone, Copy)]
enum Role {
    /// Pays into accounts.
    Payer(usize),
    /// Broadcasts numbers.
    Speaker,
    /// Hears the broadcasts of all.
    Listener(usize),
    /// Is in the room.
    Guest(usize),
}

/// What all clients share.
pub(crate) struct Clients {
    balancer: u16,
    /// Whether clients pay and broadcast.
    is_busy: AtomicBool,
    has_ended: AtomicBool,
    /// Payments whose outcome is still awaited.
    under_way: AtomicUsize,
    next_sender: AtomicU64,
    payments: Mutex<[Vec<Payment>; ACCOUNTS.len()]>,
    hearings: Mutex<Vec<Hearing>>,
    /// The users who are in the room.
    present: Mutex<BTreeSet<String>>,
    /// How often clients were told to join again.
    pub(crate) told_to_join: AtomicU64,
    /// The first promise that a client saw broken.
    broken: Mutex<Option<String>>,
}

impl Clients {
    /// Starts clients, which connect through a balancer.
    pub(crate) fn start(balancer: u16, payers: usize, speakers: usize, listeners: usize) -> Arc<Self> {
        let clients = Arc::new(Self {
            balancer,
            is_busy: AtomicBool::new(true),
            has_ended: AtomicBool::new(false),
            under_way: AtomicUsize::new(0),
            next_sender: AtomicU64::new(0),
            payments: Mutex::default(),
            hearings: Mutex::new((0..listeners).map(|_| Hearing::default()).collect()),
            present: Mutex::default(),
            told_to_join: AtomicU64::new(0),
            broken: Mutex::default(),
        });
        let roles = (0..payers).map(Role::Payer).chain((0..speakers).map(|_| Role::Speaker));
        let roles = roles.chain((0..listeners).flat_map(|number| [Role::Listener(number), Role::Guest(number)]));
        for role in roles {
            tokio::spawn(Arc::clone(&clients).play(role));
        }
        clients
    }

    /// Plays a role until the clients ends. The client begins anew whenever its connection ends.
    async fn play(self: Arc<Self>, role: Role) {
        while !self.has_ended.load(Ordering::SeqCst) {
            // Why it ended doesn't matter: the checks say whether it saw what it should.
            let _ = match role {
                Role::Payer(number) => self.pay(number).await,
                Role::Speaker => self.speak().await,
                Role::Listener(number) => self.listen(number).await,
                Role::Guest(number) => self.stay(number).await,
            };
            sleep(PAUSE).await;
        }
    }

    pub(crate) fn set_busy(&self, is_busy: bool) {
        self.is_busy.store(is_busy, Ordering::SeqCst);
    }

    /// Ends all clients.
    pub(crate) fn end(&self) {
        self.has_ended.store(true, Ordering::SeqCst);
    }

    /// Whether no payment is under way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.under_way.load(Ordering::SeqCst) == 0
    }

    /// All payments so far, by their account.
    pub(crate) fn payments(&self) -> [Vec<Payment>; ACCOUNTS.len()] {
        lock(&self.payments).clone()
    }

    /// What a listener lacks without having been told.
    pub(crate) fn gap(&self) -> Option<String> {
        lock(&self.hearings).iter().find_map(|hearing| hearing.gap().map(str::to_owned))
    }

    /// How many broadcasts were heard.
    pub(crate) fn heard(&self) -> u64 {
        lock(&self.hearings).iter().map(|hearing| hearing.heard).sum()
    }

    /// Who is in the room.
    pub(crate) fn present(&self) -> BTreeSet<String> {
        lock(&self.present).clone()
    }

    /// # Errors
    /// If a client saw a broken promise.
    pub(crate) fn check(&self) -> Result<()> {
        match &*lock(&self.broken) {
            Some(what) => bail!("{what}"),
            None => Ok(()),
        }
    }

    async fn join(&self, topic: &str, params: &Value) -> Result<TestClient> {
        let joining = async {
            let address = ([127, 0, 0, 1], self.balancer).into();
            let mut client = ConnectRequest::to(address).connect().await?;
            client.join(topic, params).await?;
            anyhow::Ok(client)
        };
        timeout(PATIENCE, joining).await.context("no answer to a join")?
    }

    /// Waits until clients may work. Returns whether they have ended.
    async fn rests(&self) -> bool {
        sleep(PAUSE).await;
        while !self.is_busy.load(Ordering::SeqCst) && !self.has_ended.load(Ordering::SeqCst) {
            sleep(PAUSE).await;
        }
        self.has_ended.load(Ordering::SeqCst)
    }

    /// Pays into the accounts in turn.
    async fn pay(&self, number: usize) -> Result<()> {
        let mut client = self.join(&format!("ledger:{number}"), &json!({})).await?;
        for turn in number.. {
            if self.rests().await {
                return Ok(());
            }
            self.under_way.fetch_add(1, Ordering::SeqCst);
            // Asked again: whoever has seen no payment under way must see none begin.
            let paid = match self.is_busy.load(Ordering::SeqCst) {
                true => self.pay_once(&mut client, number, turn % ACCOUNTS.len()).await,
                false => Ok(()),
            };
            self.under_way.fetch_sub(1, Ordering::SeqCst);
            paid?;
        }
        Ok(())
    }

    async fn pay_once(&self, client: &mut TestClient, number: usize, account: usize) -> Result<()> {
        let (topic, began) = (format!("ledger:{number}"), Instant::now());
        let told = timeout(PATIENCE, async {
            let reference = client.push(&topic, "deposit", &json!({ "to": ACCOUNTS[account], "n": 1 })).await?;
            let reply = client.reply(&topic, &reference).await?;
            ensure!(reply.status == "ok", "{reply:?}");
            reply.response["balance"].as_u64().context("a balance")
        });
        let told = told.await.context("no answer to a payment").and_then(|told| told);
        let payment = Payment { began, told: told.as_ref().ok().map(|balance| (*balance, Instant::now())) };
        lock(&self.payments)[account].push(payment);
        told.map(drop)
    }

    /// Broadcasts numbers.
    async fn speak(&self) -> Result<()> {
        let mut client = self.join(TALK, &json!({})).await?;
        let sender = self.next_sender.fetch_add(1, Ordering::SeqCst);
        for number in 0_u64.. {
            if self.rests().await {
                return Ok(());
            }
            client.push(TALK, "shout", &json!({ "sender": sender, "number": number })).await?;
            // Its own broadcast, and before it those of the others.
            let own = timeout(PATIENCE, async {
                loop {
                    let frame = client.json().await?;
                    ensure!(frame[3] != "phx_error", "told to join again");
                    if frame[4]["sender"] == sender {
                        return Ok(());
                    }
                }
            });
            own.await.context("a broadcast isn't delivered at its own node")??;
        }
        Ok(())
    }

    /// Hears the broadcasts of all.
    async fn listen(&self, number: usize) -> Result<()> {
        lock(&self.hearings)[number].joins_again();
        let mut client = self.join(TALK, &json!({})).await?;
        while !self.has_ended.load(Ordering::SeqCst) {
            // A host that stands still is noticed as a client notices it: by a heartbeat.
            let Ok(received) = timeout(PATIENCE, client.next()).await else {
                timeout(PATIENCE, client.quiet()).await.context("no answer to a heartbeat")??;
                continue;
            };
            let Received::Json(frame) = received? else { bail!("the connection has ended") };
            if frame[3] == "phx_error" {
                self.told_to_join.fetch_add(1, Ordering::SeqCst);
                bail!("told to join again");
            }
            let number_of = |field: &str| frame[4][field].as_u64().context("a number");
            let heard = lock(&self.hearings)[number].hear(number_of("sender")?, number_of("number")?);
            if let Err(error) = heard {
                lock(&self.broken).get_or_insert_with(|| error.to_string());
            }
        }
        Ok(())
    }

    /// Is in the room.
    async fn stay(&self, number: usize) -> Result<()> {
        let user = format!("user-{number}");
        let mut client = self.join_room(&user).await?;
        lock(&self.present).insert(user.clone());
        let ended = loop {
            if self.has_ended.load(Ordering::SeqCst) {
                break Ok(());
            }
            match timeout(PATIENCE, client.next()).await {
                Ok(Ok(Received::Json(frame))) if frame[3] != "phx_error" => {}
                Ok(received) => break received.map(drop),
                Err(_) => match timeout(PATIENCE, client.push("phoenix", "heartbeat", &json!({}))).await {
                    Ok(Ok(_)) => {}
                    _ => break Ok(()),
                },
            }
        };
        lock(&self.present).remove(&user);
        ended
    }

    async fn join_room(&self, user: &str) -> Result<TestClient> {
        self.join(ROOM, &json!({ "user": user })).await
    }
}

/// A client that panics has failed its test, and the data is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
