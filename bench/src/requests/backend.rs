//! The server that is asked: a thread that answers every request alike, and keeps connections open.

use std::net::{self, SocketAddr};
use std::thread;

use anyhow::{Context, Result};
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{\"status\":\"ok\"}";

/// A server on this machine, until the process ends.
pub(super) struct Backend {
    pub(super) address: SocketAddr,
}

impl Backend {
    pub(super) fn start() -> Result<Self> {
        let listener = net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        // The clients find out if it fails.
        thread::Builder::new().name("backend".into()).spawn(move || drop(serve(listener)))?;
        Ok(Self { address })
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// In a runtime of its own, whose thread is none of the clients'.
fn serve(listener: net::TcpListener) -> Result<()> {
    Builder::new_current_thread().enable_all().build()?.block_on(accept_all(listener))
}

async fn accept_all(listener: net::TcpListener) -> Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        // A client may close its connection at any time.
        tokio::spawn(async move { drop(answer_all(stream).await) });
    }
}

async fn answer_all(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut read = Vec::with_capacity(4096);
    loop {
        let head = loop {
            if let Some(end) = memmem::find(&read, b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        };
        let length = content_length(&read[..head])?;
        while read.len() < head + length {
            if stream.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        }
        read.drain(..head + length);
        stream.write_all(ANSWER).await?;
    }
}

fn content_length(head: &[u8]) -> Result<usize> {
    let head = std::str::from_utf8(head)?;
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    let line = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    line.map_or(Ok(0), |(_, length)| length.trim().parse().context("a content-length"))
}
