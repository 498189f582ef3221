//! A server that receives what a host delivers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use bennu_test_engines::{eventually, free_port};

/// A request that was received.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// Its path.
    pub path: String,
    /// The headers, with names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
    /// When it was received completely.
    pub at: Instant,
    /// The number of its connection, since the receiver's port was opened.
    pub connection: usize,
}

/// What a receiver does with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// It answers with this status, and perhaps further lines of the head.
    Answer(u16, &'static str),
    /// It never answers.
    Hang,
    /// It closes the connection.
    Close,
}

type React = dyn Fn(&Delivered, usize) -> Reaction + Send + Sync;

/// A server on this machine.
pub struct Receiver {
    port: u16,
    received: Arc<Mutex<Vec<Delivered>>>,
    react: Arc<React>,
    /// The tasks of its listener and its connections. `None` while it is down.
    tasks: Option<JoinSet<()>>,
}

impl Receiver {
    /// A server that accepts everything.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn open() -> Result<Self> {
        Self::with(|_, _| Reaction::Answer(204, "")).await
    }

    /// A server that reacts to each request as the function says, which also gets how many have the same path, with this one.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn with(react: impl Fn(&Delivered, usize) -> Reaction + Send + Sync + 'static) -> Result<Self> {
        let port = free_port()?;
        let mut receiver = Self { port, received: Arc::default(), react: Arc::new(react), tasks: None };
        receiver.come_up().await?;
        Ok(receiver)
    }

    /// The URL of a path on it.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// All requests so far.
    #[must_use]
    pub fn received(&self) -> Vec<Delivered> {
        noted(&self.received).clone()
    }

    /// The bodies of all requests so far, as text.
    #[must_use]
    pub fn bodies(&self) -> Vec<String> {
        noted(&self.received).iter().map(Delivered::text).collect()
    }

    /// Waits until it has received this many requests.
    ///
    /// # Errors
    /// If they don't come in time.
    pub async fn has_received(&self, count: usize) -> Result<Vec<Delivered>> {
        eventually("the receiver gets its requests", async || {
            let received = self.received();
            Ok((received.len() >= count).then_some(received))
        })
        .await
    }

    /// Closes its port and all connections at once, as a kill does. Nobody else gets the port.
    pub fn go_down(&mut self) {
        self.tasks = None;
    }

    /// Opens its port again.
    ///
    /// # Errors
    /// If the port is taken.
    pub async fn come_up(&mut self) -> Result<()> {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], self.port));
        let listener = eventually("the port is free", async || {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            Ok(socket.bind(address).ok().map(|()| socket))
        });
        self.serve(listener.await?.listen(128)?);
        Ok(())
    }

    fn serve(&mut self, listener: TcpListener) {
        let (received, react) = (Arc::clone(&self.received), Arc::clone(&self.react));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // The connections end with this task.
            let (mut connections, mut number) = (JoinSet::new(), 0);
            while let Ok((stream, _)) = listener.accept().await {
                number += 1;
                let (received, react) = (Arc::clone(&received), Arc::clone(&react));
                connections.spawn(async move {
                    // A connection may end at any time.
                    let _ = answer_all(stream, number, &received, &*react).await;
                });
            }
        });
        self.tasks = Some(tasks);
    }
}

impl Delivered {
    /// The body, as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// Reads the next request on a connection. Returns its head and its body.
///
/// # Errors
/// If the connection ends.
pub async fn read_request(stream: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let length = header(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok((head, body))
}

/// A header of a head.
#[must_use]
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

async fn answer_all(
    mut stream: TcpStream,
    connection: usize,
    received: &Mutex<Vec<Delivered>>,
    react: &React,
) -> Result<()> {
    loop {
        let (head, body) = read_request(&mut stream).await?;
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        let headers = lines.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let delivered = Delivered { path, headers, body, at: Instant::now(), connection };
        let count = {
            let mut received = noted(received);
            received.push(delivered.clone());
            received.iter().filter(|other| other.path == delivered.path).count()
        };
        match react(&delivered, count) {
            Reaction::Answer(status, further) => {
                let length = if status == 204 { "" } else { "content-length: 0\r\n" };
                stream.write_all(format!("HTTP/1.1 {status} X\r\n{length}{further}\r\n").as_bytes()).await?;
            }
            Reaction::Hang => std::future::pending().await,
            Reaction::Close => return Ok(()),
        }
    }
}

fn noted(received: &Mutex<Vec<Delivered>>) -> MutexGuard<'_, Vec<Delivered>> {
    received.lock().unwrap_or_else(PoisonError::into_inner)
}
