//! Counts the clients that were refused or closed, by reason, and logs each of them up to a rate.
//!
//! A count is an atomic that changes only when a client is refused or closed. The log is bounded, so that many refused
//! clients can't fill the disk. Lines that are left out are counted, and one line reports their number when the second
//! is over.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clients::Limit as ClientLimit;
use crate::counts::Limit;
use crate::protocol::CloseCode;

/// The most lines for one reason within a window.
const LINES_MAX: u32 = 5;

/// The length of a window.
const WINDOW: Duration = Duration::from_secs(1);

/// The most characters that are logged of a text from the client.
const SHOWN_MAX: usize = 200;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $refuses:literal;)*) => {
        /// Why a client was refused, or why the host closed its connection.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// All reasons, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns its name in the log and in the API.
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
    /// The request breaks a rule of HTTP, for example with two `Host` lines.
    BadRequest = "bad_request", true;
    /// A connection from a trusted proxy didn't begin with a valid header of the PROXY protocol.
    ProxyHeader = "proxy_header", true;
    /// No mount has this path.
    UnknownMount = "unknown_mount", true;
    /// The origin of the client's page may not connect.
    Origin = "origin", true;
    /// The client offers subprotocols, and the mount supports none of them.
    Subprotocol = "subprotocol", true;
    /// The token among the subprotocols can't be read.
    TokenUnreadable = "token_unreadable", true;
    /// The version of the protocol isn't supported.
    Version = "version", true;
    /// The token is missing.
    TokenMissing = "token_missing", true;
    /// The token is forged or damaged, was signed with another secret or salt, or isn't valid yet.
    TokenInvalid = "token_invalid", true;
    /// The token is too old.
    TokenExpired = "token_expired", true;
    /// The keys that verify tokens couldn't be fetched yet.
    KeysMissing = "keys_missing", true;
    /// The gatekeeper refused the client.
    Gatekeeper = "gatekeeper", true;
    /// The gatekeeper failed.
    GatekeeperFailed = "gatekeeper_failed", true;
    /// The gatekeeper isn't loaded.
    GatekeeperMissing = "gatekeeper_missing", true;
    /// The request isn't a valid WebSocket upgrade.
    BadUpgrade = "bad_upgrade", true;
    /// The maximum number of sockets is open.
    SocketLimit = "socket_limit", true;
    /// The user has too many sockets.
    UserConnections = "user_connections", true;
    /// The user connects too often.
    UserConnects = "user_connects", true;
    /// The address has too many sockets.
    AddressConnections = "address_connections", true;
    /// The address connects too often.
    AddressConnects = "address_connects", true;
    /// The address has caused too many faults of the gatekeeper.
    AddressFaults = "address_faults", true;
    /// The maximum number of connections is open.
    ConnectionLimit = "connection_limit", true;
    /// A request to the API had no API key.
    ApiKeyMissing = "api_key_missing", true;
    /// A request to the API had a wrong API key.
    ApiKeyWrong = "api_key_wrong", true;
    /// A request to the API had a key without the scope or the topic that it needed.
    ApiScope = "api_scope", true;
    /// A page of another origin tried to change something by the API.
    ApiOrigin = "api_origin", true;
    /// The host itself failed.
    HostFailed = "host_failed", true;
    /// The client was silent for too long.
    Idle = "idle", false;
    /// The client broke the rules of WebSocket framing.
    ProtocolError = "protocol_error", false;
    /// A text message wasn't UTF-8.
    InvalidText = "invalid_text", false;
    /// The client sent too many messages per second.
    MessageRate = "message_rate", false;
    /// A message was over the size limit.
    MessageTooLarge = "message_too_large", false;
    /// A frame couldn't be read as a message.
    Malformed = "malformed_message", false;
    /// The client read too slowly: its outbox was full.
    OutboxFull = "outbox_full", false;
    /// The client accepted no bytes for too long.
    NotReading = "not_reading", false;
    /// The socket was disconnected by its id.
    Disconnected = "disconnected", false;
    /// The host is stopping.
    Stopping = "stopping", false;
    /// The host panicked.
    HostPanicked = "host_panicked", false;
}

impl Reason {
    /// Returns the reason that belongs to a limit for which a client may not connect.
    #[must_use]
    pub fn of_limit(limit: ClientLimit) -> Self {
        match limit {
            ClientLimit::UserConnections => Self::UserConnections,
            ClientLimit::UserConnects => Self::UserConnects,
            ClientLimit::AddressConnections => Self::AddressConnections,
            ClientLimit::AddressConnects => Self::AddressConnects,
            // The other limits are for messages, and for faults.
            _ => Self::AddressFaults,
        }
    }

    /// Returns the limit that the client has reached, if the reason is one. The outbox counts its own limits.
    fn limit(self) -> Option<Limit> {
        match self {
            Self::MessageTooLarge => Some(Limit::FrameBytes),
            Self::MessageRate => Some(Limit::MessagesPerSecond),
            Self::SocketLimit => Some(Limit::Sockets),
            Self::ConnectionLimit => Some(Limit::Connections),
            Self::Idle | Self::NotReading => Some(Limit::IdleMs),
            _ => None,
        }
    }

    /// Returns the reason that belongs to a close code. An idle client is closed with the code for bad framing, and a
    /// client that accepts no bytes with the code for a full outbox. In these two cases the caller must not use this
    /// function, and gives the reason itself.
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

/// The known facts about a client.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// The client's address, as far as it is known: that of the peer, or the one that a trusted proxy gives.
    pub peer: Option<SocketAddr>,
    /// The mount, or the path if no mount has it, as for the API.
    pub mount: &'a str,
    /// The origin of the client's page, if it is a browser.
    pub origin: Option<&'a str>,
}

/// The counts, by reason.
#[derive(Debug)]
pub struct Tally {
    reasons: Vec<ReasonCount>,
}

#[derive(Debug, Default)]
struct ReasonCount {
    count: AtomicU64,
    /// The fields of a window change together, so they are behind a lock. It is held only to count a line.
    window: Mutex<Window>,
}

/// The lines that were logged and left out for a reason in the current window.
#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    lines: u32,
    left_out: u64,
}

/// Whether a line is written.
#[derive(Debug, PartialEq, Eq)]
enum LogDecision {
    Write,
    /// The line is the first one of its window that is left out.
    LeaveFirst,
    Leave,
}

impl Default for Tally {
    fn default() -> Self {
        Self { reasons: Reason::ALL.iter().map(|_| ReasonCount::default()).collect() }
    }
}

impl Tally {
    /// Returns the count of each reason.
    pub fn counts(&self) -> impl Iterator<Item = (Reason, u64)> {
        let counts = Reason::ALL.iter().zip(&self.reasons);
        counts.map(|(reason, entry)| (*reason, entry.count.load(Ordering::Relaxed)))
    }

    /// Counts a client, and logs it.
    pub fn note(self: &Arc<Self>, reason: Reason, client: &Client<'_>) {
        let Some(entry) = self.reasons.get(reason as usize) else { return };
        // Relaxed, because nothing else depends on the order of the counts.
        entry.count.fetch_add(1, Ordering::Relaxed);
        reason.limit().into_iter().for_each(Limit::hit);
        // A host that stops closes all clients and logs that once itself.
        if reason == Reason::Stopping {
            return;
        }
        let line = entry.with_window(|window| window.line(Instant::now()));
        match line {
            LogDecision::Write => log(reason, client),
            LogDecision::LeaveFirst => {
                Limit::LogLinesOfClients.hit();
                self.report_later(reason);
            }
            LogDecision::Leave => Limit::LogLinesOfClients.hit(),
        }
    }

    /// Logs, once the window is over, how many lines were left out.
    fn report_later(self: &Arc<Self>, reason: Reason) {
        let tally = Arc::clone(self);
        let report = async move {
            tokio::time::sleep(WINDOW).await;
            let left_out = tally.reasons[reason as usize].with_window(Window::end);
            if left_out > 0 {
                let reason = reason.as_str();
                tracing::info!(reason, left_out, "further clients were refused or closed for this reason");
            }
        };
        // Without a runtime nothing can wait for the end of the window. The count includes these clients anyway.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(report);
        }
    }
}

impl ReasonCount {
    /// No panic can leave the data half changed, so a poisoned lock is used like any other.
    fn with_window<T>(&self, work: impl FnOnce(&mut Window) -> T) -> T {
        work(&mut self.window.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Window {
    /// Counts a line, and decides whether it is written.
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

    /// Ends the window. Returns the number of lines that were left out.
    fn end(&mut self) -> u64 {
        std::mem::take(self).left_out
    }
}

/// Writes the line. Texts from the client are text fields, which both log formats escape.
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
    fn lines_of_a_second_are_bounded_and_further_ones_are_counted() {
        let (mut window, start) = (Window::default(), Instant::now());
        for _ in 0..LINES_MAX {
            assert_eq!(window.line(start), LogDecision::Write);
        }
        assert_eq!((window.line(start), window.line(start)), (LogDecision::LeaveFirst, LogDecision::Leave));
        // Until these are reported, no line is written: the log keeps the order of the clients.
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
        assert_eq!(left, 0, "the omitted lines were reported");
    }

    #[test]
    fn texts_from_a_client_are_cut() {
        assert_eq!(beginning(&"é".repeat(300)), "é".repeat(200));
        assert_eq!(beginning("short"), "short");
    }
}
