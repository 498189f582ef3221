use bennu_guest::prelude::*;

#[cfg(test)]
mod tests;

/// A member's own state. The host keeps it between calls, and across reloads.
#[derive(Serialize, Deserialize)]
struct Chat {
    user: String,
}

impl Channel for Chat {
    type Room = ();

    fn join(socket: &mut Socket, params: Payload) -> Join<Self> {
        let user: String = params.field("user")?;
        socket.broadcast_from("joined", json!({ "user": user }));
        socket.push_presence();
        socket.track(&user, json!({ "online_at": now_ms() }));
        Ok(Chat { user })
    }

    fn handle_in(&mut self, socket: &mut Socket, event: &str, payload: Payload) -> Handled {
        if event != "new_msg" {
            return unknown_event(event);
        }
        let body: String = payload.field("body")?;
        socket.broadcast("new_msg", json!({ "user": self.user, "body": body }));
        ok()
    }

    fn terminate(&mut self, socket: &mut Socket, _ending: Ending) {
        socket.broadcast("left", json!({ "user": self.user }));
    }
}

channels! { "room:*" => Chat }
