//! Connections: accepted up to a number, and given so long to say what they want.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tower_service::Service;

/// How long a client may take over the head of a request. Past it the connection is closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes of a request's head, and so of connect parameters.
const HEAD_BYTES_MAX: usize = 32 << 10;

/// Connections beyond the sockets that may be open: pages, operators, and those who are told that there is no room.
const CONNECTIONS_SPARE: usize = 32;

/// How long to wait where the operating system gives no connection, such as for want of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections and serves them, until the future is dropped. Those that were accepted go on.
pub async fn listen(listener: TcpListener, router: Router, sockets: usize) {
    let most = sockets.saturating_add(CONNECTIONS_SPARE).min(Semaphore::MAX_PERMITS);
    let free = Arc::new(Semaphore::new(most));
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => match Arc::clone(&free).try_acquire_owned() {
                Ok(permit) => drop(tokio::spawn(serve(stream, peer, router.clone(), permit))),
                Err(_) => tracing::debug!("a connection was closed: there are as many as there may be"),
            },
            Err(error) => {
                tracing::warn!("no connection could be accepted: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, router: Router, permit: OwnedSemaphorePermit) {
    // A frame is written in one go, so there is nothing for the kernel to wait for.
    let _ = stream.set_nodelay(true);
    let permit = Arc::new(permit);
    let answer = move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        // An upgraded connection outlives this task, and takes its permit along.
        request.extensions_mut().insert(Arc::clone(&permit));
        let answering = router.clone().call(request.map(Body::new));
        async move { answering.await as Result<Response<Body>, Infallible> }
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service_fn(answer))
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!("a connection broke: {error}");
    }
}
