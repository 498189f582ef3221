//! The data that a callback can read about its member.

use crate::host::member;
use crate::{Payload, ReplyRef, Socket};

/// Data about the member.
impl<R: 'static> Socket<R> {
    /// Returns the topic that the member joined.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Returns the member's number. No other member has it while the host runs, and in a cluster no other member of any
    /// node.
    pub fn member_id(&self) -> u64 {
        self.member
    }

    /// Returns a reference to the client's message, for a later [`reply_later`](Socket::reply_later). It can be kept in
    /// the state. It is none if the client sent no ref, and in every callback except `handle_in`.
    pub fn reply_ref(&self) -> Option<ReplyRef> {
        self.reply_ref.clone().map(ReplyRef)
    }

    /// Returns the id of the member's socket, such as `user_socket:42`, if it has one.
    pub fn socket_id(&self) -> Option<String> {
        member::socket_id()
    }

    /// Returns the user that a token or a gatekeeper gave when the socket connected, if there is one.
    pub fn user(&self) -> Option<String> {
        member::user()
    }

    /// Returns the claims that a token or a gatekeeper gave when the socket connected: a JSON object. For example,
    /// `socket.claims().field::<String>("role")?` reads one of them.
    pub fn claims(&self) -> Payload {
        Payload::Json(member::claims())
    }

    /// Returns the ref of the client's join message as JSON: for example `"1"` with its quotes, or `null`.
    pub fn join_ref(&self) -> String {
        member::join_ref()
    }

    /// Returns the socket's transport: `websocket` or `longpoll`.
    pub fn transport(&self) -> String {
        member::transport()
    }

    /// Returns the parameters of the client's connection request: a JSON object. For example,
    /// `socket.connect_params().field::<String>("token")?` reads one of them.
    pub fn connect_params(&self) -> Payload {
        Payload::Json(member::connect_params())
    }

    /// Returns the headers of the connection request that start with `x-`, in the order sent. The names are in lower
    /// case.
    pub fn x_headers(&self) -> Vec<(String, String)> {
        member::x_headers()
    }
}
