//! The header of the PROXY protocol, versions 1 and 2, at the beginning of a connection.
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>. Exactly the bytes of the header are read from the stream,
//! because everything after it is for HTTP. The crates for this (`ppp`, `proxy-header`) parse a buffer, and reading into
//! one is the part that must be right here.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// The first bytes of version 2. Version 1 has more bytes than these, too.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The most bytes of version 1, with its line end.
const LINE_BYTES_MAX: usize = 107;

/// The most bytes after the fixed part of version 2: addresses, and further facts, which are ignored. The largest addresses
/// take 216 bytes, and proxies add certificates of clients, names and checksums.
const REST_BYTES_MAX: usize = 4 << 10;

/// Why a connection has no valid header.
#[derive(Debug)]
pub(in crate::transport) enum HeaderError {
    /// The connection failed or ended.
    Lost(io::Error),
    /// It doesn't follow the protocol.
    Invalid(&'static str),
}

impl From<io::Error> for HeaderError {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(error) => write!(f, "it ended too early: {error}"),
            Self::Invalid(reason) => f.write_str(reason),
        }
    }
}

/// Reads the header. Returns the client's address, or none if the proxy connects on its own behalf (a health check), or if
/// it doesn't know the address.
///
/// # Errors
/// If the header is missing or invalid.
pub(in crate::transport) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<SocketAddr>, HeaderError> {
    let mut start = [0; SIGNATURE.len()];
    stream.read_exact(&mut start).await?;
    if start == SIGNATURE { version_2(stream).await } else { version_1(stream, start).await }
}

async fn version_1(
    stream: &mut (impl AsyncRead + Unpin),
    start: [u8; SIGNATURE.len()],
) -> Result<Option<SocketAddr>, HeaderError> {
    if !start.starts_with(b"PROXY ") {
        return Err(HeaderError::Invalid("it begins with no header of the PROXY protocol"));
    }
    let mut line = start.to_vec();
    // Byte by byte, because the number of bytes isn't known. There are at most 95 of them.
    while !line.ends_with(b"\r\n") {
        if line.len() == LINE_BYTES_MAX {
            return Err(HeaderError::Invalid("the line of its PROXY protocol is too long"));
        }
        line.push(stream.read_u8().await?);
    }
    let line = str::from_utf8(&line[..line.len() - 2]).unwrap_or_default();
    let parts: Vec<&str> = line.split(' ').collect();
    match parts[..] {
        ["PROXY", "UNKNOWN", ..] => Ok(None),
        ["PROXY", family, source, destination, source_port, destination_port] => {
            let client = address(family, source, source_port)
                .filter(|_| address(family, destination, destination_port).is_some());
            client.map(Some).ok_or(HeaderError::Invalid("the addresses of its PROXY protocol can't be read"))
        }
        _ => Err(HeaderError::Invalid("the line of its PROXY protocol has the wrong parts")),
    }
}

fn address(family: &str, address: &str, port: &str) -> Option<SocketAddr> {
    let address: IpAddr = match family {
        "TCP4" => IpAddr::V4(address.parse().ok()?),
        "TCP6" => IpAddr::V6(address.parse().ok()?),
        _ => return None,
    };
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    Some(SocketAddr::new(address, port.parse().ok().filter(|_| is_number)?))
}

async fn version_2(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, HeaderError> {
    let mut fixed = [0; 4];
    stream.read_exact(&mut fixed).await?;
    let [version_and_command, family, high, low] = fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > REST_BYTES_MAX {
        return Err(HeaderError::Invalid("the header of its PROXY protocol is too long"));
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    match version_and_command {
        // LOCAL: its addresses don't count.
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err(HeaderError::Invalid("its version or command of the PROXY protocol is unknown")),
    }
    let too_short = || HeaderError::Invalid("the addresses of its PROXY protocol are too short");
    let port = |at: usize| rest.get(at..at + 2).map(|port| u16::from_be_bytes([port[0], port[1]]));
    let found = match family {
        // TCP over IPv4, and over IPv6: the client's address, the proxy's, and the two ports.
        0x11 => rest.first_chunk::<4>().map(|v4| IpAddr::V4(Ipv4Addr::from(*v4))).zip(port(8)).filter(|_| length >= 12),
        0x21 => {
            rest.first_chunk::<16>().map(|v6| IpAddr::V6(Ipv6Addr::from(*v6))).zip(port(32)).filter(|_| length >= 36)
        }
        // Anything else has no address that a client of this host can have.
        _ => return Ok(None),
    };
    found.map(|(address, port)| Some(SocketAddr::new(address, port))).ok_or_else(too_short)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn found(bytes: &[u8]) -> Result<Option<String>, String> {
        let mut stream = bytes;
        let address = read(&mut stream).await.map_err(|error| error.to_string())?;
        assert_eq!(stream, b"GET /", "exactly the header is read");
        Ok(address.map(|address| address.to_string()))
    }

    #[tokio::test]
    async fn version_1_is_a_line() {
        for (line, expected) in [
            ("PROXY TCP4 203.0.113.7 10.0.0.1 56324 443", Some("203.0.113.7:56324")),
            ("PROXY TCP6 2001:db8::1 2001:db8::2 1 2", Some("[2001:db8::1]:1")),
            ("PROXY UNKNOWN", None),
            ("PROXY UNKNOWN ffff::1 ffff::2 65535 65535", None),
        ] {
            let bytes = format!("{line}\r\nGET /");
            assert_eq!(found(bytes.as_bytes()).await, Ok(expected.map(str::to_owned)), "{line}");
        }
        for line in [
            "GET /socket/websocket HTTP/1.1",
            "PROXY TCP4 203.0.113.7 10.0.0.1 56324",
            "PROXY TCP4 203.0.113.7 10.0.0.1 56324 443 1",
            "PROXY TCP4 2001:db8::1 10.0.0.1 1 2",
            "PROXY TCP6 203.0.113.7 10.0.0.1 1 2",
            "PROXY TCP4 203.0.113.7 garbage 1 2",
            "PROXY TCP4 203.0.113.7 10.0.0.1 +1 2",
            "PROXY TCP4 203.0.113.7 10.0.0.1 65536 2",
            "PROXY UDP4 203.0.113.7 10.0.0.1 1 2",
            "proxy TCP4 203.0.113.7 10.0.0.1 1 2",
            &format!("PROXY UNKNOWN {}", "x".repeat(100)),
        ] {
            assert!(read(&mut format!("{line}\r\nGET /").as_bytes()).await.is_err(), "{line}");
        }
        assert!(read(&mut &b"PROXY TCP4 203.0.113.7"[..]).await.is_err(), "the connection ends");
    }

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("a short rest").to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest, b"GET /"].concat()
    }

    #[tokio::test]
    async fn version_2_is_binary() {
        let v4 = [203, 0, 113, 7, 10, 0, 0, 1, 0xdc, 4, 1, 0xbb];
        let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1], &[9; 16], &[0, 1, 0, 2]].concat();
        let with_facts = [&v4[..], &[4, 0, 1, 0]].concat();
        for (bytes, expected) in [
            (binary(0x21, 0x11, &v4), Some("203.0.113.7:56324")),
            (binary(0x21, 0x11, &with_facts), Some("203.0.113.7:56324")),
            (binary(0x21, 0x21, &v6), Some("[2001:db8::1]:1")),
            (binary(0x20, 0x11, &v4), None),
            (binary(0x20, 0, &[]), None),
            (binary(0x21, 0x31, &[0; 216]), None),
        ] {
            assert_eq!(found(&bytes).await, Ok(expected.map(str::to_owned)));
        }
        for bytes in [
            binary(0x11, 0x11, &v4),
            binary(0x22, 0x11, &v4),
            binary(0x21, 0x11, &v4[..11]),
            binary(0x21, 0x21, &v6[..35]),
            binary(0x21, 0x11, &[0; REST_BYTES_MAX + 1]),
            SIGNATURE.to_vec(),
        ] {
            assert!(read(&mut &bytes[..]).await.is_err());
        }
    }
}
