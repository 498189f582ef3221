//! Servers that answer too much, too slowly, or not at all.

use std::io::{self, Write as _};
use std::time::Duration;

use bennu_outbound::{FailureKind, OutboundLimits};
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::server::{Asking, Server, never, ok, read_head, short};

/// Asks a server that serves each connection with a function, and returns the kind of the failure.
async fn failure<F>(limits: OutboundLimits, serve: impl Fn(TcpStream) -> F + Send + 'static) -> FailureKind
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let server = Server::new(serve).await;
    let asking = Asking::new(&[&format!("http://a.example:{}/*", server.port)], limits);
    let failure = asking.failure(&format!("http://a.example:{}/", server.port)).await;
    let counts = asking.client.counts();
    assert_eq!((counts.under_way, counts.idle_connections, counts.failed.iter().sum()), (0, 0, 1));
    failure
}

#[tokio::test]
async fn a_server_that_never_answers_is_a_timeout() {
    assert_eq!(failure(short(), never).await, FailureKind::Timeout);
}

#[tokio::test]
async fn a_server_that_answers_a_byte_at_a_time_is_a_timeout() {
    let head = |mut stream: TcpStream| async move {
        read_head(&mut stream).await?;
        for byte in b"HTTP/1.1 200 OK\r\nx: ".iter().chain(std::iter::repeat(&b'y')) {
            stream.write_u8(*byte).await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    };
    assert_eq!(failure(short(), head).await, FailureKind::Timeout);
    let body = |mut stream: TcpStream| async move {
        read_head(&mut stream).await?;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await?;
        loop {
            stream.write_u8(b'y').await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert_eq!(failure(short(), body).await, FailureKind::Timeout);
}

#[tokio::test]
async fn a_caller_may_ask_for_a_shorter_time() {
    let server = Server::new(never).await;
    let asking = Asking::new(&[&format!("http://a.example:{}/*", server.port)], OutboundLimits::default());
    let request = bennu_outbound::Request {
        method: "GET".into(),
        url: format!("http://a.example:{}/", server.port),
        headers: Vec::new(),
        body: bytes::Bytes::new(),
        timeout: Some(Duration::from_millis(50)),
    };
    let checked = asking.access.check(&request, asking.client.limits()).unwrap();
    let failure = asking.client.send(&asking.access, &checked).await.unwrap_err();
    assert_eq!(failure.to_string(), "timeout: the answer took more than 50 ms");
}

#[tokio::test]
async fn ten_gigabytes_are_too_large() {
    let announced = |mut stream: TcpStream| async move {
        read_head(&mut stream).await?;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10737418240\r\n\r\n").await?;
        loop {
            stream.write_all(&[b'x'; 65_536]).await?;
        }
    };
    assert_eq!(failure(OutboundLimits::default(), announced).await, FailureKind::TooLarge);
    let chunked = |mut stream: TcpStream| async move {
        read_head(&mut stream).await?;
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
        loop {
            stream.write_all(b"10000\r\n").await?;
            stream.write_all(&[b'x'; 65_536]).await?;
            stream.write_all(b"\r\n").await?;
        }
    };
    assert_eq!(failure(OutboundLimits::default(), chunked).await, FailureKind::TooLarge);
    let until_closed = |mut stream: TcpStream| async move {
        read_head(&mut stream).await?;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
        loop {
            stream.write_all(&[b'x'; 65_536]).await?;
        }
    };
    assert_eq!(failure(OutboundLimits::default(), until_closed).await, FailureKind::TooLarge);
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_an_answer() {
    let limits = OutboundLimits { received_bytes: 1000, ..OutboundLimits::default() };
    for (bytes, is_answer) in [(1000, true), (1001, false)] {
        let server = Server::answering(move |_| ok(&vec![b'x'; bytes])).await;
        let asking = Asking::new(&[&format!("http://a.example:{}/*", server.port)], limits);
        assert_eq!(asking.get(&format!("http://a.example:{}/", server.port)).await.is_ok(), is_answer);
    }
}

#[tokio::test]
async fn a_gzip_bomb_is_too_large() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..64 {
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 1 << 17, "{} bytes are no bomb", bomb.len());
    let serve = move |mut stream: TcpStream| {
        let bomb = bomb.clone();
        async move {
            read_head(&mut stream).await?;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", bomb.len());
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&bomb).await
        }
    };
    assert_eq!(failure(OutboundLimits::default(), serve).await, FailureKind::TooLarge);
}

#[tokio::test]
async fn headers_without_end_are_too_large() {
    let long = |mut stream: TcpStream| async move {
        read_head(&mut stream).await?;
        stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await?;
        loop {
            stream.write_all(&[b'y'; 4096]).await?;
        }
    };
    assert_eq!(failure(OutboundLimits::default(), long).await, FailureKind::TooLarge);
    let many = |mut stream: TcpStream| async move {
        read_head(&mut stream).await?;
        stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
        stream.write_all(&b"x: y\r\n".repeat(200)).await?;
        stream.write_all(b"content-length: 0\r\n\r\n").await
    };
    assert_eq!(failure(OutboundLimits::default(), many).await, FailureKind::TooLarge);
}

#[tokio::test]
async fn a_server_that_closes_half_way_is_broken() {
    let answers: [&'static [u8]; 6] = [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhal",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    ];
    for answer in answers {
        let serve = move |mut stream: TcpStream| async move {
            read_head(&mut stream).await?;
            stream.write_all(answer).await?;
            stream.shutdown().await
        };
        let kind = failure(OutboundLimits::default(), serve).await;
        assert_eq!(kind, FailureKind::Broken, "{}", answer.escape_ascii());
    }
}

#[tokio::test]
async fn past_the_number_at_once_a_request_is_busy() {
    let server = Server::new(never).await;
    let limits = OutboundLimits { at_once_per_plugin: 1, ..OutboundLimits::default() };
    let asking = Asking::new(&[&format!("http://a.example:{}/*", server.port)], limits);
    let url = format!("http://a.example:{}/", server.port);
    let mut first = Box::pin(asking.get(&url));
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut first).await.is_err());
    assert_eq!(asking.failure(&url).await, FailureKind::Busy);
    assert_eq!(asking.client.counts().under_way, 1);
    // A caller that gives up frees the place.
    drop(first);
    assert_eq!(asking.client.counts().under_way, 0);
}
