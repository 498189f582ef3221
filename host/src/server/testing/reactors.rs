//! Tests of reactors (threads that serve connections): injected faults, and clients that take much time.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use flate2::{Compress, Compression, FlushCompress, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use crate::auth::Origins;
use crate::channel::{Node, NodeLimits};
use crate::presence::Pace;
use crate::protocol::Dialect;
use crate::pubsub::OutboxLimits;
use crate::routes::RouteTable;
use crate::socket::{Endpoint, Reason, SocketLimits, Sockets};
use crate::store::{Store, StoreLimits};
use crate::transport::{
    Accepting, Authenticator, ConnectionLimit, Fault, LiveRouter, Mount, Reactors, WireLimits, listen,
};

/// The maximum time for each expected event.
const DEADLINE: Duration = Duration::from_secs(20);

/// The limit of sockets.
const SOCKETS: usize = 4;

/// A host without plugins that listens on a free port.
struct Stage {
    address: SocketAddr,
    reactors: Arc<Reactors>,
    sockets: Arc<Sockets>,
}

impl Stage {
    async fn new(threads: usize) -> anyhow::Result<Self> {
        Self::with(threads, false).await
    }

    async fn with(threads: usize, compress: bool) -> anyhow::Result<Self> {
        let store = Store::in_memory(StoreLimits::default())?;
        let node =
            Node::new(Arc::new(RouteTable::default()), NodeLimits::default(), Pace::default(), store, Arc::default());
        let reactors = Reactors::start(threads, &node.pubsub.pressure)?;
        let sockets = Arc::<Sockets>::default();
        let endpoint = Endpoint {
            node,
            sockets: Arc::clone(&sockets),
            limits: SocketLimits::default(),
            outbox_limits: OutboxLimits::default(),
        };
        let limits = WireLimits { frame_bytes: 1 << 20, idle: 3 * DEADLINE, poll_window: Duration::from_secs(10) };
        let mount = Mount {
            path: "/socket".into(),
            websocket: true,
            longpoll: false,
            origins: Origins::Any,
            subprotocols: Vec::new(),
            dialect: Dialect::Phoenix,
            compress,
            auth_token: false,
            authenticator: Authenticator::Open,
            endpoint,
            limits,
            gate: ConnectionLimit::new(SOCKETS),
            reactors: Arc::clone(&reactors),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let router = LiveRouter::new(vec![Arc::new(mount)], Router::new(), None, Arc::clone(&sockets.tally));
        let accepting = Accepting { tally: Arc::clone(&sockets.tally), ..Accepting::default() };
        tokio::spawn(listen(Arc::new(listener), router, SOCKETS, accepting));
        Ok(Self { address, reactors, sockets })
    }

    /// Connects clients up to the limit, and checks that another one is refused.
    async fn fill(&self) -> anyhow::Result<Vec<Client>> {
        let mut clients = Vec::new();
        for _ in 0..SOCKETS {
            let mut client = Client::connect(self.address).await?.expect("there is room");
            assert!(client.is_served().await?);
            clients.push(client);
        }
        assert!(Client::connect(self.address).await?.is_none(), "there is no more room");
        Ok(clients)
    }
}

/// A WebSocket client that can only ping.
struct Client(TcpStream);

impl Client {
    /// Connects. Returns none if the host refuses the upgrade.
    async fn connect(address: SocketAddr) -> anyhow::Result<Option<Self>> {
        let mut stream = TcpStream::connect(address).await?;
        let request = "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n\
            upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            sec-websocket-extensions: permessage-deflate\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(DEADLINE, stream.read_u8()).await??);
        }
        Ok(head.starts_with(b"HTTP/1.1 101").then_some(Self(stream)))
    }

    /// Reads the answers to heartbeats that have come. Returns their number.
    fn answers(&mut self) -> anyhow::Result<usize> {
        let mut text = vec![0; 1 << 20];
        match self.0.try_read(&mut text) {
            Ok(0) => anyhow::bail!("the host has closed the connection"),
            Ok(read) => Ok(text[..read].windows(9).filter(|word| word == b"phx_reply").count()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a ping. Returns whether the pong came; otherwise the connection has ended.
    async fn is_served(&mut self) -> anyhow::Result<bool> {
        // An empty ping with a mask of zeros.
        let asked = self.0.write_all(&[0x89, 0x80, 0, 0, 0, 0]).await;
        let mut pong = [0; 2];
        match timeout(DEADLINE, async { asked.and(self.0.read_exact(&mut pong).await) }).await? {
            Ok(_) => Ok(pong == [0x8A, 0]),
            Err(error) if is_end(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Clients that send many short messages, each of which is a megabyte when it is inflated. The thread of their connections
/// has other clients too.
#[tokio::test(flavor = "multi_thread")]
async fn messages_that_inflate_much_do_not_delay_other_clients() -> anyhow::Result<()> {
    const BOMBS: usize = 200;
    let stage = Stage::with(1, true).await?;
    let mut clients = stage.fill().await?;
    let mut other = clients.remove(0);
    let bombs = bomb().repeat(BOMBS);
    for client in &mut clients {
        client.0.write_all(&bombs).await?;
    }
    for ping in 1..=3 {
        let before = answered(&mut clients)?;
        assert!(other.is_served().await?);
        let during = answered(&mut clients)?;
        // A turn completes one of them at most. Without limits it would complete 32 of each client, which is 96.
        assert!(during <= 24, "{during} were inflated before the answer to ping {ping}, and {before} before it");
    }
    // All clients make progress.
    for client in &mut clients {
        let end = Instant::now() + DEADLINE;
        while client.answers()? == 0 {
            assert!(Instant::now() < end, "a client gets no answer");
            sleep(Duration::from_millis(5)).await;
        }
    }
    Ok(())
}

/// Returns a compressed frame with a heartbeat of almost a megabyte.
fn bomb() -> Vec<u8> {
    let text = format!(r#"[null,"1","phoenix","heartbeat",{{"filling":"{}"}}]"#, "x".repeat(1_000_000));
    let mut compressed = Vec::with_capacity(text.len());
    let status =
        Compress::new(Compression::best(), false).compress_vec(text.as_bytes(), &mut compressed, FlushCompress::Sync);
    assert!(matches!(status, Ok(Status::Ok)) && compressed.len() < 2_000, "{status:?}, {}", compressed.len());
    compressed.truncate(compressed.len() - 4);
    // A text frame with the bit for compression, and with a mask of zeros.
    let length = u16::try_from(compressed.len()).expect("it is short");
    [&[0xC1, 0x80 | 126], &length.to_be_bytes()[..], &[0; 4], &compressed].concat()
}

/// Returns how many more heartbeats of these clients are answered.
fn answered(clients: &mut [Client]) -> anyhow::Result<usize> {
    clients.iter_mut().map(Client::answers).sum()
}

fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

/// Waits until exactly this many sockets are open.
async fn open(stage: &Stage, count: usize) {
    let end = Instant::now() + DEADLINE;
    while stage.sockets.count() != count {
        assert!(Instant::now() < end, "{} are open", stage.sockets.count());
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_survive_single_faults_of_their_thread() -> anyhow::Result<()> {
    let stage = Stage::new(1).await?;
    let mut clients = stage.fill().await?;
    for fault in [Fault::Panic, Fault::Poll, Fault::Panic, Fault::Panic, Fault::Poll] {
        stage.reactors.inject_fault(0, fault);
        for client in &mut clients {
            assert!(client.is_served().await?, "after {fault:?}");
        }
    }
    Ok(())
}

/// A ping must be answered only with a pong, and not with data of another connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_one_connection_ends_only_it_and_leaks_nothing_to_others() -> anyhow::Result<()> {
    let stage = Stage::new(1).await?;
    let mut clients = stage.fill().await?;
    stage.reactors.inject_fault(0, Fault::PanicInConnection);
    open(&stage, SOCKETS - 1).await;
    let mut served = 0;
    for client in &mut clients {
        served += usize::from(client.is_served().await?);
    }
    assert_eq!(served, SOCKETS - 1);
    let counts: Vec<_> = stage.sockets.tally.counts().filter(|(_, count)| *count > 0).collect();
    assert!(counts.contains(&(Reason::HostPanicked, 1)), "{counts:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_panics_while_it_is_closed_is_counted_once() -> anyhow::Result<()> {
    let stage = Stage::new(1).await?;
    let _clients = stage.fill().await?;
    let refused = stage.sockets.tally.counts().collect::<Vec<_>>();
    stage.reactors.inject_fault(0, Fault::PanicAfterNote);
    open(&stage, SOCKETS - 1).await;
    let counts = stage.sockets.tally.counts().zip(refused);
    let added: Vec<_> = counts.map(|((reason, count), (_, before))| (reason, count - before)).collect();
    assert!(added.contains(&(Reason::Idle, 1)), "{added:?}");
    assert_eq!(added.iter().map(|(_, count)| count).sum::<u64>(), 1, "{added:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_panic_again_while_they_are_closed_end_too() -> anyhow::Result<()> {
    let stage = Stage::new(1).await?;
    let mut clients = stage.fill().await?;
    stage.reactors.inject_fault(0, Fault::PanicInClosing);
    open(&stage, SOCKETS - 2).await;
    let mut served = 0;
    for client in &mut clients {
        served += usize::from(client.is_served().await?);
    }
    assert_eq!(served, SOCKETS - 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_ends_closes_its_connections_and_gets_no_more() -> anyhow::Result<()> {
    for fault in [Fault::PanicAlways, Fault::PollAlways] {
        let stage = Stage::new(2).await?;
        let mut clients = stage.fill().await?;
        stage.reactors.inject_fault(0, fault);
        // Connections are distributed evenly, so half of them belonged to that thread.
        open(&stage, SOCKETS / 2).await;
        let mut served = Vec::new();
        for mut client in clients.drain(..) {
            if client.is_served().await? {
                served.push(client);
            }
        }
        assert_eq!(served.len(), SOCKETS / 2, "after {fault:?}");
        // Their places are free, and each new client is served.
        for _ in 0..SOCKETS / 2 {
            let mut client = Client::connect(stage.address).await?.expect("there is room again");
            assert!(client.is_served().await?, "after {fault:?}");
            served.push(client);
        }
        assert!(Client::connect(stage.address).await?.is_none(), "there is no more room");
        for client in &mut served {
            assert!(client.is_served().await?, "after {fault:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_thread_a_new_client_is_closed_and_does_not_hang() -> anyhow::Result<()> {
    let stage = Stage::new(1).await?;
    stage.reactors.inject_fault(0, Fault::PanicAlways);
    let end = Instant::now() + DEADLINE;
    while let Some(mut client) = Client::connect(stage.address).await? {
        if !client.is_served().await? {
            break;
        }
        assert!(Instant::now() < end, "the client is still served");
    }
    open(&stage, 0).await;
    Ok(())
}
