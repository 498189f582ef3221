//! The WebSocket handshake (RFC 6455) of client and server.

use std::io::Write;
use std::net::SocketAddr;

use memchr::memmem::find;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The key of every client: the example of RFC 6455.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

const END: &[u8] = b"\r\n\r\n";

/// The name of the extension that compresses messages (RFC 7692).
const DEFLATE: &str = "permessage-deflate";

/// Writes a client's request. If `deflates`, it offers compression.
pub(crate) fn ask(address: SocketAddr, path: &str, deflates: bool, into: &mut Vec<u8>) {
    let offer = if deflates { format!("Sec-WebSocket-Extensions: {DEFLATE}\r\n") } else { String::new() };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n"
    );
    into.extend_from_slice(request.as_bytes());
}

/// Returns the length of a message's head, or `None` if it hasn't arrived completely.
pub(crate) fn head(buffer: &[u8]) -> Option<usize> {
    find(buffer, END).map(|at| at + END.len())
}

/// Whether the server accepted the handshake.
pub(crate) fn is_accepted(head: &[u8]) -> bool {
    head.starts_with(b"HTTP/1.1 101 ")
}

/// Whether the server accepted the offer of compression.
pub(crate) fn is_deflating(head: &[u8]) -> bool {
    find(head, DEFLATE.as_bytes()).is_some()
}

/// Writes a server's answer to a client's request. Returns `None` if the request isn't a WebSocket handshake.
pub(crate) fn accept(request: &[u8], into: &mut Vec<u8>) -> Option<()> {
    let name = b"sec-websocket-key:";
    let lines = request.split(|byte| *byte == b'\n');
    let key = lines.filter(|line| line.len() > name.len()).find_map(|line| {
        let (before, value) = line.split_at(name.len());
        before.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
    })?;
    let answer = write!(
        into,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key)
    );
    answer.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_succeeds() {
        let (mut request, mut answer) = (Vec::new(), Vec::new());
        ask(SocketAddr::from(([127, 0, 0, 1], 4000)), "/socket", false, &mut request);
        assert_eq!(head(&request), Some(request.len()));
        assert_eq!(head(&request[..request.len() - 1]), None);
        assert_eq!(accept(&request, &mut answer), Some(()));
        assert!(is_accepted(&answer) && !is_deflating(&request));
        request.clear();
        ask(SocketAddr::from(([127, 0, 0, 1], 4000)), "/socket", true, &mut request);
        assert!(is_deflating(&request) && request.ends_with(END));
        // RFC 6455, section 1.3, gives the answer to its example key.
        assert!(find(&answer, b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n").is_some());
    }

    #[test]
    fn other_requests_and_answers_are_refused() {
        assert_eq!(accept(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", &mut Vec::new()), None);
        assert!(!is_accepted(b"HTTP/1.1 403 Forbidden\r\n\r\n"));
    }
}
