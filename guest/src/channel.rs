//! The trait that a plugin's author implements.

use serde::{Serialize, de::DeserializeOwned};

use crate::{Decided, Decision, Ending, Handled, Join, Message, Payload, Socket, Topic, log, no_reply, unknown_event};

/// What a channel means. The implementing struct is one member's state.
///
/// Every method gets the state as it was last committed, and what it changes is committed with the effects that it asked
/// of the [`Socket`], all together, once it has returned.
pub trait Channel: Sized + Serialize + DeserializeOwned {
    /// The state that all members of a topic share: read and written by [`Socket::room`] and [`Socket::room_mut`], and
    /// its default for a topic where nobody has written it yet. `()` means none.
    type Room: Default + Serialize + DeserializeOwned;

    /// The events that pass through [`handle_out`](Channel::handle_out) on their way to each member.
    const INTERCEPTS: &'static [&'static str] = &[];

    /// What is waited for before a callback runs.
    const TURNS: Turns = Turns::Member;

    /// What a fault leads to.
    const ON_FAULT: OnFault = OnFault::End;

    /// The version of this struct's encoding.
    const ASSIGNS_VERSION: u32 = 0;

    /// The version of the room's encoding.
    const ROOM_VERSION: u32 = 0;

    /// A client asks to join a topic, with the parameters that it sent along: `Ok` lets it in, [`refuse`](crate::refuse)
    /// doesn't. The `ok` reply carries `{}`, or what [`Socket::respond`] was given; effects follow the reply.
    fn join(socket: &mut Socket<Self::Room>, params: Payload) -> Join<Self>;

    /// The client sent an event. Answer with [`ok`](crate::ok), [`reply`](crate::reply()),
    /// [`reply_error`](crate::reply_error), [`no_reply`] or [`stop`](crate::stop); `?` on a bad payload is an error
    /// reply.
    ///
    /// An error reply undoes nothing: what was changed and asked for before it stands, so look at the payload first.
    fn handle_in(&mut self, socket: &mut Socket<Self::Room>, event: &str, payload: Payload) -> Handled {
        let _ = (socket, payload);
        unknown_event(event)
    }

    /// A message that no client sent. Its source says where it comes from:
    ///
    /// - `self`: this member's own [`Socket::send_self`] or [`Socket::send_after`]
    /// - `intercept`: an event that [`handle_out`](Channel::handle_out) handed over
    /// - `topic`: an event of a topic that it [subscribed](Socket::subscribe) to
    /// - `answer`: the reply to what it [sent](Socket::send) to another topic
    ///
    /// Answer with [`no_reply`] or [`stop`](crate::stop): there is nobody to reply to.
    fn handle_info(&mut self, socket: &mut Socket<Self::Room>, message: Message) -> Handled {
        let _ = socket;
        // Who sends without looking at the answer doesn't miss it.
        if message.source != "answer" {
            log::warn!("nothing handles the message {:?} from {}", message.event, message.source);
        }
        no_reply()
    }

    /// Something was sent to the topic, rather than broadcast: by the host's HTTP API, by `bennu send`, or by another
    /// channel's [`Socket::send`]; whether anyone has joined the topic or not. There is no member. Answer with
    /// [`reply`](crate::reply()) or [`no_reply`]: who sent it gets the answer.
    fn handle_message(topic: &mut Topic<Self::Room>, event: &str, payload: Payload) -> Handled {
        let _ = (topic, payload);
        unknown_event(event)
    }

    /// One of the [`INTERCEPTS`](Channel::INTERCEPTS) is about to reach this member. It reads: it changes no state and
    /// asks for no effect.
    fn handle_out(&self, recipient: &Recipient, event: &str, payload: &Payload) -> Decided {
        let _ = (recipient, event, payload);
        Ok(Decision::Pass)
    }

    /// The member has ended. What is asked of the socket is still carried out.
    fn terminate(&mut self, socket: &mut Socket<Self::Room>, ending: Ending) {
        let _ = (socket, ending);
    }
}

/// What is waited for before a callback runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turns {
    /// The callbacks of one member run one after another; those of two members may run at once.
    Member,
    /// The callbacks of all members of a topic run one after another.
    Topic,
}

/// What a fault in a callback of a member leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFault {
    /// The member ends with `phx_error`, and its client joins again.
    End,
    /// The member lives on with the state that it had, and a client that sent a message gets an `error` reply.
    Keep,
}

/// The member that an intercepted event is about to reach; its state is `self`.
#[derive(Clone, Copy, Debug)]
pub struct Recipient<'a> {
    topic: &'a str,
    member: u64,
}

impl<'a> Recipient<'a> {
    pub(crate) fn new(topic: &'a str, member: u64) -> Self {
        Self { topic, member }
    }

    /// The topic of the event.
    pub fn topic(&self) -> &str {
        self.topic
    }

    /// The member's number.
    pub fn member_id(&self) -> u64 {
        self.member
    }
}
