//! The WebSocket transport.
//!
//! One task a connection: it reads, has the socket decide, and writes all that the outbox holds in one go.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use bytestring::ByteString;
use futures_util::stream::FusedStream;
use futures_util::{FutureExt, SinkExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Error as WireError;

use super::connect::{Admitted, Transport};
use super::doorman::Turned;
use super::mount::{Entered, Mount};
use crate::contract::Ending;
use crate::protocol::{CloseCode, Frame};
use crate::pubsub::Taken;
use crate::socket::Socket;

/// Small, for there are many connections and few of them speak at a time; a longer message is read in pieces.
const READ_BUFFER_BYTES: usize = 4 << 10;

/// What is encoded before it is written to the connection.
const WRITE_BUFFER_BYTES: usize = 16 << 10;

/// More than the envelope of any frame has, around its payload.
const FRAME_HEAD_BYTES: usize = 64 << 10;

/// How long the other side may take over the end of the connection.
const GOODBYE: Duration = Duration::from_secs(2);

/// The most messages that are handled before what they led to is written.
const READ_BATCH: usize = 32;

/// Answers a connect request, in the order in which Phoenix judges one: the method, whether the client may connect, and only
/// then the upgrade.
pub(super) async fn connect(
    State(mount): State<Arc<Mount>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    if request.method() != Method::GET {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let (mut parts, _) = request.into_parts();
    let permit = parts.extensions.remove::<Arc<OwnedSemaphorePermit>>();
    let Admitted { serializer, facts, protocol } = match mount.admit(&parts, peer, Transport::WebSocket).await {
        Ok(admitted) => admitted,
        Err(turned) => return turned.status().into_response(),
    };
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(rejection) => return refuse(&rejection),
    };
    let Some(entered) = mount.gate.enter() else {
        return Turned::Full.status().into_response();
    };
    let bytes = mount.limits.frame_bytes;
    upgrade
        .protocols(protocol)
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        // A frame over the buffer is still taken whole, and the next one waits until it is written. The bound leaves room
        // for the largest there is; only the answers to a flood of pings can reach it, and then they replace one another.
        .max_write_buffer_size(WRITE_BUFFER_BYTES + mount.limits.frame_bytes_out + FRAME_HEAD_BYTES)
        .max_message_size(bytes)
        .max_frame_size(bytes)
        .on_upgrade(move |websocket| async move {
            let _connection = permit;
            let socket = mount.endpoint.connect(facts, serializer);
            Connection::new(websocket, mount.limits.idle).run(socket, entered).await;
        })
}

fn refuse(rejection: &WebSocketUpgradeRejection) -> Response {
    (StatusCode::BAD_REQUEST, format!("this is a WebSocket: {rejection}\n")).into_response()
}

/// Why a connection ends.
enum End {
    /// The connection broke.
    Gone,
    /// The client has closed.
    Closed,
    /// It is to be closed from here.
    Close(CloseCode),
}

struct Connection {
    websocket: WebSocket,
    idle: Duration,
    heard: Instant,
    frames: VecDeque<Frame>,
}

impl Connection {
    fn new(websocket: WebSocket, idle: Duration) -> Self {
        Self { websocket, idle, heard: Instant::now(), frames: VecDeque::new() }
    }

    async fn run(mut self, mut socket: Socket, _entered: Entered) {
        let end = self.serve(&mut socket).await;
        let ending = match end {
            End::Close(CloseCode::ServiceRestart) => Ending::Shutdown,
            End::Close(_) | End::Closed | End::Gone => Ending::Closed,
        };
        let _registered = socket.close(ending);
        // A client that doesn't even take the goodbye is let go without.
        let _ = match end {
            End::Close(code) => timeout(GOODBYE, self.say_goodbye(code)).await,
            // The answer to its close waits to be written.
            End::Closed => timeout(GOODBYE, async { drop(self.websocket.flush().await) }).await,
            End::Gone => Ok(()),
        };
    }

    async fn serve(&mut self, socket: &mut Socket) -> End {
        let outbox = Arc::clone(socket.outbox());
        let idle = sleep_until(self.heard + self.idle);
        tokio::pin!(idle);
        loop {
            // In no fixed order: neither may a client that talks without pause starve what is for it, nor the other way.
            tokio::select! {
                taken = poll_fn(|context| outbox.poll_take(context, &mut self.frames)) => {
                    if let Err(end) = self.on_taken(&taken, socket).await {
                        return end;
                    }
                }
                received = self.websocket.recv(), if !socket.is_held_back() => {
                    if let Err(end) = self.on_received(received, socket) {
                        return end;
                    }
                }
                () = &mut idle => {
                    let deadline = self.heard + self.idle;
                    if socket.is_held_back() {
                        // It isn't silent: we don't listen.
                        self.heard = Instant::now();
                    } else if deadline <= Instant::now() {
                        return End::Close(CloseCode::ProtocolError);
                    }
                    idle.as_mut().reset(self.heard + self.idle);
                }
            }
        }
    }

    async fn on_taken(&mut self, taken: &Taken, socket: &mut Socket) -> Result<(), End> {
        if !self.frames.is_empty() {
            self.write_or_close(socket).await?;
        }
        if let Taken::Close(code) = taken {
            return Err(End::Close(*code));
        }
        // Whatever the outbox woke us for: what was held back may go on.
        socket.resume();
        Ok(())
    }

    /// Writes, unless the connection is to be closed meanwhile, or the client takes nothing for as long as it may be silent.
    async fn write_or_close(&mut self, socket: &Socket) -> Result<(), End> {
        let (outbox, idle) = (Arc::clone(socket.outbox()), self.idle);
        let closing = tokio::select! {
            biased;
            written = self.write() => return written,
            code = poll_fn(|context| outbox.poll_closing(context)) => code,
            () = sleep(idle) => CloseCode::SlowConsumer,
        };
        if closing != CloseCode::SlowConsumer {
            let _ = timeout(GOODBYE, self.write()).await;
        }
        Err(End::Close(closing))
    }

    /// Writes all that was taken, in as few calls as it fits.
    async fn write(&mut self) -> Result<(), End> {
        while let Some(frame) = self.frames.pop_front() {
            self.websocket.feed(message(frame)).await.map_err(|_| End::Gone)?;
        }
        self.websocket.flush().await.map_err(|_| End::Gone)
    }

    /// Handles a message and those that have arrived behind it, before anything is written.
    fn on_received(&mut self, received: Option<Result<Message, axum::Error>>, socket: &mut Socket) -> Result<(), End> {
        self.heard = Instant::now();
        self.handle(received, socket)?;
        for _ in 1..READ_BATCH {
            if socket.is_held_back() {
                break;
            }
            let Some(received) = self.websocket.recv().now_or_never() else { break };
            self.handle(received, socket)?;
        }
        Ok(())
    }

    fn handle(&self, received: Option<Result<Message, axum::Error>>, socket: &mut Socket) -> Result<(), End> {
        let frame = match received {
            Some(Ok(Message::Text(text))) => Frame::Text(text_of(text)),
            Some(Ok(Message::Binary(bytes))) => Frame::Binary(bytes),
            // A ping is answered below us.
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Ok(()),
            Some(Ok(Message::Close(_))) => return Err(End::Closed),
            None => return Err(End::Gone),
            Some(Err(error)) => return Err(why(error)),
        };
        socket.receive(&frame).map_err(|closing| End::Close(closing.0))
    }

    /// Says why, and waits for the client to close too: bytes that it has on the way would break the connection before
    /// it reads the reason.
    async fn say_goodbye(&mut self, code: CloseCode) {
        let close = CloseFrame { code: code.code(), reason: Utf8Bytes::default() };
        if self.websocket.send(Message::Close(Some(close))).await.is_err() {
            return;
        }
        if self.websocket.is_terminated() {
            // Its framing is broken, so nothing more can be read of it; what it sends waits in the kernel.
            sleep(GOODBYE).await;
        }
        while let Some(Ok(_)) = self.websocket.recv().await {}
    }
}

fn message(frame: Frame) -> Message {
    match frame {
        Frame::Text(text) => match Utf8Bytes::try_from(text.into_bytes()) {
            Ok(text) => Message::Text(text),
            Err(_) => Message::Text(Utf8Bytes::default()),
        },
        Frame::Binary(bytes) => Message::Binary(bytes),
    }
}

fn text_of(text: Utf8Bytes) -> ByteString {
    ByteString::try_from(Bytes::from(text)).unwrap_or_default()
}

/// What a client is told about an error of its own in the framing.
fn why(error: axum::Error) -> End {
    match error.into_inner().downcast_ref::<WireError>() {
        Some(WireError::Capacity(_)) => End::Close(CloseCode::TooBig),
        Some(WireError::Utf8(_)) => End::Close(CloseCode::InvalidText),
        Some(WireError::Protocol(
            tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
        )) => End::Gone,
        Some(WireError::Protocol(_)) => End::Close(CloseCode::ProtocolError),
        _ => End::Gone,
    }
}
