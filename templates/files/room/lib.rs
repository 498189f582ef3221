use std::collections::BTreeMap;

use bennu_guest::prelude::*;

#[cfg(test)]
mod tests;

const CHOICES: [&str; 3] = ["tea", "coffee", "water"];

/// A member's own state.
#[derive(Serialize, Deserialize)]
struct Voter {
    user: String,
}

/// The state that all members of a topic share: the choice of each user.
#[derive(Default, Serialize, Deserialize)]
struct Poll {
    votes: BTreeMap<String, String>,
}

impl Channel for Voter {
    type Room = Poll;

    fn join(socket: &mut Socket<Poll>, params: Payload) -> Join<Self> {
        let user = params.field("user")?;
        show(socket);
        Ok(Voter { user })
    }

    fn handle_in(&mut self, socket: &mut Socket<Poll>, event: &str, payload: Payload) -> Handled {
        match event {
            "vote" => {
                let choice: String = payload.field("choice")?;
                if !CHOICES.contains(&choice.as_str()) {
                    return reply_error(json!({ "reason": format!("choice: expected one of {}", CHOICES.join(", ")) }));
                }
                socket.room_mut().votes.insert(self.user.clone(), choice);
                show(socket);
                ok()
            }
            _ => unknown_event(event),
        }
    }
}

/// Publishes the counts. Clients get the whole state when they join, and then only what has changed.
fn show(socket: &mut Socket<Poll>) {
    let mut counts: BTreeMap<&str, u32> = CHOICES.map(|choice| (choice, 0)).into();
    for choice in socket.room().votes.values() {
        *counts.entry(choice).or_default() += 1;
    }
    let counts = json!({ "counts": counts });
    socket.publish_state(counts);
}

channels! { "poll:*" => Voter }
