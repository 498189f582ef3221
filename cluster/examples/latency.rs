//! Measures how long a flush takes from one node to another, beside the engine's own publish, and prints the ratios of the two.
//!
//! ```sh
//! cargo run --release -p bennu-cluster --example latency
//! ```
//!
//! Both are measured in turns on the same server, one message at a time, so what else the machine does hits both. Only the ratios mean
//! something. The engines are those that are found: PostgreSQL, and a NATS server in `BENNU_NATS_SERVER` or on the path.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bennu_cluster::bus::{Bus, BusEvent, BusFuture, Lane};
use bennu_cluster::nats::{NatsBus, NatsLogin, NatsPlace, NatsTls};
use bennu_cluster::postgres::{Connect, ConnectError, Connection, Messages, PostgresBus, PostgresTable, SCHEMA_STEP};
use bennu_cluster::{BusEnds, Epoch, Hello, Incarnation, NewNode, NodeId, NodeSettings, NodeTable, Speaks};
use bennu_test_engines::{NatsServer, PostgresServer};
use futures_util::StreamExt;
use tokio_postgres::{AsyncMessage, Config, Error, NoTls};

/// The messages of each kind, after those that aren't counted.
const SAMPLES: usize = 2_000;

/// The messages of each kind that warm up.
const WARM_UP: usize = 200;

/// The bytes of a message.
const BYTES: usize = 256;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    println!("{:<12} {:>22} {:>22} {:>14}", "engine", "publish p50, p99", "flush p50, p99", "ratios");
    if PostgresServer::is_there() {
        postgres().await?;
    } else {
        println!("PostgreSQL   not found");
    }
    if NatsServer::is_there() {
        nats().await?;
    } else {
        println!("NATS         not found");
    }
    Ok(())
}

/// The times of one kind.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn at(&self, hundredths: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted.get((sorted.len() * hundredths / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

/// Measures both kinds in turns.
async fn measure<P, F>(engine: &str, mut publish: impl FnMut() -> P, mut flush: impl FnMut() -> F) -> Result<()>
where
    P: Future<Output = Result<()>>,
    F: Future<Output = Result<()>>,
{
    let (mut published, mut flushed) = (Times::default(), Times::default());
    for at in 0..WARM_UP + SAMPLES {
        let began = Instant::now();
        publish().await?;
        let between = Instant::now();
        flush().await?;
        if at >= WARM_UP {
            published.0.push(between - began);
            flushed.0.push(between.elapsed());
        }
    }
    let shown = |times: &Times| format!("{:.3}, {:.3} ms", millis(times.at(50)), millis(times.at(99)));
    let ratio = |at: usize| millis(flushed.at(at)) / millis(published.at(at)).max(f64::EPSILON);
    println!(
        "{engine:<12} {:>22} {:>22} {:>14}",
        shown(&published),
        shown(&flushed),
        format!("{:.2}, {:.2}", ratio(50), ratio(99))
    );
    Ok(())
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// Two nodes: one sends, and the other one hears.
struct Pair {
    ends: tokio::sync::Mutex<(BusEnds, BusEnds)>,
}

impl Pair {
    async fn open(bus: &dyn Bus, nodes: [NodeId; 2]) -> Result<Self> {
        let ends = (bus.open(nodes[0]).await?, bus.open(nodes[1]).await?);
        Ok(Self { ends: tokio::sync::Mutex::new(ends) })
    }

    async fn pass(&self) -> Result<()> {
        let mut ends = self.ends.lock().await;
        let ((sender, own), (_, receiver)) = &mut *ends;
        sender.send(Lane::All, vec![7; BYTES].into()).await?;
        while !matches!(receiver.next().await, BusEvent::Flush(_)) {}
        // Its own flushes come back. They aren't to pile up.
        while !matches!(own.next().await, BusEvent::Flush(_)) {}
        Ok(())
    }
}

/// Connects without TLS.
struct Direct(Config);

impl Connect for Direct {
    fn connect(&self) -> BusFuture<'_, Result<Connection, ConnectError>> {
        Box::pin(async move {
            let connected = self.0.connect(NoTls).await;
            let (client, mut connection) = connected.map_err(|error| ConnectError::Down(error.to_string()))?;
            let messages: Messages = Box::pin(futures_util::stream::poll_fn(move |cx| connection.poll_message(cx)));
            Ok(Connection { client, messages })
        })
    }

    fn schema(&self) -> &str {
        "bench"
    }

    fn explain(&self, error: &Error) -> String {
        error.to_string()
    }
}

async fn postgres() -> Result<()> {
    let server = PostgresServer::start()?;
    let connect: Arc<dyn Connect> = Arc::new(Direct(server.url("postgres", "postgres").parse()?));
    server.sql("postgres", &format!("CREATE SCHEMA bench; {}", SCHEMA_STEP.replace("{schema}", "bench")))?;
    let table = PostgresTable::new(Arc::clone(&connect))?;
    let mut nodes = Vec::new();
    for (name, bits) in [("one", 1), ("other", 2)] {
        let incarnation = Incarnation([bits; 16]);
        let settings = NodeSettings { lease: Duration::from_secs(10), bus: "postgres".to_owned(), secret_mark: None };
        let (name, version) = (name.to_owned(), "bench".to_owned());
        let node = NewNode { name, version, incarnation, speaks: Speaks { from: 1, to: 1 }, settings };
        match table.hello(&node).await? {
            Hello::Welcome(epoch) => nodes.push(NodeId { epoch, incarnation }),
            other => bail!("{other:?}"),
        }
    }
    let pair = Pair::open(&PostgresBus::new(Arc::clone(&connect)), nodes.try_into().ok().context("two nodes")?).await?;
    let Connection { client: speaker, mut messages } = connect.connect().await?;
    tokio::spawn(async move { while let Some(Ok(_)) = messages.next().await {} });
    speaker.batch_execute("SET synchronous_commit = off").await?;
    let Connection { client: listener, mut messages } = connect.connect().await?;
    let (heard, hears) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move {
        while let Some(Ok(message)) = messages.next().await {
            if matches!(message, AsyncMessage::Notification(_)) && heard.send(()).await.is_err() {
                break;
            }
        }
    });
    listener.batch_execute("LISTEN raw").await?;
    let (hears, text) = (tokio::sync::Mutex::new(hears), "7".repeat(BYTES));
    let statement = speaker.prepare("SELECT pg_notify('raw', $1)").await?;
    let publish = async || {
        speaker.query(&statement, &[&text]).await?;
        hears.lock().await.recv().await.context("the listener has ended")
    };
    measure("PostgreSQL", publish, || pair.pass()).await
}

async fn nats() -> Result<()> {
    let server = NatsServer::start()?;
    let place = NatsPlace::new(&server.url(), NatsLogin::None, NatsTls::Off).map_err(anyhow::Error::msg)?;
    let node = |epoch: u64| NodeId { epoch: Epoch(epoch), incarnation: Incarnation([1; 16]) };
    let pair = Pair::open(&NatsBus::new(place, "bench"), [node(1), node(2)]).await?;
    let (speaker, listener) = (async_nats::connect(server.url()).await?, async_nats::connect(server.url()).await?);
    let hears = tokio::sync::Mutex::new(listener.subscribe("raw").await?);
    listener.flush().await?;
    let publish = async || {
        speaker.publish("raw", vec![7; BYTES].into()).await?;
        speaker.flush().await?;
        hears.lock().await.next().await.map(drop).context("the listener has ended")
    };
    measure("NATS", publish, || pair.pass()).await
}
