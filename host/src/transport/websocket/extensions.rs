//! `Sec-WebSocket-Extensions`: the negotiation of permessage-deflate (RFC 7692), without context takeover.
//!
//! The answer always contains `server_no_context_takeover` and `client_no_context_takeover`. A server may demand the second
//! one even if the client doesn't offer it (7.1.1.2).

use axum::http::HeaderMap;
use axum::http::header::SEC_WEBSOCKET_EXTENSIONS;

/// The name of the extension.
const NAME: &str = "permessage-deflate";

/// The answer that accepts an offer.
const ANSWER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// The answer to an offer that limits the window of the server's compressor to the largest possible size. The answer must
/// repeat this parameter (7.1.2.1).
const ANSWER_WITH_WINDOW: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15";

/// The header isn't a list of extensions (RFC 6455, 9.1).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadList;

/// Chooses from the client's offers. Returns the value of the header that accepts the first acceptable offer, if there is
/// one. Without this header, the connection has no compression.
///
/// # Errors
/// If the header isn't a list of extensions.
pub(super) fn choose(headers: &HeaderMap) -> Result<Option<&'static str>, BadList> {
    let mut chosen = None;
    for list in headers.get_all(SEC_WEBSOCKET_EXTENSIONS) {
        let mut text = Text(list.to_str().map_err(|_| BadList)?);
        loop {
            text.skip_space();
            // Elements of a list may be empty (RFC 9110, 5.6.1.2).
            if !text.0.is_empty() && !text.0.starts_with(',') {
                let answer = text.offer()?;
                chosen = chosen.or(answer);
            }
            if text.0.is_empty() {
                break;
            }
            text.expect(',')?;
        }
    }
    Ok(chosen)
}

/// The parameters of an offer.
#[derive(Default)]
struct Parameters {
    names: Vec<&'static str>,
    /// Whether one is unknown, has an invalid value, or can't be fulfilled.
    is_declined: bool,
    has_server_window: bool,
}

impl Parameters {
    fn add(&mut self, name: &str, value: Option<&str>) {
        let known = match (name, value) {
            ("server_no_context_takeover", None) => "server_no_context_takeover",
            ("client_no_context_takeover", None) => "client_no_context_takeover",
            // The client can limit its own window. The host's decompressor has the largest one.
            ("client_max_window_bits", None) => "client_max_window_bits",
            ("client_max_window_bits", Some(bits)) if is_window(bits) => "client_max_window_bits",
            // The host has only compressors with the largest window: a broadcast is compressed once for all clients.
            ("server_max_window_bits", Some("15")) => {
                self.has_server_window = true;
                "server_max_window_bits"
            }
            _ => return self.is_declined = true,
        };
        self.is_declined |= self.names.contains(&known);
        self.names.push(known);
    }
}

/// Whether a value is a number of bits of a window: 8 to 15, without leading zeros (7.1.2.1).
fn is_window(bits: &str) -> bool {
    matches!(bits, "8" | "9" | "10" | "11" | "12" | "13" | "14" | "15")
}

/// The rest of a header's value.
struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    /// Reads an extension with its parameters. Returns the answer, if it is acceptable.
    fn offer(&mut self) -> Result<Option<&'static str>, BadList> {
        let is_ours = self.token()? == NAME;
        let mut parameters = Parameters::default();
        loop {
            self.skip_space();
            if !self.0.starts_with(';') {
                break;
            }
            self.expect(';')?;
            self.skip_space();
            let name = self.token()?;
            self.skip_space();
            let value = if self.0.starts_with('=') {
                self.expect('=')?;
                self.skip_space();
                Some(self.value()?)
            } else {
                None
            };
            parameters.add(name, value.as_deref());
        }
        let answer = if parameters.has_server_window { ANSWER_WITH_WINDOW } else { ANSWER };
        Ok((is_ours && !parameters.is_declined).then_some(answer))
    }

    /// Reads a token, or a quoted string whose content is a token (RFC 6455, 9.1).
    fn value(&mut self) -> Result<String, BadList> {
        if !self.0.starts_with('"') {
            return self.token().map(str::to_owned);
        }
        let mut value = String::new();
        let mut characters = self.0.char_indices().skip(1);
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.0 = &self.0[at + 1..];
                    let is_token = !value.is_empty() && value.chars().all(is_token);
                    return if is_token { Ok(value) } else { Err(BadList) };
                }
                '\\' => value.push(characters.next().ok_or(BadList)?.1),
                character => value.push(character),
            }
        }
        Err(BadList)
    }

    fn token(&mut self) -> Result<&'a str, BadList> {
        let end = self.0.find(|character| !is_token(character)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        if token.is_empty() { Err(BadList) } else { Ok(token) }
    }

    fn expect(&mut self, character: char) -> Result<(), BadList> {
        self.0 = self.0.strip_prefix(character).ok_or(BadList)?;
        Ok(())
    }

    fn skip_space(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }
}

/// Whether a token may have this character (RFC 9110, 5.6.2).
fn is_token(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn chosen(lists: &[&'static str]) -> Result<Option<&'static str>, BadList> {
        let mut headers = HeaderMap::new();
        for list in lists {
            headers.append(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(list));
        }
        choose(&headers)
    }

    #[test]
    fn the_first_acceptable_offer_is_accepted() {
        let (yes, window, no) = (Ok(Some(ANSWER)), Ok(Some(ANSWER_WITH_WINDOW)), Ok(None));
        let cases = [
            ("", &no),
            ("permessage-deflate", &yes),
            // The examples of RFC 7692, 7.1.2 and 7.1.3.
            ("permessage-deflate; server_max_window_bits=10", &no),
            ("permessage-deflate; client_max_window_bits; server_max_window_bits=10", &no),
            (
                "permessage-deflate; client_max_window_bits; server_max_window_bits=10, \
                 permessage-deflate; client_max_window_bits",
                &yes,
            ),
            ("permessage-deflate; server_max_window_bits=\"10\"", &no),
            // Chromium, Firefox and Node's `ws` offer this, and Safari a variant of it.
            ("permessage-deflate; client_max_window_bits", &yes),
            ("x-webkit-deflate-frame, permessage-deflate;client_max_window_bits", &yes),
            ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", &yes),
            ("permessage-deflate ; client_max_window_bits = 8 ;\tserver_no_context_takeover", &yes),
            ("permessage-deflate; client_max_window_bits=\"1\\5\"", &yes),
            ("permessage-deflate; server_max_window_bits=15", &window),
            ("permessage-deflate; server_max_window_bits=\"15\"; client_max_window_bits=9", &window),
            ("permessage-deflate; server_max_window_bits=15, permessage-deflate", &window),
            ("permessage-deflate, permessage-deflate; server_max_window_bits=15", &yes),
            ("permessage-deflate; unknown, , permessage-deflate; unknown=\"a\" ,permessage-deflate", &yes),
            ("permessage-bzip2; level=9, foo", &no),
            ("Permessage-Deflate", &no),
            // Parameters that are unknown, repeated, or have an invalid value.
            ("permessage-deflate; unknown", &no),
            ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", &no),
            ("permessage-deflate; client_max_window_bits; client_max_window_bits=15", &no),
            ("permessage-deflate; server_no_context_takeover=1", &no),
            ("permessage-deflate; client_no_context_takeover=true", &no),
            ("permessage-deflate; server_max_window_bits", &no),
            ("permessage-deflate; server_max_window_bits=16", &no),
            ("permessage-deflate; server_max_window_bits=015", &no),
            ("permessage-deflate; client_max_window_bits=7", &no),
            ("permessage-deflate; client_max_window_bits=16", &no),
            ("permessage-deflate; client_max_window_bits=08", &no),
            ("permessage-deflate; client_max_window_bits=abc", &no),
        ];
        for (list, expected) in cases {
            assert_eq!(&chosen(&[list]), expected, "{list}");
        }
    }

    #[test]
    fn offers_may_be_in_several_headers() {
        assert_eq!(chosen(&[]), Ok(None));
        assert_eq!(chosen(&["permessage-deflate; server_max_window_bits=8", "permessage-deflate"]), Ok(Some(ANSWER)));
        assert_eq!(chosen(&["permessage-deflate", "permessage-deflate; a=="]), Err(BadList), "even if one is chosen");
    }

    #[test]
    fn a_header_that_is_no_list_is_refused() {
        for list in [
            ";",
            "=",
            "permessage-deflate;",
            "permessage-deflate; =1",
            "permessage-deflate; a=",
            "permessage-deflate; a=\"",
            "permessage-deflate; a=\"\"",
            "permessage-deflate; a=\"b c\"",
            "permessage-deflate; a=\"b\\",
            "permessage-deflate a",
            "permessage-deflate; a=b c",
            "permessage-deflate; a b",
            "permessage deflate",
            "(permessage-deflate)",
            "permessage-deflate; a=\"b\"c",
        ] {
            assert_eq!(chosen(&[list]), Err(BadList), "{list}");
        }
        let mut headers = HeaderMap::new();
        headers
            .append(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_bytes(b"permessage-deflate; \xff").expect("a value"));
        assert_eq!(choose(&headers), Err(BadList));
    }
}
