//! The attackers: tasks that do harm until they are stopped.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::client::Client;
use crate::wire::{frame, upgrade};

/// How long an attacker waits before it tries again, after the host has refused it.
const PAUSE: Duration = Duration::from_millis(100);

/// The address of the attackers. The neighbours have another one, so limits of addresses tell them apart.
pub(crate) const ATTACKERS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);

/// What all attackers of an attack have done together.
#[derive(Default)]
pub(crate) struct Tally {
    open: AtomicUsize,
    pub(crate) open_max: AtomicUsize,
    /// Milliseconds of the connection that the host held for the longest time.
    pub(crate) held_max: AtomicU64,
    /// Connections that the host has closed, or didn't accept.
    pub(crate) closed: AtomicUsize,
    /// Messages that were sent, and their answers.
    pub(crate) sent: AtomicUsize,
    pub(crate) answered: AtomicUsize,
}

/// A connection that the tally counts.
struct Held {
    tally: Arc<Tally>,
    since: Instant,
}

impl Held {
    fn new(tally: &Arc<Tally>) -> Self {
        let open = tally.open.fetch_add(1, Ordering::Relaxed) + 1;
        tally.open_max.fetch_max(open, Ordering::Relaxed);
        Self { tally: Arc::clone(tally), since: Instant::now() }
    }

    /// The host has closed the connection.
    fn closed(self) {
        self.tally.closed.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.tally.open.fetch_sub(1, Ordering::Relaxed);
        let held = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.tally.held_max.fetch_max(held, Ordering::Relaxed);
    }
}

/// What the attackers need.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    pub(crate) tally: Arc<Tally>,
    /// Where the attackers run.
    pub(crate) runtime: Handle,
}

/// Starts the runtime of the attackers: one thread with the lowest priority. Real attackers have machines of their own, so they don't
/// take the time of the neighbours' processors.
pub(crate) fn runtime() -> Result<Runtime> {
    let give_way = || {
        // If this fails, the neighbours wait for the attackers, too.
        let _ = rustix::process::nice(19);
    };
    let mut builder = Builder::new_multi_thread();
    Ok(builder.worker_threads(1).enable_all().on_thread_start(give_way).build()?)
}

/// Running attackers. They stop when this is dropped.
pub(crate) type Attackers = JoinSet<()>;

/// Starts `count` tasks, each of which attacks again and again. The number of the task is its parameter.
fn again<F>(place: &Place, count: usize, attack: impl Fn(Place, usize) -> F + Send + Sync + 'static) -> Attackers
where
    F: Future<Output = Result<()>> + Send,
{
    let (attack, mut attackers, runtime) = (Arc::new(attack), JoinSet::new(), place.runtime.clone());
    for number in 0..count {
        let (place, attack) = (place.clone(), Arc::clone(&attack));
        let task = async move {
            loop {
                // An error is what an attacker must expect: the host has refused it or closed the connection.
                if attack(place.clone(), number).await.is_err() {
                    sleep(PAUSE).await;
                }
            }
        };
        attackers.spawn_on(task, &runtime);
    }
    attackers
}

/// A connection without a WebSocket.
async fn connect(place: &Place) -> Result<(TcpStream, Held)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((ATTACKERS, 0).into())?;
    // So that a client that doesn't read fills up soon.
    socket.set_recv_buffer_size(8 << 10)?;
    let stream = socket.connect(place.address).await?;
    stream.set_nodelay(true)?;
    Ok((stream, Held::new(&place.tally)))
}

/// A WebSocket, of which the attacker writes and reads the bytes itself.
async fn open(place: &Place, deflates: bool) -> Result<(TcpStream, Held)> {
    let (mut stream, held) = connect(place).await?;
    let (mut request, mut answer) = (Vec::new(), [0; 1024]);
    upgrade::ask(place.address, "/socket/websocket?vsn=2.0.0", deflates, &mut request);
    stream.write_all(&request).await?;
    let length = stream.read(&mut answer).await?;
    if !upgrade::is_accepted(&answer[..length]) {
        held.closed();
        anyhow::bail!("the host refuses the connection");
    }
    Ok((stream, held))
}

fn text(message: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write_masked(frame::TEXT, message.as_bytes(), &mut bytes);
    bytes
}

/// Sends a byte again and again, until the host closes the connection.
async fn drip(mut stream: TcpStream, held: Held, every: Duration) -> Result<()> {
    let mut buffer = [0; 64];
    loop {
        // A close frame, the end and an error all mean that the host has closed.
        if timeout(every, stream.read(&mut buffer)).await.is_ok() || stream.write_all(b"a").await.is_err() {
            held.closed();
            return Ok(());
        }
    }
}

/// Connections whose request never ends.
pub(crate) fn slow_handshakes(place: &Place) -> Attackers {
    again(place, 200, |place, _| async move {
        let (mut stream, held) = connect(&place).await?;
        stream.write_all(b"GET /socket/websocket HTTP/1.1\r\nHost: a\r\nx-long: ").await?;
        drip(stream, held, Duration::from_millis(300)).await
    })
}

/// Sockets with a message that never ends.
pub(crate) fn slow_frames(place: &Place) -> Attackers {
    again(place, 200, |place, _| async move {
        let (mut stream, held) = open(&place, false).await?;
        // The header of a masked text frame of 60,000 bytes.
        stream.write_all(&[0x81, 0xfe, 0xea, 0x60, 1, 2, 3, 4]).await?;
        drip(stream, held, Duration::from_millis(100)).await
    })
}

/// Sockets that send nothing, as those of machines that have vanished.
pub(crate) fn silent(place: &Place) -> Attackers {
    again(place, 500, |place, _| async move {
        let (mut stream, held) = open(&place, false).await?;
        let mut buffer = [0; 64];
        let _ = stream.read(&mut buffer).await;
        held.closed();
        Ok(())
    })
}

/// Members that read nothing, in a topic with much traffic.
pub(crate) fn deaf(place: &Place) -> Attackers {
    let mut attackers = again(place, 50, |place, _| async move {
        let (mut stream, held) = open(&place, false).await?;
        stream.write_all(&text(r#"["1","1","bench:deaf","phx_join",{}]"#)).await?;
        // It takes as long as the host keeps the connection; a heartbeat shows that the client is alive.
        while stream.write_all(&text(r#"[null,"2","phoenix","heartbeat",{}]"#)).await.is_ok() {
            sleep(Duration::from_millis(200)).await;
        }
        held.closed();
        Ok(())
    });
    let (place, filling, runtime) = (place.clone(), "x".repeat(8_000), place.runtime.clone());
    let shouter = async move {
        loop {
            let shouting = async {
                let mut client = Client::connect_from(ATTACKERS, place.address).await?;
                client.send(r#"["1","1","bench:deaf","phx_join",{}]"#.to_owned()).await?;
                client.next().await?;
                loop {
                    client.send(format!(r#"["1","2","bench:deaf","shout",{{"x":"{filling}"}}]"#)).await?;
                    client.next().await?;
                    sleep(Duration::from_millis(10)).await;
                }
            };
            let _: Result<()> = shouting.await;
            sleep(PAUSE).await;
        }
    };
    attackers.spawn_on(shouter, &runtime);
    attackers
}

/// Sends messages for this time or until the host closes: 20 at once, as fast as the host takes them or with pauses. Counts them
/// and their answers.
async fn flood(place: &Place, topic: &str, time: Duration, pause: Duration) -> Result<()> {
    let (stream, held) = open(place, false).await?;
    let (mut reader, mut writer) = stream.into_split();
    let join = text(&format!(r#"["1","1","{topic}","phx_join",{{}}]"#));
    let burst = text(&format!(r#"["1","2","{topic}","echo",{{}}]"#)).repeat(20);
    writer.write_all(&join).await?;
    let tally = &place.tally;
    let writing = async {
        while writer.write_all(&burst).await.is_ok() {
            tally.sent.fetch_add(20, Ordering::Relaxed);
            if !pause.is_zero() {
                sleep(pause).await;
            }
        }
    };
    let reading = async {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(length @ 1..) = reader.read(&mut buffer).await {
            let answers = memchr::memmem::find_iter(&buffer[..length], b"\"ok\"").count();
            tally.answered.fetch_add(answers, Ordering::Relaxed);
        }
    };
    let ended = timeout(time, async { tokio::join!(writing, reading) }).await;
    if ended.is_ok() {
        held.closed();
        sleep(PAUSE).await;
    }
    Ok(())
}

/// Sockets that send as much as they can.
pub(crate) fn floods(place: &Place) -> Attackers {
    again(place, 8, |place, number| async move {
        flood(&place, &format!("bench:flood{number}"), Duration::from_secs(3600), Duration::ZERO).await
    })
}

/// Clients that send 200 messages a second, and connect again each half second, as if that gave them new limits.
pub(crate) fn reconnecting_floods(place: &Place) -> Attackers {
    again(place, 200, |place, number| async move {
        flood(&place, &format!("naughty:f{number}"), Duration::from_millis(500), Duration::from_millis(100)).await
    })
}

/// Compressed messages that inflate to a thousand times as many bytes.
pub(crate) fn bombs(place: &Place) -> Attackers {
    let mut compressor = flate2::Compress::new(flate2::Compression::best(), false);
    let mut compressed = Vec::with_capacity(64 << 10);
    // The message is far larger than a message may be.
    compressor
        .compress_vec(&vec![b'0'; 8 << 20], &mut compressed, flate2::FlushCompress::Sync)
        .expect("zeros can be compressed");
    compressed.truncate(compressed.len() - 4);
    let mut bomb = Vec::new();
    frame::write_masked(frame::TEXT | 0x40, &compressed, &mut bomb);
    let bomb = Arc::new(bomb);
    again(place, 16, move |place, _| {
        let bomb = Arc::clone(&bomb);
        async move {
            let (mut stream, held) = open(&place, true).await?;
            stream.write_all(&bomb).await?;
            place.tally.sent.fetch_add(1, Ordering::Relaxed);
            let _ = stream.read(&mut [0; 64]).await;
            held.closed();
            Ok(())
        }
    })
}

/// Requests that are no requests, which the host logs.
pub(crate) fn garbage(place: &Place) -> Attackers {
    again(place, 16, |place, _| async move {
        let (mut stream, held) = connect(&place).await?;
        stream.write_all(b"GET /socket/websocket?vsn=9 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        held.closed();
        sleep(Duration::from_millis(5)).await;
        Ok(())
    })
}

/// Members that send an event of the plugin `naughty` again and again, and join again when the host ends them.
pub(crate) fn naughty(place: &Place, event: &'static str) -> Attackers {
    again(place, 8, move |place, number| async move {
        let topic = format!("naughty:a{number}");
        let mut client = Client::connect_from(ATTACKERS, place.address).await?;
        let _held = Held::new(&place.tally);
        loop {
            client.send(format!(r#"["1","1","{topic}","phx_join",{{}}]"#)).await?;
            if !client.next().await?.contains(r#""ok""#) {
                sleep(Duration::from_millis(100)).await;
                continue;
            }
            client.send(format!(r#"["1","2","{topic}","{event}",{{}}]"#)).await?;
            place.tally.sent.fetch_add(1, Ordering::Relaxed);
            client.next().await.context("an answer, or the end of the member")?;
        }
    })
}

/// Members that store rows as fast as they can.
pub(crate) fn stores(place: &Place) -> Attackers {
    let value = Arc::new("x".repeat(4_000));
    again(place, 8, move |place, number| {
        let value = Arc::clone(&value);
        async move {
            let topic = format!("naughty:s{number}");
            let mut client = Client::connect_from(ATTACKERS, place.address).await?;
            let _held = Held::new(&place.tally);
            client.send(format!(r#"["1","1","{topic}","phx_join",{{}}]"#)).await?;
            ensure!(client.next().await?.contains(r#""ok""#), "the join is refused");
            loop {
                let key = place.tally.sent.fetch_add(1, Ordering::Relaxed);
                let row = format!(r#"{{"key":"k{key}","value":"{value}"}}"#);
                client.send(format!(r#"["1","2","{topic}","store_put",{row}]"#)).await?;
                let answer = client.next().await?;
                ensure!(answer.contains(r#""ok""#), "{answer}");
                place.tally.answered.fetch_add(1, Ordering::Relaxed);
            }
        }
    })
}
