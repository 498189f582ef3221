//! Accepts connections, up to a limit, and serves HTTP on them, with a time limit for the head of a request.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response, StatusCode};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::rt::{Sleep, Timer};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::sleep;
use tower_service::Service;

use super::LiveRouter;
use super::connect::origin_of;
use super::proxies::{Proxies, plain, read};
use super::request::prepare;
use super::stream::{Receipts, TrackedStream};
use crate::counts::Limit;
use crate::socket::{Client, Reason, Tally};
use crate::timing::{self, AwakeSleep};

/// How long a client may take to send the head of a request, and a proxy to send its header of the PROXY protocol. After that,
/// the connection is closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes of a request's head. The connect parameters are a part of it.
const HEAD_BYTES_MAX: usize = 32 << 10;

/// The number of connections that may be open in addition to the limit of sockets. They are for pages, for operators, and
/// for clients that get an answer that the limit is reached.
const CONNECTIONS_SPARE: usize = 32;

/// How long to wait if the operating system can't accept a connection, for example because of too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The most errors of single connections in a row without such a pause. If the error was really the listener's, the loop
/// would otherwise use a processor completely.
const LOST_IN_A_ROW: u32 = 64;

/// Whether a host accepts connections, and requests on those that it has accepted. The default is that it does.
#[derive(Clone)]
pub struct Intake {
    is_open: Arc<watch::Sender<bool>>,
    connections: Arc<Connections>,
}

/// Each connection that may have requests has a clone of the content.
#[derive(Default)]
struct Connections(Arc<()>);

impl Default for Intake {
    fn default() -> Self {
        Self { is_open: Arc::new(watch::Sender::new(true)), connections: Arc::default() }
    }
}

/// How often [`Intake::drained`] looks.
const LOOK: Duration = Duration::from_millis(5);

impl Intake {
    /// Opens or closes it. While it is closed, new connections wait in the listener's queue. Requests that are being answered
    /// are answered, and then their connections are closed: a connection without a request yet gets its first one answered. WebSocket
    /// connections stay.
    pub fn set(&self, is_open: bool) {
        self.is_open.send_replace(is_open);
    }

    /// Waits until it is closed. An answer without an end has to end then.
    pub async fn closed(&self) {
        self.becomes(false).await;
    }

    /// Waits until no connection may have requests any more. It must be closed. WebSocket connections don't count.
    pub async fn drained(&self) {
        while Arc::strong_count(&self.connections.0) > 1 {
            sleep(LOOK).await;
        }
    }

    /// Waits until it is open, or until it is closed.
    async fn becomes(&self, is_open: bool) {
        // The sender isn't dropped before the receiver.
        let _ = self.is_open.subscribe().wait_for(|is| *is == is_open).await;
    }
}

/// The parts of a host that accepting connections needs.
#[derive(Clone, Default)]
pub struct Accepting {
    /// Counts the clients that are refused.
    pub tally: Arc<Tally>,
    /// Whether connections are accepted.
    pub intake: Intake,
    /// The trusted proxies. They may be exchanged meanwhile.
    pub proxies: Arc<ArcSwap<Proxies>>,
}

/// Accepts connections and serves them while the intake is open, until the future is dropped. Accepted connections continue
/// after that. At most `sockets` and 32 more are open at a time, and further ones are closed at once.
pub async fn listen(listener: Arc<TcpListener>, router: Arc<LiveRouter>, sockets: usize, accepting: Accepting) {
    let most = sockets.saturating_add(CONNECTIONS_SPARE).min(Semaphore::MAX_PERMITS);
    let free = Arc::new(Semaphore::new(most));
    let mut lost = 0;
    // Waited for once, and not for each connection: to begin to wait takes locks.
    let mut closed = pin!(accepting.intake.becomes(false));
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut closed => {
                accepting.intake.becomes(true).await;
                closed.set(accepting.intake.becomes(false));
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match Arc::clone(&free).try_acquire_owned() {
                Ok(permit) => {
                    lost = 0;
                    let (router, accepting) = (Arc::clone(&router), accepting.clone());
                    let connection = Connection { peer: plain(peer), router, accepting };
                    // Boxed, because tokio aligns a task to 128 bytes. glibc doesn't use the place of an aligned allocation
                    // for the next one, so the tasks of connections that were upgraded would leave holes between what is kept
                    // of the connections. A place that isn't aligned is used again.
                    tokio::spawn(Box::pin(connection.serve(stream, permit)));
                }
                Err(_) => {
                    accepting
                        .tally
                        .note(Reason::ConnectionLimit, &Client { peer: Some(peer), mount: "", origin: None });
                }
            },
            // Only this connection is lost. The next one can be accepted at once.
            Err(error) if is_of_one_connection(&error) && lost < LOST_IN_A_ROW => {
                lost += 1;
                tracing::debug!("a connection was lost before it was accepted: {error}");
            }
            Err(error) => {
                lost = 0;
                tracing::warn!("no connection could be accepted: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether an error of `accept` concerns only the connection that was being accepted. Linux returns network errors of the
/// new connection this way (accept(2)), and a firewall's refusal. Any other error concerns the listener or the process.
fn is_of_one_connection(error: &io::Error) -> bool {
    const LOST: [Errno; 13] = [
        Errno::CONNABORTED,
        Errno::CONNRESET,
        Errno::CONNREFUSED,
        Errno::INTR,
        Errno::PERM,
        Errno::PROTO,
        Errno::NOPROTOOPT,
        Errno::OPNOTSUPP,
        Errno::TIMEDOUT,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::NETDOWN,
        Errno::NETUNREACH,
    ];
    Errno::from_io_error(error).is_some_and(|error| LOST.contains(&error))
}

/// The permit of an HTTP connection. Each of its requests has a reference to it.
pub(super) struct HttpPermit(Mutex<Option<OwnedSemaphorePermit>>);

impl HttpPermit {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        Self(Mutex::new(Some(permit)))
    }

    /// Takes it, for the connection into which the HTTP connection is upgraded. By value, because a reference would keep an
    /// allocation for each of the many connections.
    pub(super) fn take(&self) -> Option<OwnedSemaphorePermit> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// An accepted connection.
struct Connection {
    /// The address from which it comes: the client's, or that of the last proxy.
    peer: SocketAddr,
    router: Arc<LiveRouter>,
    accepting: Accepting,
}

impl Connection {
    async fn serve(mut self, mut stream: TcpStream, permit: OwnedSemaphorePermit) {
        // Each write contains complete frames, so the kernel must not delay it to collect more bytes (Nagle's algorithm).
        let _ = stream.set_nodelay(true);
        if self.accepting.proxies.load().announces(self.peer.ip()) && !self.read_proxy_header(&mut stream).await {
            return;
        }
        let (intake, _open) = (self.accepting.intake.clone(), Arc::clone(&self.accepting.intake.connections.0));
        let (permit, receipts) = (Arc::new(HttpPermit::new(permit)), Arc::<Receipts>::default());
        let stream = TrackedStream::new(stream, Arc::clone(&receipts));
        let has_begun = &AtomicBool::new(false);
        let answer = move |mut request: Request<Incoming>| {
            has_begun.store(true, Ordering::Relaxed);
            let prepared = prepare(&mut request);
            let client = self.accepting.proxies.load().client_of(self.peer, request.headers());
            request.extensions_mut().insert(ConnectInfo(client));
            // An upgraded connection outlives this task. So the request carries the permit.
            request.extensions_mut().insert(Arc::clone(&permit));
            request.extensions_mut().insert(Arc::clone(&receipts));
            let answering = match prepared {
                Ok(()) => Ok(self.router.now().call(request.map(Body::new))),
                Err(reason) => Err(self.refuse(&request, client, reason)),
            };
            async move {
                let answer: Result<Response<Body>, Infallible> = match answering {
                    Ok(answering) => answering.await,
                    Err(refusal) => Ok(refusal),
                };
                answer
            }
        };
        let connection = http1::Builder::new()
            .timer(AwakeTimer)
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service_fn(answer))
            .with_upgrades();
        let mut connection = pin!(connection);
        let served = tokio::select! {
            biased;
            served = &mut connection => served,
            () = intake.becomes(false) => {
                // A client that has just connected may have sent its first request already. hyper would close the connection
                // without reading it.
                let first = poll_fn(|context| match connection.as_mut().poll(context) {
                    Poll::Ready(served) => Poll::Ready(Some(served)),
                    Poll::Pending if has_begun.load(Ordering::Relaxed) => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                });
                match first.await {
                    Some(served) => served,
                    None => {
                        connection.as_mut().graceful_shutdown();
                        connection.await
                    }
                }
            }
        };
        if let Err(error) = served {
            // The two limits of a head: its bytes, and the time until it has arrived.
            if error.is_parse_too_large() || error.is_timeout() {
                Limit::RequestHead.hit();
            }
            tracing::debug!("a connection failed: {error}");
        }
    }

    /// Reads the header of the PROXY protocol, and takes the client's address from it. Returns whether there was one.
    async fn read_proxy_header(&mut self, stream: &mut TcpStream) -> bool {
        let reason = match timing::within(HEAD_TIMEOUT, read(stream)).await {
            Some(Ok(client)) => {
                self.peer = client.map_or(self.peer, plain);
                return true;
            }
            Some(Err(error)) => error.to_string(),
            None => "it took too long to send its header of the PROXY protocol".to_owned(),
        };
        tracing::debug!(peer = %self.peer, "a proxy's connection can't be served: {reason}");
        self.accepting.tally.note(Reason::ProxyHeader, &Client { peer: Some(self.peer), mount: "", origin: None });
        false
    }

    /// Answers a request that is invalid for every route.
    fn refuse<B>(&self, request: &Request<B>, client: SocketAddr, reason: &str) -> Response<Body> {
        let origin = origin_of(request.headers());
        let client = Client { peer: Some(client), mount: request.uri().path(), origin: origin.as_deref() };
        self.accepting.tally.note(Reason::BadRequest, &client);
        (StatusCode::BAD_REQUEST, format!("this request can't be served: {reason}\n")).into_response()
    }
}

/// hyper's timer, which counts only the time in which the host ran. If the host was suspended, the head of a request that
/// came meanwhile is read before the connection times out.
struct AwakeTimer;

impl Timer for AwakeTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(timing::sleep(duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(deadline.saturating_duration_since(Instant::now()))
    }
}

impl Sleep for AwakeSleep {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_listener_s_own_errors_cause_a_pause() {
        let of_one = |error: Errno| is_of_one_connection(&io::Error::from(error));
        for lost in [Errno::CONNABORTED, Errno::CONNRESET, Errno::INTR, Errno::PERM, Errno::PROTO, Errno::NETDOWN] {
            assert!(of_one(lost), "{lost}");
        }
        for own in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::BADF, Errno::INVAL] {
            assert!(!of_one(own), "{own}");
        }
    }
}
