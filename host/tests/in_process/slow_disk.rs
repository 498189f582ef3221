//! A store on a slow disk, with real WebSockets: only the member whose callback reads from the disk waits.

use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::support::{Part, Stage, admitted, nothing, replied};
use anyhow::{Context, Result, ensure};
use axum::Router;
use bennu::auth::Origins;
use bennu::channel::NodeLimits;
use bennu::contract::{Call, Callback, Fault, Outcome};
use bennu::entries::{CallEntries, EntryInput};
use bennu::protocol::Dialect;
use bennu::pubsub::OutboxLimits;
use bennu::socket::{Endpoint, SocketLimits, Sockets};
use bennu::store::{LogLimits, Logged, Owner, QUOTA_BYTES, Store, StoreLimits};
use bennu::transport::{Accepting, Authenticator, ConnectionLimit, LiveRouter, Mount, Reactors, WireLimits, listen};
use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A disk whose reads wait while a test sets it to slow. The mutex protects the state, and the condition variable reports
/// its changes to the waiting reads.
#[derive(Clone, Debug)]
struct SlowDisk(Arc<(InMemoryBackend, Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    is_slow: bool,
    reading: usize,
}

impl SlowDisk {
    fn new() -> Self {
        Self(Arc::new((InMemoryBackend::new(), Mutex::default(), Condvar::new())))
    }

    fn set(&self, is_slow: bool) {
        self.0.1.lock().expect("no thread panics while it holds this lock").is_slow = is_slow;
        self.0.2.notify_all();
    }

    fn reading(&self) -> usize {
        self.0.1.lock().expect("no thread panics while it holds this lock").reading
    }
}

impl StorageBackend for SlowDisk {
    fn len(&self) -> io::Result<u64> {
        self.0.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.0.1.lock().expect("no thread panics while it holds this lock");
        state.reading += 1;
        let mut state =
            self.0.2.wait_while(state, |state| state.is_slow).expect("no thread panics while it holds this lock");
        state.reading -= 1;
        drop(state);
        self.0.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.0.write(offset, data)
    }
}

/// The event `look` reads from the store. All other events are answered at once.
async fn looking(call: Call, store: Store) -> Result<Outcome, Fault> {
    match call.callback {
        Callback::Join(_) => Ok(admitted()),
        Callback::In { event, .. } if &*event == "look" => {
            let mut draft = store.begin(&Owner::new("script", QUOTA_BYTES).expect("a name"));
            let found = draft.get(b"key").await.map_err(|error| Fault::failed(error.to_string()))?;
            Ok(replied(if found.is_some() { r#"{"found":true}"# } else { r#"{"found":false}"# }))
        }
        Callback::In { .. } => Ok(replied("{}")),
        Callback::Info(_) | Callback::Terminate(_) => Ok(nothing()),
    }
}

/// The event `set` sets an entry, and `look` reads it. All other events are answered at once.
async fn looking_at_entries(call: Call, entries: Option<EntryInput>) -> Result<Outcome, Fault> {
    let mut entries = CallEntries::new(entries.ok_or_else(|| Fault::failed("the topic has no entries"))?, false);
    match call.callback {
        Callback::Join(_) => Ok(admitted()),
        Callback::In { event, .. } if &*event == "set" => {
            entries.put(b"key", &[7; 5000]).await?;
            Ok(Outcome { entries: entries.into_pending(), ..replied("{}") })
        }
        Callback::In { event, .. } if &*event == "look" => {
            let found = entries.get(b"key").await?.is_some();
            Ok(replied(&format!("{{\"found\":{found}}}")))
        }
        Callback::In { .. } => Ok(replied("{}")),
        Callback::Info(_) | Callback::Terminate(_) => Ok(nothing()),
    }
}

/// Starts a host with one thread for all connections. Its store holds a key and has an empty page cache. Returns the port.
async fn serve(disk: &SlowDisk) -> Result<u16> {
    let logs = [SlowDisk::new(), SlowDisk::new()];
    let open = async || -> Result<Store> {
        let (tree, logs) = (disk.clone(), logs.clone());
        let engine = Logged::over(move || tree.clone(), move |which| logs[which].clone(), 0, LogLimits::default())?;
        Store::over(Box::new(engine), StoreLimits::default()).await
    };
    let store = open().await?;
    let mut draft = store.begin(&Owner::new("script", QUOTA_BYTES)?);
    draft.put(b"key", vec![7; 5000].into())?;
    store.commit(draft).await?;
    // What was just written is in memory, so the store is opened again.
    store.close().await;
    let store = open().await?;
    let for_calls = store.clone();
    let plain = Part::new("a", move |call| looking(call, for_calls.clone()));
    let for_calls = store.clone();
    let room =
        Part { options: &[("room", "durable")], ..Part::new("room", move |call| looking(call, for_calls.clone())) };
    let entries = Part { options: &[("room", "durable")], ..Part::with_entries("entries:*", looking_at_entries) };
    let stage = Stage::over(store, [plain, room, entries], NodeLimits::default());
    let node = Arc::clone(&stage.endpoint.node);
    let reactors = Reactors::start(1, &node.pubsub.pressure)?;
    let (limits, outbox_limits) = (SocketLimits::default(), OutboxLimits::default());
    let second = Duration::from_secs(60);
    let mount = Mount {
        path: "/socket".into(),
        websocket: true,
        longpoll: false,
        origins: Origins::default(),
        subprotocols: Vec::new(),
        dialect: Dialect::Phoenix,
        compress: false,
        auth_token: false,
        authenticator: Authenticator::Open,
        endpoint: Endpoint { node, sockets: Arc::new(Sockets::default()), limits, outbox_limits },
        limits: WireLimits { frame_bytes: 1 << 20, idle: second, poll_window: second },
        gate: ConnectionLimit::new(100),
        reactors,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(listen(
        Arc::new(listener),
        LiveRouter::new(vec![Arc::new(mount)], Router::new(), None, Arc::default()),
        100,
        Accepting::default(),
    ));
    Ok(port)
}

/// A minimal WebSocket client.
struct Client(TcpStream);

impl Client {
    async fn connect(port: u16) -> Result<Self> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let request = format!(
            "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        ensure!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        Ok(Self(stream))
    }

    async fn send(&mut self, text: &str) -> Result<()> {
        // The masking key is zero.
        let mut frame = vec![0x81, 0x80 | u8::try_from(text.len())?, 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        Ok(self.0.write_all(&frame).await?)
    }

    async fn receive(&mut self) -> Result<String> {
        let receive = async {
            let head = self.0.read_u16().await?;
            ensure!(head >> 8 == 0x81 && head & 0xff < 126, "not a short text frame: {head:x}");
            let mut text = vec![0; usize::from(head & 0x7f)];
            self.0.read_exact(&mut text).await?;
            Ok(String::from_utf8(text)?)
        };
        tokio::time::timeout(Duration::from_secs(20), receive).await.context("no frame arrived within 20 seconds")?
    }

    async fn ask(&mut self, text: &str) -> Result<String> {
        self.send(text).await?;
        self.receive().await
    }
}

async fn waits_for_the_disk(disk: &SlowDisk) -> Result<()> {
    let waits = async {
        while disk.reading() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waits).await.context("no read of the disk within 20 seconds")
}

/// The runtime has one thread too, so a blocking read there would also fail the test.
#[tokio::test]
async fn a_callback_that_waits_for_a_slow_disk_blocks_no_other_client() -> Result<()> {
    let disk = SlowDisk::new();
    let port = serve(&disk).await?;
    let (mut alice, mut bob) = (Client::connect(port).await?, Client::connect(port).await?);
    for client in [&mut alice, &mut bob] {
        client.ask(r#"["1","1","a","phx_join",{}]"#).await?;
    }
    disk.set(true);
    alice.send(r#"["1","2","a","look",{}]"#).await?;
    waits_for_the_disk(&disk).await?;
    for reference in 3..6 {
        let answer = bob.ask(&format!(r#"["1","{reference}","a","echo",{{}}]"#)).await?;
        ensure!(answer.contains(r#""status":"ok""#), "{answer}");
    }
    // Alice's socket handles messages of other topics too. Only her channel's queue waits.
    ensure!(alice.ask(r#"[null,"9","phoenix","heartbeat",{}]"#).await?.contains(r#""9""#));
    ensure!(disk.reading() > 0, "the read has ended too early");
    disk.set(false);
    ensure!(alice.receive().await?.contains(r#""found":true"#));
    Ok(())
}

#[tokio::test]
async fn opening_a_durable_room_on_a_slow_disk_blocks_no_other_client() -> Result<()> {
    let disk = SlowDisk::new();
    let port = serve(&disk).await?;
    let (mut alice, mut bob) = (Client::connect(port).await?, Client::connect(port).await?);
    bob.ask(r#"["1","1","a","phx_join",{}]"#).await?;
    disk.set(true);
    alice.send(r#"["1","1","room","phx_join",{}]"#).await?;
    waits_for_the_disk(&disk).await?;
    ensure!(bob.ask(r#"["1","2","a","echo",{}]"#).await?.contains(r#""status":"ok""#));
    ensure!(disk.reading() > 0, "the read has ended too early");
    disk.set(false);
    ensure!(alice.receive().await?.contains(r#""status":"ok""#));
    Ok(())
}

#[tokio::test]
async fn a_cold_read_of_an_entry_blocks_no_other_topic() -> Result<()> {
    let disk = SlowDisk::new();
    let port = serve(&disk).await?;
    let (mut alice, mut bob) = (Client::connect(port).await?, Client::connect(port).await?);
    alice.ask(r#"["1","1","entries:1","phx_join",{}]"#).await?;
    bob.ask(r#"["1","1","entries:2","phx_join",{}]"#).await?;
    disk.set(true);
    alice.send(r#"["1","2","entries:1","look",{}]"#).await?;
    waits_for_the_disk(&disk).await?;
    for reference in 2..5 {
        ensure!(
            bob.ask(&format!(r#"["1","{reference}","entries:2","echo",{{}}]"#)).await?.contains(r#""status":"ok""#)
        );
    }
    ensure!(disk.reading() > 0, "the read has ended too early");
    disk.set(false);
    ensure!(alice.receive().await?.contains(r#""found":false"#));
    // A commit doesn't block them either, and what it writes is in memory.
    ensure!(alice.ask(r#"["1","3","entries:1","set",{}]"#).await?.contains(r#""status":"ok""#));
    disk.set(true);
    ensure!(alice.ask(r#"["1","4","entries:1","look",{}]"#).await?.contains(r#""found":true"#));
    disk.set(false);
    Ok(())
}
