//! The channel written directly for axum: a task and a queue for each socket, and a map of topics. It supports the part of
//! Phoenix's protocol that the measurements need.

use std::collections::HashMap;
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::any;
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

/// The maximum number of frames that wait to be written to a socket. If there are more, the socket is removed from the
/// topic.
const OUTBOX_FRAMES: usize = 1_024;

/// Small, because there are thousands of sockets.
const READ_BUFFER_BYTES: usize = 4 << 10;

/// The members of each topic: the number of a socket, and the sender of its queue. The lock is held only while the map is
/// read or changed, and never across an `await`.
#[derive(Default)]
struct Topics(Mutex<HashMap<String, HashMap<u64, mpsc::Sender<Utf8Bytes>>>>);

static SOCKETS: AtomicU64 = AtomicU64::new(0);

/// `[join_ref,ref,topic,event,payload]`
#[derive(Deserialize)]
struct Frame<'a>(
    #[serde(borrow)] Option<&'a str>,
    #[serde(borrow)] Option<&'a str>,
    #[serde(borrow)] &'a str,
    #[serde(borrow)] &'a str,
    #[serde(borrow)] &'a RawValue,
);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let router = Router::new().route("/socket/websocket", any(upgrade)).with_state(Arc::new(Topics::default()));
    peers::serve(router).await
}

async fn upgrade(State(topics): State<Arc<Topics>>, socket: WebSocketUpgrade) -> Response {
    socket.read_buffer_size(READ_BUFFER_BYTES).on_upgrade(move |socket| run(socket, topics))
}

/// Serves one socket until it ends.
async fn run(socket: WebSocket, topics: Arc<Topics>) {
    // Relaxed, because the number only has to be unique.
    let number = SOCKETS.fetch_add(1, Ordering::Relaxed);
    let (sender, mut outbox) = mpsc::channel(OUTBOX_FRAMES);
    let (mut write, mut read) = socket.split();
    let mut joined = Vec::new();
    loop {
        tokio::select! {
            message = read.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    let Ok(frame) = serde_json::from_str(&text) else { break };
                    for answer in topics.handle(&frame, number, &sender, &mut joined) {
                        if write.feed(answer.into()).await.is_err() {
                            break;
                        }
                    }
                }
                Some(Ok(Message::Close(_))) | None | Some(Err(_)) => break,
                Some(Ok(_)) => {}
            },
            Some(text) = outbox.recv() => {
                let mut next = Some(text);
                // All waiting frames are sent with one flush.
                while let Some(text) = next {
                    if write.feed(Message::Text(text)).await.is_err() {
                        break;
                    }
                    next = outbox.try_recv().ok();
                }
            }
        }
        if write.flush().await.is_err() {
            break;
        }
    }
    for topic in joined {
        topics.leave(&topic, number);
    }
    // An error means that the client has already closed the connection.
    let _ = write.close().await;
}

impl Topics {
    /// Handles a frame and returns the answers to this socket.
    fn handle(
        &self,
        frame: &Frame<'_>,
        number: u64,
        sender: &mpsc::Sender<Utf8Bytes>,
        joined: &mut Vec<String>,
    ) -> Vec<String> {
        let Frame(join_reference, reference, topic, event, payload) = frame;
        let word = |word: &Option<&str>| word.map_or_else(|| "null".to_owned(), |word| format!("\"{word}\""));
        let (join_reference, reference) = (word(join_reference), word(reference));
        let reply = |response| {
            format!(
                "[{join_reference},{reference},\"{topic}\",\"phx_reply\",{{\"status\":\"ok\",\"response\":{response}}}]"
            )
        };
        match *event {
            "shout" => {
                self.shout(topic, &format!("[null,null,\"{topic}\",\"shout\",{payload}]").into());
                Vec::new()
            }
            "phx_join" => {
                joined.push((*topic).to_owned());
                self.join(topic, number, sender.clone());
                vec![reply("{}")]
            }
            "phx_leave" => {
                joined.retain(|other| other != topic);
                self.leave(topic, number);
                vec![reply("{}"), format!("[{join_reference},{join_reference},\"{topic}\",\"phx_close\",{{}}]")]
            }
            _ => vec![reply(payload.get())],
        }
    }

    fn join(&self, topic: &str, number: u64, sender: mpsc::Sender<Utf8Bytes>) {
        let mut topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        topics.entry(topic.to_owned()).or_default().insert(number, sender);
    }

    fn leave(&self, topic: &str, number: u64) {
        let mut topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(members) = topics.get_mut(topic) {
            members.remove(&number);
        }
    }

    fn shout(&self, topic: &str, text: &Utf8Bytes) {
        let mut topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(members) = topics.get_mut(topic) {
            // A member whose queue is full is removed.
            members.retain(|_, sender| sender.try_send(text.clone()).is_ok());
        }
    }
}
