//! Connections: accepted up to a number, and given so long to say what they want.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
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
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tower_service::Service;

use super::connect::origin_of;
use super::request::prepare;
use super::stream::{Receipts, TrackedStream};
use crate::socket::{Client, Reason, Tally};
use crate::timing;

/// How long a client may take over the head of a request. Past it the connection is closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes of a request's head, and so of connect parameters.
const HEAD_BYTES_MAX: usize = 32 << 10;

/// Connections beyond the sockets that may be open: pages, operators, and those who are told that there is no room.
const CONNECTIONS_SPARE: usize = 32;

/// How long to wait where the operating system gives no connection, such as for want of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that may be lost on their way, one behind the other, before there is such a pause: should an error that looks like
/// theirs be the listener's, it mustn't take a processor.
const LOST_IN_A_ROW: u32 = 64;

/// Accepts connections and serves them, until the future is dropped. Those that were accepted go on.
pub async fn listen(listener: TcpListener, router: Router, sockets: usize, tally: Arc<Tally>) {
    let most = sockets.saturating_add(CONNECTIONS_SPARE).min(Semaphore::MAX_PERMITS);
    let free = Arc::new(Semaphore::new(most));
    let mut lost = 0;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => match Arc::clone(&free).try_acquire_owned() {
                Ok(permit) => {
                    lost = 0;
                    let connection = Connection { peer, router: router.clone(), tally: Arc::clone(&tally) };
                    tokio::spawn(connection.serve(stream, permit));
                }
                Err(_) => {
                    tally.note(Reason::ConnectionLimit, &Client { peer: Some(peer), mount: "", origin: None });
                }
            },
            // That one is gone; the next is as good as ever.
            Err(error) if is_of_one_connection(&error) && lost < LOST_IN_A_ROW => {
                lost += 1;
                tracing::debug!("a connection was lost on its way: {error}");
            }
            Err(error) => {
                lost = 0;
                tracing::warn!("no connection could be accepted: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether an error of `accept` is that of the connection that would have been accepted. Linux passes on what has happened to it
/// already (accept(2)), and a firewall's refusal. Any other is the listener's own, or the process's.
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

/// One that was accepted.
struct Connection {
    peer: SocketAddr,
    router: Router,
    tally: Arc<Tally>,
}

impl Connection {
    async fn serve(self, stream: TcpStream, permit: OwnedSemaphorePermit) {
        // A frame is written in one go, so there is nothing for the kernel to wait for.
        let _ = stream.set_nodelay(true);
        let (permit, receipts) = (Arc::new(permit), Arc::<Receipts>::default());
        let stream = TrackedStream::new(stream, Arc::clone(&receipts));
        let answer = move |mut request: Request<Incoming>| {
            let prepared = prepare(&mut request);
            request.extensions_mut().insert(ConnectInfo(self.peer));
            // An upgraded connection outlives this task, and takes its permit along.
            request.extensions_mut().insert(Arc::clone(&permit));
            request.extensions_mut().insert(Arc::clone(&receipts));
            let answering = match prepared {
                Ok(()) => Ok(self.router.clone().call(request.map(Body::new))),
                Err(lack) => Err(self.refuse(&request, lack)),
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
        if let Err(error) = connection.await {
            tracing::debug!("a connection broke: {error}");
        }
    }

    /// Answers a request that isn't even fit to be routed.
    fn refuse<B>(&self, request: &Request<B>, lack: &str) -> Response<Body> {
        let origin = origin_of(request.headers());
        let client = Client { peer: Some(self.peer), mount: request.uri().path(), origin: origin.as_deref() };
        self.tally.note(Reason::BadRequest, &client);
        (StatusCode::BAD_REQUEST, format!("this request can't be served: {lack}\n")).into_response()
    }
}

/// hyper's timers, of which only the time counts in which this host ran: a head that came while it stood still is read before its
/// connection is given up.
struct AwakeTimer;

/// The sleep of such a timer.
struct AwakeSleep(Pin<Box<dyn Future<Output = ()> + Send + Sync>>);

impl Timer for AwakeTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(AwakeSleep(Box::pin(timing::sleep(duration))))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(deadline.saturating_duration_since(Instant::now()))
    }
}

impl Future for AwakeSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(context)
    }
}

impl Sleep for AwakeSleep {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_listener_s_own_errors_are_waited_for() {
        let of_one = |error: Errno| is_of_one_connection(&io::Error::from(error));
        for lost in [Errno::CONNABORTED, Errno::CONNRESET, Errno::INTR, Errno::PERM, Errno::PROTO, Errno::NETDOWN] {
            assert!(of_one(lost), "{lost}");
        }
        for own in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::BADF, Errno::INVAL] {
            assert!(!of_one(own), "{own}");
        }
    }
}
