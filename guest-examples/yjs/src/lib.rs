//! Documents that several people edit at once, with Yjs. Each topic `doc:NAME` is a document.
//!
//! `page/provider.js` connects a `Y.Doc` of a page to it. The messages are those of y-protocols, as bytes:
//!
//! | the client sends | what it does | reply |
//! | --- | --- | --- |
//! | a join | | `ok`, with the bytes of `sync` step 1: the state vector of the server |
//! | `sync` step 1, its state vector | | `ok`, with the bytes of `sync` step 2: what the client lacks |
//! | `state` | | `ok`, with the same bytes as a join |
//! | `sync` step 2, or an update | stores the update, and sends it to the others | `ok {}`, after it is stored |
//! | `awareness` | shows the client's cursor and name to the others | none |
//!
//! | the client gets | when |
//! | --- | --- |
//! | `sync`, an update | another client has changed the document |
//! | `awareness` | another client's state has changed, or the client is gone |
//! | `who {}` | a new client wants to know the others: send your `awareness` |
//!
//! A message that isn't allowed gets the reply `error {"reason"}`. If an update builds upon changes that the server doesn't
//! have, the reply also has `"resync": true`: ask for the `state`, and send step 2.
//!
//! A client whose claims have `"read_only": true` can't change the document. Otherwise, everybody may who can connect. A
//! document has at most 2 MiB as an update, or the number in the configuration, such as `config = { bytes = 100_000 }`; 3 MiB
//! at most. README.md argues for the design, and has measurements.

use bennu_guest::prelude::*;

mod check;
mod document;
mod protocol;
mod reader;
#[cfg(test)]
mod tests;

use document::{Applied, Document, Head};
use protocol::{Awareness, Sync};

/// The bytes of a document, unless the configuration says otherwise.
const BYTES_USUAL: usize = 2 << 20;

/// The most bytes that the configuration may allow. A call writes at most 4 MiB, and an answer has at most as many.
const BYTES_MAX: usize = 3 << 20;

/// One client that edits or reads a document.
#[derive(Serialize, Deserialize)]
struct Editor {
    reads_only: bool,
    /// The client's id in Yjs and the clock of its awareness, once it has sent one.
    awareness: Option<(u64, u64)>,
}

#[derive(Default, Deserialize)]
struct Config {
    bytes: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Claims {
    read_only: bool,
}

impl Channel for Editor {
    type Room = Head;
    const ENTRIES: bool = true;
    const DURABLE: bool = true;

    fn join(socket: &mut Socket<Head>, _params: Payload) -> Join<Self> {
        let Claims { read_only } = socket.claims().parse()?;
        let state = state(socket)?;
        socket.respond(state);
        socket.broadcast_from("who", json!({}));
        Ok(Editor { reads_only: read_only, awareness: None })
    }

    fn handle_in(&mut self, socket: &mut Socket<Head>, event: &str, payload: Payload) -> Handled {
        match event {
            "sync" => match protocol::read_sync(payload.bytes()?)? {
                Sync::Step1(state_vector) => answer(socket, state_vector),
                Sync::Update(update) => self.change(socket, update),
            },
            "state" => reply(state(socket)?),
            "awareness" => self.show(socket, payload),
            _ => unknown_event(event),
        }
    }

    fn terminate(&mut self, socket: &mut Socket<Head>, _ending: Ending) {
        if let Some((client, clock)) = self.awareness {
            socket.broadcast("awareness", Binary(protocol::gone(&Awareness { client, clock })));
        }
    }
}

/// Returns step 1 of the server.
fn state(socket: &Socket<Head>) -> Result<Binary, Error> {
    let document = Document::open(socket.topic(), socket.room())?;
    let state = protocol::step_1(&document.state_vector());
    document.keep();
    Ok(Binary(state))
}

/// Answers a state vector with what the client lacks.
fn answer(socket: &mut Socket<Head>, state_vector: &[u8]) -> Handled {
    let document = Document::open(socket.topic(), socket.room())?;
    let lacks = document.since(state_vector);
    document.keep();
    match lacks {
        Some(update) => reply(Binary(protocol::step_2(&update))),
        None => because("this is no state vector"),
    }
}

impl Editor {
    /// Changes the document.
    fn change(&self, socket: &mut Socket<Head>, update: &[u8]) -> Handled {
        if self.reads_only {
            return because("you can only read this document");
        }
        let most = config::<Config>()?.bytes.unwrap_or(BYTES_USUAL).min(BYTES_MAX);
        let mut document = Document::open(socket.topic(), socket.room())?;
        match document.apply(update) {
            Applied::Unreadable => return because("this is no update of Yjs"),
            Applied::Incomplete => {
                return refuse(json!({ "reason": "an earlier change is missing", "resync": true }));
            }
            Applied::Known => {}
            Applied::Changed => {
                let mut head = socket.room().clone();
                document.store(update, &mut head, most)?;
                *socket.room_mut() = head;
                socket.broadcast_from("sync", Binary(protocol::update(update)));
            }
        }
        document.keep();
        ok()
    }

    /// Shows the client's state to the others.
    fn show(&mut self, socket: &mut Socket<Head>, payload: Payload) -> Handled {
        let Awareness { client, clock } = protocol::read_awareness(payload.bytes()?)?;
        match self.awareness {
            Some((own, _)) if own != client => return because("a member has one client"),
            _ => self.awareness = Some((client, clock)),
        }
        socket.broadcast_from_droppable(&client.to_string(), "awareness", payload);
        no_reply()
    }
}

/// Refuses a message, with a reason.
fn because<T>(reason: &str) -> Result<T, Error> {
    refuse(json!({ "reason": reason }))
}

channels! { "doc:*" => Editor }
