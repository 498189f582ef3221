use bennu_guest::prelude::*;

#[cfg(test)]
mod tests;

/// One window of a user. Each user has a topic, such as `inbox:ada`.
#[derive(Serialize, Deserialize)]
struct Inbox;

#[derive(Serialize, Deserialize)]
struct Note {
    id: String,
    text: String,
    at: u64,
}

impl Channel for Inbox {
    type Room = ();

    fn join(socket: &mut Socket, _params: Payload) -> Join<Self> {
        // With tokens, let only the owner in: compare `socket.topic()` with `socket.user()`, and `refuse` others.
        let notes = store::scan(format!("{}/", socket.topic())).values().collect::<Result<Vec<Note>, _>>()?;
        socket.respond(json!({ "unread": notes }));
        Ok(Inbox)
    }

    fn handle_in(&mut self, socket: &mut Socket, event: &str, payload: Payload) -> Handled {
        match event {
            // All windows of the user drop a note that was read in one of them.
            "read" => {
                let id: String = payload.field("id")?;
                store::delete(format!("{}/{id}", socket.topic()));
                socket.broadcast("read", json!({ "id": id }));
                ok()
            }
            "tell" => {
                let (user, text): (String, String) = (payload.field("user")?, payload.field("text")?);
                socket.send(&format!("inbox:{user}"), "notify", json!({ "text": text }));
                ok()
            }
            _ => unknown_event(event),
        }
    }

    /// Messages to the topic, also from other programs: bennu send inbox:ada notify '{"text": "hi"}'
    fn handle_message(topic: &mut Topic, event: &str, payload: Payload) -> Handled {
        match event {
            "notify" if topic.name().contains('/') => {
                reply_error(json!({ "reason": "an inbox has no / in its name" }))
            }
            "notify" => {
                let note = Note { id: unique_id(), text: payload.field("text")?, at: now_ms() };
                store::put(format!("{}/{}", topic.name(), note.id), &note);
                topic.broadcast("notified", &note);
                reply(json!({ "id": note.id }))
            }
            _ => unknown_event(event),
        }
    }
}

channels! { "inbox:*" => Inbox }
