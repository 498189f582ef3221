//! NATS, for the tests.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use async_nats::rustls::crypto::aws_lc_rs::default_provider;
use async_nats::rustls::{ClientConfig, RootCertStore};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bennu_cluster::bus::{Bus, BusEvent, Lane};
use bennu_cluster::nats::{NatsBus, NatsLogin, NatsPlace, NatsTls};
use bennu_cluster::{BusError, Epoch, Incarnation, NodeId};
use bennu_test_engines::{NatsServer, eventually};
use rcgen::{CertifiedKey, generate_simple_self_signed};

use crate::bus::{Bed, Node, flush, hear_until, next, send};
use crate::is_there;

/// The identity of the tests' cluster.
const CLUSTER: &str = "pond";

/// A server, and nodes on it.
struct NatsEngine {
    server: NatsServer,
}

impl NatsEngine {
    async fn new() -> Result<Option<Self>> {
        Self::with("").await
    }

    /// A server that takes small messages only, so that flushes are cut.
    async fn small() -> Result<Option<Self>> {
        Self::with("max_payload: 8192").await
    }

    async fn with(configuration: &'static str) -> Result<Option<Self>> {
        if !is_there("NATS server", NatsServer::is_there()) {
            return Ok(None);
        }
        let server = tokio::task::spawn_blocking(|| NatsServer::start_with(configuration)).await??;
        Ok(Some(Self { server }))
    }

    fn bus(&self, login: NatsLogin) -> Result<NatsBus> {
        let place = NatsPlace::new(&self.server.url(), login, NatsTls::Off).map_err(anyhow::Error::msg)?;
        Ok(NatsBus::new(place, CLUSTER))
    }

    /// A client that is no node.
    async fn stranger(&self) -> Result<async_nats::Client> {
        Ok(async_nats::connect(self.server.url()).await?)
    }
}

/// A start of a node that no other one is.
fn node() -> NodeId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let epoch = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut bits = [0x3c; 16];
    bits[8..].copy_from_slice(&epoch.to_be_bytes());
    NodeId { epoch: Epoch(epoch), incarnation: Incarnation(bits) }
}

impl Bed for NatsEngine {
    async fn node(&self, _name: &str) -> Result<Node> {
        Ok(Node { bus: Arc::new(self.bus(NatsLogin::None)?), me: node() })
    }

    fn kill(&self) -> Result<()> {
        self.server.kill()
    }

    fn start_again(&self) -> Result<()> {
        tokio::task::block_in_place(|| self.server.start_again())
    }
}

crate::suite!(bus, NatsEngine::new:
    all_hear_what_one_sends_in_its_order,
    flushes_of_several_senders_keep_the_order_of_each,
    the_lane_of_a_node_reaches_this_node_only,
    flushes_of_all_sizes_arrive_whole,
    waiting_may_be_given_up,
    a_stopped_receiver_holds_nobody_up,
    after_a_restart_of_the_engine_all_is_heard_again,
);

mod small_messages {
    use super::NatsEngine;

    crate::suite!(bus, NatsEngine::small:
        flushes_of_several_senders_keep_the_order_of_each,
        flushes_of_all_sizes_arrive_whole,
    );
}

/// What the bus says when it refuses to open.
async fn refusal(bus: &NatsBus) -> Result<String> {
    match bus.open(node()).await {
        Ok(_) => anyhow::bail!("the bus has opened"),
        Err(BusError::Unfit(said)) => Ok(said),
        Err(error) => anyhow::bail!("not refused: {error}"),
    }
}

fn user(name: &str, password: &str) -> NatsLogin {
    NatsLogin::User { name: name.into(), password: password.into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_are_wrong_are_refused_with_a_sentence() -> Result<()> {
    let Some(engine) = NatsEngine::with("authorization { user: bennu, password: right }").await? else { return Ok(()) };
    for login in [NatsLogin::None, user("bennu", "hunter2"), NatsLogin::Token("hunter2".into())] {
        let said = refusal(&engine.bus(login)?).await?;
        ensure!(said.contains("refuses the login: check the credentials of the bus"), "{said}");
        ensure!(!said.contains("hunter2"), "{said}");
    }
    let me = node();
    let (mut sender, mut own) = engine.bus(user("bennu", "right"))?.open(me).await?;
    send(&mut *sender, Lane::All, flush(me, 1, 10)).await?;
    hear_until(&mut *own, me, 1).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_opens_the_bus() -> Result<()> {
    let Some(engine) = NatsEngine::with("authorization { token: right }").await? else { return Ok(()) };
    refusal(&engine.bus(NatsLogin::Token("wrong".into()))?).await?;
    engine.bus(NatsLogin::Token("right".into()))?.open(node()).await?;
    Ok(())
}

/// The documents say which permissions a node needs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn permissions_that_are_missing_are_told() -> Result<()> {
    let configuration = "authorization { users: [ \
        { user: enough, password: x, permissions: { publish: \"bennu.pond.>\", subscribe: \"bennu.pond.>\" } }, \
        { user: deaf, password: x, permissions: { publish: \"bennu.pond.>\", subscribe: \"bennu.pond.all\" } }, \
        { user: mute, password: x, permissions: { publish: \"bennu.pond.all\", subscribe: \"bennu.pond.>\" } }, \
        { user: other, password: x, permissions: { publish: \"bennu.sea.>\", subscribe: \"bennu.sea.>\" } } ] }";
    let Some(engine) = NatsEngine::with(configuration).await? else { return Ok(()) };
    for name in ["deaf", "mute", "other"] {
        let said = refusal(&engine.bus(user(name, "x"))?).await?;
        ensure!(
            said.contains("ermissions") && said.contains("publish and subscribe to `bennu.pond.>`"),
            "{name}: {said}"
        );
    }
    engine.bus(user("enough", "x"))?.open(node()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_only_tiny_messages_is_refused() -> Result<()> {
    let Some(engine) = NatsEngine::with("max_payload: 1024").await? else { return Ok(()) };
    let said = refusal(&engine.bus(NatsLogin::None)?).await?;
    ensure!(said.contains("at most 1024 bytes; raise its `max_payload`"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_there_is_down_and_not_unfit() -> Result<()> {
    let Some(engine) = NatsEngine::new().await? else { return Ok(()) };
    engine.server.kill()?;
    let opened = engine.bus(NatsLogin::None)?.open(node()).await;
    let Err(BusError::Down(said)) = opened else { anyhow::bail!("the bus has opened, or is unfit") };
    ensure!(said.contains("can't be reached"), "{said}");
    Ok(())
}

/// Whoever may publish on the subjects can also imitate a flush: the secret of the cluster is against that, not the bus.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_others_are_ignored_and_counted() -> Result<()> {
    let Some(engine) = NatsEngine::new().await? else { return Ok(()) };
    let (bus, me) = (engine.bus(NatsLogin::None)?, node());
    let (mut sender, mut own) = bus.open(me).await?;
    let stranger = engine.stranger().await?;
    let piece = |at: u32, count: u32| {
        let mut frame = vec![1];
        frame.extend(me.epoch.0.to_be_bytes());
        frame.extend(1_u64.to_be_bytes());
        frame.extend(at.to_be_bytes());
        frame.extend(count.to_be_bytes());
        frame
    };
    let hostile =
        [vec![], vec![0], vec![1, 2, 3], vec![2; 33], vec![9; 1_000], piece(0, 0), piece(5, 3), piece(3, u32::MAX)];
    for number in 1..=20 {
        for message in &hostile {
            for subject in [format!("bennu.{CLUSTER}.all"), format!("bennu.{CLUSTER}.node.{}", me.epoch)] {
                stranger.publish(subject, message.clone().into()).await?;
            }
        }
        stranger.flush().await?;
        send(&mut *sender, Lane::All, flush(me, number, 3_000_000)).await?;
        ensure!(hear_until(&mut *own, me, number).await? == [(me.epoch.0, number)]);
    }
    // `[2; 33]` is a mark of another node, which is no mistake.
    let expected = 20 * 2 * (hostile.len() as u64 - 1);
    eventually("all are counted", async || Ok((bus.counts().ignored == expected).then_some(()))).await?;
    let counts = bus.counts();
    ensure!((counts.flushes, counts.heard, counts.reconnects) == (20, 20, 0), "{counts:?}");
    Ok(())
}

/// Two clusters on one server don't hear each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters_are_kept_apart() -> Result<()> {
    let Some(engine) = NatsEngine::new().await? else { return Ok(()) };
    let place = NatsPlace::new(&engine.server.url(), NatsLogin::None, NatsTls::Off).map_err(anyhow::Error::msg)?;
    let (one, other) = (NatsBus::new(place.clone(), "pond"), NatsBus::new(place, "sea"));
    let (here, there) = (node(), node());
    let (mut sender, _own) = one.open(here).await?;
    let (mut voice, mut ear) = other.open(there).await?;
    send(&mut *sender, Lane::All, flush(here, 1, 10)).await?;
    send(&mut *sender, Lane::Node(there.epoch), flush(here, 2, 10)).await?;
    send(&mut *voice, Lane::All, flush(there, 3, 10)).await?;
    ensure!(hear_until(&mut *ear, there, 3).await? == [(there.epoch.0, 3)]);
    Ok(())
}

/// The server stops without closing a connection. It takes some seconds to find that out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_silent_is_noticed() -> Result<()> {
    if !bennu_test_tiers::runs("conformance::nats_silent") {
        return Ok(());
    }
    let Some(engine) = NatsEngine::new().await? else { return Ok(()) };
    let (bus, me) = (engine.bus(NatsLogin::None)?, node());
    let (mut sender, mut own) = bus.open(me).await?;
    engine.server.pause(true)?;
    ensure!(next(&mut *own).await? == BusEvent::Down);
    ensure!(matches!(sender.send(Lane::All, flush(me, 1, 10)).await, Err(BusError::Down(_))));
    engine.server.pause(false)?;
    ensure!(next(&mut *own).await? == BusEvent::Up);
    send(&mut *sender, Lane::All, flush(me, 2, 10)).await?;
    hear_until(&mut *own, me, 2).await?;
    Ok(())
}

/// TLS that trusts one certificate.
fn trusting(certificate: &CertifiedKey<rcgen::KeyPair>) -> Result<NatsTls> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.cert.der().clone())?;
    let builder =
        ClientConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions()?;
    Ok(NatsTls::Required(Arc::new(builder.with_root_certificates(roots).with_no_client_auth())))
}

/// The text form of a certificate or a key.
fn pem(label: &str, bytes: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(bytes))
}

/// Writes a certificate with its key, and returns the server's configuration for it.
fn write(folder: &Path, certificate: &CertifiedKey<rcgen::KeyPair>) -> Result<String> {
    let (chain, key) = (folder.join("server.crt"), folder.join("server.key"));
    fs::write(&chain, pem("CERTIFICATE", certificate.cert.der()))?;
    fs::write(&key, pem("PRIVATE KEY", &certificate.signing_key.serialize_der()))?;
    Ok(format!("tls {{ cert_file: {chain:?}, key_file: {key:?} }}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_checked_and_tls_is_not_given_up() -> Result<()> {
    if !is_there("NATS server", NatsServer::is_there()) {
        return Ok(());
    }
    let names = || vec!["localhost".to_owned()];
    let (right, wrong) = (generate_simple_self_signed(names())?, generate_simple_self_signed(names())?);
    let home = tempfile::tempdir()?;
    let configuration = write(home.path(), &right)?;
    let server = tokio::task::spawn_blocking(move || NatsServer::start_with(&configuration)).await??;
    let open = async |host: &str, tls: NatsTls| {
        let url = format!("tls://{host}:{}", server.port());
        let place = NatsPlace::new(&url, NatsLogin::None, tls).map_err(anyhow::Error::msg)?;
        anyhow::Ok(NatsBus::new(place, CLUSTER).open(node()).await)
    };
    open("localhost", trusting(&right)?).await??;
    for (host, tls) in [("localhost", trusting(&wrong)?), ("127.0.0.1", trusting(&right)?)] {
        let said = open(host, tls).await?.err().context("the bus has opened")?.to_string();
        ensure!(said.contains("certificate"), "{host}: {said}");
    }
    // A server, or somebody between, that offers no TLS.
    let Some(plain) = NatsEngine::new().await? else { return Ok(()) };
    let url = format!("nats://localhost:{}", plain.server.port());
    let place = NatsPlace::new(&url, NatsLogin::None, trusting(&right)?).map_err(anyhow::Error::msg)?;
    ensure!(NatsBus::new(place, CLUSTER).open(node()).await.is_err(), "it was sent without TLS");
    Ok(())
}
