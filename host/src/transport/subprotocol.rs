//! `Sec-WebSocket-Protocol`: the choice of the subprotocol, and the token that phoenix.js 1.8 sends in the same header.
//!
//! Browsers can't set headers on a WebSocket. So phoenix.js sends its `authToken` as one more subprotocol:
//! `base64url.bearer.phx.TOKEN`. In spite of this name, the token is base64 with the standard alphabet, with or without
//! padding.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// The prefix of the token.
const BEARER: &str = "base64url.bearer.phx.";

/// The subprotocol that phoenix.js offers together with the token.
const PHOENIX: &str = "phoenix";

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The result of a client's list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// The chosen subprotocol, which the answer names.
    pub(super) protocol: Option<String>,
    /// The token from the list.
    pub(super) auth_token: Option<String>,
}

/// Why a list is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoChoice {
    /// The token can't be decoded.
    BadBearer,
    /// The host supports none of the offered subprotocols.
    NoneSpoken,
}

/// Chooses from the value of a client's header: the first subprotocol of `configured` that the client offers.
///
/// # Errors
/// If the token can't be decoded, or the client offers only unsupported subprotocols.
pub(super) fn choose(offered: &str, configured: &[String], takes_token: bool) -> Result<Choice, NoChoice> {
    let offered: Vec<&str> = offered.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
    if !takes_token {
        let protocol =
            if configured.is_empty() { None } else { spoken(&offered, configured.iter().map(String::as_str))? };
        return Ok(Choice { protocol, auth_token: None });
    }
    let (bearers, rest): (Vec<&str>, Vec<&str>) = offered.into_iter().partition(|item| item.starts_with(BEARER));
    let auth_token = match bearers[..] {
        [bearer] => Some(decode(&bearer[BEARER.len()..]).ok_or(NoChoice::BadBearer)?),
        // As in Phoenix: if there are two tokens, neither counts.
        _ => None,
    };
    let protocol = spoken(&rest, std::iter::once(PHOENIX).chain(configured.iter().map(String::as_str)))?;
    Ok(Choice { protocol, auth_token })
}

/// Returns the first configured subprotocol that is offered. If none is offered at all, none is used.
fn spoken<'a>(offered: &[&str], mut configured: impl Iterator<Item = &'a str>) -> Result<Option<String>, NoChoice> {
    if offered.is_empty() {
        return Ok(None);
    }
    let found = configured.find(|name| offered.contains(name));
    found.map(|name| Some(name.to_owned())).ok_or(NoChoice::NoneSpoken)
}

fn decode(text: &str) -> Option<String> {
    String::from_utf8(BASE64.decode(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn choice(protocol: Option<&str>, auth_token: Option<&str>) -> Result<Choice, NoChoice> {
        Ok(Choice { protocol: protocol.map(str::to_owned), auth_token: auth_token.map(str::to_owned) })
    }

    #[test]
    fn the_first_configured_subprotocol_that_is_offered_is_chosen() {
        let configured = names(&["sip", "phx.custom"]);
        let cases = [
            ("", choice(None, None)),
            ("phx.custom, sip", choice(Some("sip"), None)),
            ("other,phx.custom", choice(Some("phx.custom"), None)),
            ("SIP", Err(NoChoice::NoneSpoken)),
            ("other", Err(NoChoice::NoneSpoken)),
        ];
        for (offered, expected) in cases {
            assert_eq!(choose(offered, &configured, false), expected, "{offered}");
        }
        assert_eq!(choose("anything", &[], false), choice(None, None));
    }

    #[test]
    fn a_token_is_taken_out_of_the_list() {
        let cases = [
            ("", choice(None, None)),
            ("phoenix", choice(Some("phoenix"), None)),
            ("phoenix, base64url.bearer.phx.dG9rZW4x", choice(Some("phoenix"), Some("token1"))),
            ("phoenix, base64url.bearer.phx.dG9rZW4xMg==", choice(Some("phoenix"), Some("token12"))),
            ("phoenix, base64url.bearer.phx.dG9rZW4xMg", choice(Some("phoenix"), Some("token12"))),
            ("base64url.bearer.phx.dG9rZW4x", choice(None, Some("token1"))),
            ("phoenix, base64url.bearer.phx.YQ, base64url.bearer.phx.Yg", choice(Some("phoenix"), None)),
            ("phoenix, base64url.bearer.phx.a-_b", Err(NoChoice::BadBearer)),
            ("phoenix, base64url.bearer.phx./w", Err(NoChoice::BadBearer)),
            ("other", Err(NoChoice::NoneSpoken)),
        ];
        for (offered, expected) in cases {
            assert_eq!(choose(offered, &[], true), expected, "{offered}");
        }
    }
}
