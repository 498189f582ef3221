use std::collections::BTreeMap;

use bennu_guest::prelude::*;

#[cfg(test)]
mod tests;

const CHOICES: [&str; 3] = ["tea", "coffee", "water"];
const ROUND: Duration = Duration::from_secs(60);

/// A member's own state.
#[derive(Serialize, Deserialize)]
struct Voter {
    user: String,
}

/// The state that all members of a topic share: the choice of each user, and who won the last round. It is stored.
#[derive(Default, Serialize, Deserialize)]
struct Poll {
    votes: BTreeMap<String, String>,
    winner: Option<String>,
}

impl Channel for Voter {
    type Room = Poll;
    const DURABLE: bool = true;

    fn join(socket: &mut Socket<Poll>, params: Payload) -> Join<Self> {
        let user = params.field("user")?;
        let shown = shown(socket.room());
        socket.publish_state(shown);
        Ok(Voter { user })
    }

    fn handle_in(&mut self, socket: &mut Socket<Poll>, event: &str, payload: Payload) -> Handled {
        if event != "vote" {
            return unknown_event(event);
        }
        let choice: String = payload.field("choice")?;
        if !CHOICES.contains(&choice.as_str()) {
            return reply_error(json!({ "reason": format!("choice: expected one of {}", CHOICES.join(", ")) }));
        }
        // The first vote begins a round.
        if socket.room().votes.is_empty() {
            schedule::after(socket.topic(), ROUND, "round", "end", json!({}));
        }
        socket.room_mut().votes.insert(self.user.clone(), choice);
        let shown = shown(socket.room());
        socket.publish_state(shown);
        ok()
    }

    /// Comes at its time, also if everybody has left, and late if the host didn't run.
    fn handle_topic_info(topic: &mut Topic<Poll>, message: Message) -> Told {
        if message.event == "end" {
            let poll = topic.room_mut();
            let counts = poll.counts();
            let best = CHOICES.into_iter().rev().max_by_key(|choice| counts[choice]);
            *poll = Poll { winner: best.map(str::to_owned), votes: BTreeMap::new() };
            let shown = shown(topic.room());
            topic.publish_state(shown);
        }
        Ok(())
    }
}

impl Poll {
    fn counts(&self) -> BTreeMap<&'static str, usize> {
        CHOICES.map(|choice| (choice, self.votes.values().filter(|vote| *vote == choice).count())).into()
    }
}

/// The published state. Clients get the whole state when they join, and then only what has changed.
fn shown(poll: &Poll) -> Value {
    json!({ "counts": poll.counts(), "winner": poll.winner })
}

channels! { "poll:*" => Voter }
