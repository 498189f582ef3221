//! How many clients were refused or closed, by reason, and a line in the log for each, up to a rate.
//!
//! A count is an atomic that is only touched when a client goes. The log is bounded: a crowd that is refused must not fill the
//! disk. What is left out of it is counted, and told once the second is over.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::protocol::CloseCode;

/// Lines for one reason within a window.
const LINES_MAX: u32 = 5;

/// How long a window is.
const WINDOW: Duration = Duration::from_secs(1);

/// The most characters of what a client says of itself that are logged.
const SHOWN_MAX: usize = 200;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $refuses:literal;)*) => {
        /// Why a client was refused, or its connection closed by the host.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name, in the log and in the API.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// Whether the client was refused. Otherwise its connection was closed.
            #[must_use]
            pub fn is_refusal(self) -> bool {
                match self {
                    $(Self::$name => $refuses,)*
                }
            }
        }
    };
}

reasons! {
    /// The request breaks a rule of HTTP, such as two `Host` lines.
    BadRequest = "bad_request", true;
    /// No mount has this path.
    UnknownMount = "unknown_mount", true;
    /// A page of an origin that may not connect.
    Origin = "origin", true;
    /// It speaks none of the subprotocols.
    Subprotocol = "subprotocol", true;
    /// The token among the subprotocols can't be read.
    TokenUnreadable = "token_unreadable", true;
    /// A version of the protocol that isn't spoken.
    Version = "version", true;
    /// There is no token.
    TokenMissing = "token_missing", true;
    /// The token is forged, damaged or somebody else's.
    TokenInvalid = "token_invalid", true;
    /// The token is too old.
    TokenExpired = "token_expired", true;
    /// The gatekeeper says no.
    Gatekeeper = "gatekeeper", true;
    /// The gatekeeper failed.
    GatekeeperFailed = "gatekeeper_failed", true;
    /// The gatekeeper isn't there.
    GatekeeperMissing = "gatekeeper_missing", true;
    /// The request is no good WebSocket upgrade.
    BadUpgrade = "bad_upgrade", true;
    /// There are as many sockets as there may be.
    SocketLimit = "socket_limit", true;
    /// There are as many connections as there may be.
    ConnectionLimit = "connection_limit", true;
    /// The host itself failed.
    HostFailed = "host_failed", true;
    /// The client was silent for too long.
    Idle = "idle", false;
    /// It broke the rules of WebSocket framing.
    ProtocolError = "protocol_error", false;
    /// A text that isn't UTF-8.
    InvalidText = "invalid_text", false;
    /// Too many messages a second.
    MessageRate = "message_rate", false;
    /// A message over the limit.
    MessageTooLarge = "message_too_large", false;
    /// What can't be read as a message.
    Malformed = "malformed_message", false;
    /// It read too slowly: its outbox was full.
    OutboxFull = "outbox_full", false;
    /// It took nothing of what was written to it for too long.
    NotReading = "not_reading", false;
    /// The socket was disconnected by its id.
    Disconnected = "disconnected", false;
    /// The host stops.
    Stopping = "stopping", false;
    /// A panic of the host.
    HostPanicked = "host_panicked", false;
}

impl Reason {
    /// Why a connection is closed with this code. Silence has the code of bad framing, and who takes nothing that of a full outbox:
    /// whoever closes for one of the two knows that it does.
    #[must_use]
    pub fn of_close(code: CloseCode) -> Self {
        match code {
            CloseCode::GoingAway => Self::Disconnected,
            CloseCode::ServiceRestart => Self::Stopping,
            CloseCode::PolicyViolation => Self::MessageRate,
            CloseCode::SlowConsumer => Self::OutboxFull,
            CloseCode::TooBig => Self::MessageTooLarge,
            CloseCode::InvalidText => Self::InvalidText,
            CloseCode::Malformed => Self::Malformed,
            CloseCode::Normal | CloseCode::ProtocolError => Self::ProtocolError,
        }
    }
}

/// Who it was, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// The other end of the connection: perhaps a proxy.
    pub peer: Option<SocketAddr>,
    /// The mount, or the path where there is none.
    pub mount: &'a str,
    /// The page's, if it is a browser.
    pub origin: Option<&'a str>,
}

/// The counts.
#[derive(Debug)]
pub struct Tally {
    reasons: Vec<ReasonCount>,
}

#[derive(Debug, Default)]
struct ReasonCount {
    count: AtomicU64,
    window: Mutex<Window>,
}

/// What was logged of a reason lately.
#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    lines: u32,
    left_out: u64,
}

/// What is to be done about a line.
#[derive(Debug, PartialEq, Eq)]
enum LogDecision {
    Write,
    /// It is left out, as the first of its window.
    LeaveFirst,
    Leave,
}

impl Default for Tally {
    fn default() -> Self {
        Self { reasons: Reason::ALL.iter().map(|_| ReasonCount::default()).collect() }
    }
}

impl Tally {
    /// How many there were of each reason.
    pub fn counts(&self) -> impl Iterator<Item = (Reason, u64)> {
        let counts = Reason::ALL.iter().zip(&self.reasons);
        counts.map(|(reason, entry)| (*reason, entry.count.load(Ordering::Relaxed)))
    }

    /// Counts one, and logs it.
    pub fn note(self: &Arc<Self>, reason: Reason, client: &Client<'_>) {
        let Some(entry) = self.reasons.get(reason as usize) else { return };
        // Each is a count alone, and orders nothing else.
        entry.count.fetch_add(1, Ordering::Relaxed);
        // A stop closes everybody, and says so itself.
        if reason == Reason::Stopping {
            return;
        }
        let line = entry.with_window(|window| window.line(Instant::now()));
        match line {
            LogDecision::Write => log(reason, client),
            LogDecision::LeaveFirst => self.tell_later(reason),
            LogDecision::Leave => {}
        }
    }

    /// Once the window is over, what was left out of it is told.
    fn tell_later(self: &Arc<Self>, reason: Reason) {
        let tally = Arc::clone(self);
        let telling = async move {
            tokio::time::sleep(WINDOW).await;
            let left_out = tally.reasons[reason as usize].with_window(Window::end);
            if left_out > 0 {
                let reason = reason.as_str();
                tracing::info!(reason, left_out, "further clients were refused or closed for this reason");
            }
        };
        // Without a runtime there is nobody who waits; the count has them all the same.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(telling);
        }
    }
}

impl ReasonCount {
    /// Nothing in here can panic half-way through a change, so a poisoned lock is as good as another.
    fn with_window<T>(&self, work: impl FnOnce(&mut Window) -> T) -> T {
        work(&mut self.window.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Window {
    fn line(&mut self, now: Instant) -> LogDecision {
        if self.left_out == 0 && self.began.is_none_or(|began| now.duration_since(began) >= WINDOW) {
            *self = Self { began: Some(now), lines: 0, left_out: 0 };
        }
        if self.lines < LINES_MAX {
            self.lines += 1;
            return LogDecision::Write;
        }
        self.left_out += 1;
        if self.left_out == 1 { LogDecision::LeaveFirst } else { LogDecision::Leave }
    }

    /// Begins anew. Gives how many lines were left out.
    fn end(&mut self) -> u64 {
        std::mem::take(self).left_out
    }
}

/// What a client says of itself comes as text fields, which both forms of the log escape.
fn log(reason: Reason, client: &Client<'_>) {
    let Client { peer, mount, origin } = *client;
    let (mount, origin) = (beginning(mount), origin.map(beginning));
    let peer = peer.map(tracing::field::display);
    let word = reason.as_str();
    if reason.is_refusal() {
        tracing::info!(reason = word, peer, mount, origin, "a client was refused");
    } else {
        tracing::info!(reason = word, peer, mount, origin, "the host closed a connection");
    }
}

fn beginning(text: &str) -> &str {
    text.char_indices().nth(SHOWN_MAX).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_second_are_bounded_and_what_is_left_out_is_counted() {
        let (mut window, start) = (Window::default(), Instant::now());
        for _ in 0..LINES_MAX {
            assert_eq!(window.line(start), LogDecision::Write);
        }
        assert_eq!((window.line(start), window.line(start)), (LogDecision::LeaveFirst, LogDecision::Leave));
        // Until that is told, nothing else is: the order of the log is that of the clients.
        assert_eq!(window.line(start + 2 * WINDOW), LogDecision::Leave);
        assert_eq!(window.end(), 3);
        assert_eq!(window.line(start + 2 * WINDOW), LogDecision::Write);
        assert_eq!(window.end(), 0);
    }

    #[test]
    fn a_second_later_there_is_room_again() {
        let (mut window, start) = (Window::default(), Instant::now());
        assert!((0..LINES_MAX).all(|_| window.line(start) == LogDecision::Write));
        assert!((0..LINES_MAX).all(|_| window.line(start + WINDOW) == LogDecision::Write));
    }

    #[tokio::test(start_paused = true)]
    async fn each_reason_has_its_count_and_its_name() {
        let tally = Arc::new(Tally::default());
        let client = Client { peer: None, mount: "/socket", origin: Some("https://example.com") };
        (0..20).for_each(|_| tally.note(Reason::Origin, &client));
        tally.note(Reason::Idle, &client);
        let counted: Vec<_> = tally.counts().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [(Reason::Origin, 20), (Reason::Idle, 1)]);
        let names: std::collections::HashSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        tokio::time::sleep(2 * WINDOW).await;
        let left = tally.reasons[Reason::Origin as usize].with_window(Window::end);
        assert_eq!(left, 0, "what was left out has been told");
    }

    #[test]
    fn what_a_client_says_is_cut() {
        assert_eq!(beginning(&"é".repeat(300)), "é".repeat(200));
        assert_eq!(beginning("short"), "short");
    }
}
