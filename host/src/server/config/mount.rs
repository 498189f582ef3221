//! One mount's table, `mounts."/PATH"`.

use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use serde::Deserialize;

use crate::auth::{Derivation, LEEWAY_SECONDS, Origins, SecretSource};
use crate::server::Limits;

/// How clients reach a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransportName {
    /// At `PATH/websocket`.
    Websocket,
    /// At `PATH/longpoll`.
    Longpoll,
}

/// What `auth` can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthName {
    /// Nobody is asked who they are, whether there is a gatekeeper or not.
    None,
}

/// `token`: a token as `Phoenix.Token` signs it, with the host's `secret_key_base`, says who a client is.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenTable {
    /// What sets tokens of this kind apart from others, such as `user socket`, and how keys are derived.
    pub salt: String,
    /// Seconds after which a token is too old. Default: what the token says itself, which is a day unless who signed it
    /// said otherwise.
    pub max_age: Option<u64>,
    /// Seconds by which the clock of who signs may differ. Default 60.
    #[serde(default = "leeway")]
    pub leeway: u64,
    /// The connect parameter that holds it, unless `auth_token` brings it. Default `token`.
    #[serde(default = "token_param")]
    pub param: String,
    /// The key that is the user, of a token that holds a map. Default `user_id`.
    #[serde(default = "token_user")]
    pub user: String,
}

/// `jwt`: a JSON Web Token says who a client is. One of the three keys is given.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtTable {
    /// A secret that is shared with who signs, for HS256.
    pub secret: Option<SecretSource>,
    /// A file with a public key in PEM: RS256, ES256 or EdDSA, by the key.
    pub public_key: Option<PathBuf>,
    /// A file with a JSON Web Key Set.
    pub jwks: Option<PathBuf>,
    /// What `iss` must be.
    pub issuer: Option<String>,
    /// What `aud` must be, or have among others.
    pub audience: Option<String>,
    /// Seconds by which the clock of who signs may differ. Default 60.
    #[serde(default = "leeway")]
    pub leeway: u64,
    /// The connect parameter that holds it, unless `auth_token` brings it. Default `token`.
    #[serde(default = "token_param")]
    pub param: String,
    /// The claim that is the user. Default `sub`.
    #[serde(default = "jwt_user")]
    pub user: String,
}

/// A path at which clients connect. Every key may be left out.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MountTable {
    /// `websocket`, `longpoll` or both. Default both.
    pub transports: Vec<TransportName>,
    /// Whose pages may connect: `true` (those of `host`, or of the host that the request was sent to), `false` (anybody's),
    /// `"conn"` (those of the very scheme, host and port that the request was sent to), or a list of origins. Default `true`.
    pub check_origin: Origins,
    /// The host's own name, for `check_origin = true`.
    pub host: Option<String>,
    /// The WebSocket subprotocols that are spoken, the dearest first. Default none.
    pub subprotocols: Vec<String>,
    /// Whether a client's token may come apart from the parameters, as phoenix.js's `authToken`. Default `false`.
    pub auth_token: bool,
    /// `"none"`: nobody is asked. Default: the only gatekeeper that is loaded decides, and where there is none, nobody is
    /// asked.
    pub auth: Option<AuthName>,
    /// The gatekeeper that decides, by its plugin's name. Nobody is let in while it isn't loaded.
    pub gatekeeper: Option<String>,
    /// A token of Phoenix's kind says who it is.
    pub token: Option<TokenTable>,
    /// A JSON Web Token says who it is.
    pub jwt: Option<JwtTable>,
    /// The id of a socket whose token names a user, in which `{user}` stands for it. Default `user_socket:{user}`.
    pub socket_id: String,
    /// permessage-deflate. Only `false`: see docs/protocol.md. Default `false`.
    pub compress: bool,
    /// As in `limits`, for this mount alone.
    pub frame_bytes: Option<usize>,
    /// As in `limits`, for this mount alone.
    pub idle_ms: Option<u64>,
    /// As in `limits`, for this mount alone.
    pub channels_per_socket: Option<usize>,
    /// As in `limits`, for this mount alone.
    pub messages_per_second: Option<u32>,
    /// As in `limits`, for this mount alone.
    pub outbox_frames: Option<usize>,
    /// As in `limits`, for this mount alone.
    pub outbox_bytes: Option<usize>,
    /// As in `limits`, for this mount alone.
    pub longpoll_window_ms: Option<u64>,
}

impl Default for MountTable {
    fn default() -> Self {
        Self {
            transports: vec![TransportName::Websocket, TransportName::Longpoll],
            check_origin: Origins::default(),
            host: None,
            subprotocols: Vec::new(),
            auth_token: false,
            auth: None,
            gatekeeper: None,
            token: None,
            jwt: None,
            socket_id: "user_socket:{user}".into(),
            compress: false,
            frame_bytes: None,
            idle_ms: None,
            channels_per_socket: None,
            messages_per_second: None,
            outbox_frames: None,
            outbox_bytes: None,
            longpoll_window_ms: None,
        }
    }
}

impl MountTable {
    /// Checks what the types can't say.
    ///
    /// # Errors
    /// Names the key and what is allowed.
    pub(super) fn check(&self, path: &str, limits: &Limits) -> Result<()> {
        let at = |key: &str| format!("`mounts.\"{path}\".{key}`");
        check_path(path)?;
        if self.transports.is_empty() {
            bail!("{} is empty; name `websocket`, `longpoll` or both", at("transports"));
        }
        if self.compress {
            bail!(
                "{} is true, and permessage-deflate isn't offered: a message is encoded once for all who get it \
                 (docs/protocol.md says more). Leave it out; clients that offer it are served without",
                at("compress")
            );
        }
        let named = [
            ("auth", self.auth.is_some()),
            ("gatekeeper", self.gatekeeper.is_some()),
            ("token", self.token.is_some()),
            ("jwt", self.jwt.is_some()),
        ];
        let named: Vec<&str> = named.iter().filter(|(_, is_given)| *is_given).map(|(key, _)| *key).collect();
        if let [first, second, ..] = named[..] {
            bail!("{} and {} are two ways to say who may connect; give one", at(first), at(second));
        }
        if let Some(jwt) = &self.jwt {
            jwt.check().map_err(|error| anyhow!("{}: {error}", at("jwt")))?;
        }
        let limits = self.limits(limits);
        limits.check().map_err(|error| anyhow!("in `mounts.\"{path}\"`: {error}"))
    }

    /// Whether the only gatekeeper there is decides.
    pub(in crate::server) fn relies_on_the_only_gatekeeper(&self) -> bool {
        self.auth.is_none() && self.gatekeeper.is_none() && self.token.is_none() && self.jwt.is_none()
    }

    /// The host's limits with those that are the mount's own.
    pub(in crate::server) fn limits(&self, host: &Limits) -> Limits {
        Limits {
            frame_bytes: self.frame_bytes.unwrap_or(host.frame_bytes),
            idle_ms: self.idle_ms.unwrap_or(host.idle_ms),
            channels_per_socket: self.channels_per_socket.unwrap_or(host.channels_per_socket),
            messages_per_second: self.messages_per_second.unwrap_or(host.messages_per_second),
            outbox_frames: self.outbox_frames.unwrap_or(host.outbox_frames),
            outbox_bytes: self.outbox_bytes.unwrap_or(host.outbox_bytes),
            longpoll_window_ms: self.longpoll_window_ms.unwrap_or(host.longpoll_window_ms),
            ..host.clone()
        }
    }
}

impl JwtTable {
    fn check(&self) -> Result<()> {
        let keys = [self.secret.is_some(), self.public_key.is_some(), self.jwks.is_some()];
        if keys.iter().filter(|is_given| **is_given).count() != 1 {
            bail!("give one of `secret`, `public_key` and `jwks`");
        }
        self.secret.as_ref().map_or(Ok(()), SecretSource::check)
    }
}

impl TokenTable {
    /// How the key is derived: by Phoenix's defaults.
    pub(in crate::server) fn derivation(&self) -> Derivation {
        Derivation::of(&self.salt)
    }
}

fn check_path(path: &str) -> Result<()> {
    let is_plain =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.~".contains(c));
    if !path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_plain)) {
        bail!("`mounts.\"{path}\"` is no path; give one such as `/socket`, of letters, digits, `-`, `_`, `.` and `~`");
    }
    let last = path.rsplit('/').next().unwrap_or_default();
    if path == "/api" || path.starts_with("/api/") || matches!(last, "websocket" | "longpoll") {
        bail!(
            "`mounts.\"{path}\"` is taken: `/api` is the host's own, and `websocket` and `longpoll` stand below mounts"
        );
    }
    Ok(())
}

fn token_param() -> String {
    "token".into()
}

fn token_user() -> String {
    "user_id".into()
}

fn jwt_user() -> String {
    "sub".into()
}

const fn leeway() -> u64 {
    LEEWAY_SECONDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_plain_and_free() {
        for (path, is_good) in [
            ("/socket", true),
            ("/a/b-c", true),
            ("socket", false),
            ("/", false),
            ("/socket/", false),
            ("/a b", false),
            ("/{x}", false),
            ("/api", false),
            ("/api/x", false),
            ("/apis", true),
            ("/a/websocket", false),
        ] {
            assert_eq!(check_path(path).is_ok(), is_good, "{path}");
        }
    }
}
