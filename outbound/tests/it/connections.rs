//! Which connections are used again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bennu_outbound::{FailureKind, OutboundLimits};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::server::{Asking, Server, ok, read_head};

#[tokio::test]
async fn a_connection_is_used_again() {
    let server = Server::answering(|_| ok(b"x")).await;
    let asking = Asking::new(&[&format!("http://a.example:{}/*", server.port)], OutboundLimits::default());
    for _ in 0..3 {
        asking.get(&format!("http://a.example:{}/", server.port)).await.unwrap();
    }
    assert_eq!((server.connections(), asking.client.counts().idle_connections), (1, 1));
    assert_eq!(*asking.network.lookups.lock().unwrap(), 1);
}

/// A server that answers the first request of each connection, and closes the connection when it has read a second one.
async fn closing() -> (Server, Arc<AtomicUsize>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    let serve = move |mut stream: TcpStream| {
        let counted = Arc::clone(&counted);
        async move {
            read_head(&mut stream).await?;
            counted.fetch_add(1, Ordering::SeqCst);
            stream.write_all(&ok(b"x")).await?;
            read_head(&mut stream).await?;
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    };
    (Server::new(serve).await, requests)
}

#[tokio::test]
async fn a_get_on_a_connection_that_was_closed_meanwhile_is_sent_again() {
    let (server, requests) = closing().await;
    let asking = Asking::new(&[&format!("http://a.example:{}/*", server.port)], OutboundLimits::default());
    let url = format!("http://a.example:{}/", server.port);
    asking.get(&url).await.unwrap();
    asking.get(&url).await.unwrap();
    assert_eq!((requests.load(Ordering::SeqCst), server.connections()), (3, 2));
}

#[tokio::test]
async fn a_request_that_must_not_be_sent_twice_is_sent_once_also_if_it_only_reads() {
    for method in ["GET", "HEAD"] {
        let (server, requests) = closing().await;
        let asking = Asking::new(&[&format!("http://a.example:{}/*", server.port)], OutboundLimits::default());
        let url = format!("http://a.example:{}/", server.port);
        asking.get(&url).await.unwrap();
        let mut request = asking.checked(method, &url, &[], "");
        request.send_at_most_once();
        let failure = asking.client.send(&asking.access, &request).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Broken);
        assert_eq!((requests.load(Ordering::SeqCst), server.connections()), (2, 1), "{method}");
    }
}

#[tokio::test]
async fn a_post_that_was_perhaps_received_is_sent_once() {
    let (server, requests) = closing().await;
    let asking = Asking::new(&[&format!("http://a.example:{}/*", server.port)], OutboundLimits::default());
    let url = format!("http://a.example:{}/", server.port);
    asking.get(&url).await.unwrap();
    let failure = asking.send("POST", &url, &[], "").await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Broken);
    assert_eq!((requests.load(Ordering::SeqCst), server.connections()), (2, 1));
}

#[tokio::test]
async fn a_server_that_does_not_listen_is_unreachable() {
    let server = Server::answering(|_| ok(b"")).await;
    let port = server.port;
    drop(server);
    // The port may have gone to another process meanwhile: then the answer is another one, but there is one.
    let asking = Asking::new(&[&format!("http://a.example:{port}/*")], OutboundLimits::default());
    assert!(asking.get(&format!("http://a.example:{port}/")).await.is_err());
    let asking = Asking::new(&["http://nowhere.example/*"], OutboundLimits::default());
    assert_eq!(asking.failure("http://nowhere.example/").await, FailureKind::Unreachable);
}
