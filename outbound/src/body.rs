//! The body of an answer: read and decoded within its limit.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};

use crate::failure::{Failure, FailureKind};

/// Bytes that can't become more than a limit.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

/// The decoder of a body.
enum Decoder {
    Plain(Bounded),
    Gzip(Box<MultiGzDecoder<Bounded>>),
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.limit {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Decoder {
    fn new(headers: &HeaderMap, limit: usize) -> Result<Self, Failure> {
        let bounded = Bounded { bytes: Vec::new(), limit };
        let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
        let encoding = encodings.next().map_or(&b"identity"[..], |value| value.as_bytes());
        let is = |name: &str| encoding.eq_ignore_ascii_case(name.as_bytes());
        match encodings.next() {
            None if is("identity") => Ok(Self::Plain(bounded)),
            None if is("gzip") || is("x-gzip") => Ok(Self::Gzip(Box::new(MultiGzDecoder::new(bounded)))),
            _ => Err(Failure::broken("the answer is encoded in a way that wasn't asked for")),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(bounded) => bounded.write_all(bytes),
            Self::Gzip(decoder) => decoder.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Plain(bounded) => Ok(bounded.bytes),
            Self::Gzip(decoder) => decoder.finish().map(|bounded| bounded.bytes),
        }
    }
}

/// Reads a body, and decodes it. The limit counts for the received bytes and for the decoded ones: a few bytes can decode to
/// any number.
pub(crate) async fn read(headers: &HeaderMap, mut body: Incoming, limit: usize) -> Result<Bytes, Failure> {
    let too_large = || Failure::new(FailureKind::TooLarge, format!("the answer has more than {limit} bytes"));
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let mut decoder = Decoder::new(headers, limit)?;
    let failed = |error: &io::Error| match error.kind() {
        io::ErrorKind::FileTooLarge => too_large(),
        _ => Failure::broken("the answer isn't valid gzip, or ended early"),
    };
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::broken(format!("the answer ended early: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        received += data.len();
        if received > limit {
            return Err(too_large());
        }
        decoder.write(&data).map_err(|error| failed(&error))?;
    }
    // `size_hint` of an empty body with `content-encoding` isn't always 0.
    if received == 0 {
        return Ok(Bytes::new());
    }
    decoder.finish().map(Bytes::from).map_err(|error| failed(&error))
}
