//! The table of one mount, `mounts."/PATH"`.

use std::fmt::Display;
use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use bennu_outbound::{AddressRule, Grant};
use serde::Deserialize;

use super::{HttpGrant, HttpGrantTable};

use crate::auth::{Derivation, LEEWAY_SECONDS, Origins, SecretSources};
use crate::protocol::Dialect;
use crate::server::Limits;

/// A transport by which clients connect to a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransportName {
    /// At `PATH/websocket`.
    Websocket,
    /// At `PATH/longpoll`.
    Longpoll,
}

/// The value of `auth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthName {
    /// Clients connect without authentication, even if there is a gatekeeper.
    None,
}

/// The table `token`: a `Phoenix.Token`, signed with the host's `secret_key_base`, authenticates the client.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenTable {
    /// The salt, such as `user socket`, which separates tokens of this kind from others.
    pub salt: String,
    /// The maximum age of a token in seconds. Default: the token's own, which is a day unless the signer chose another.
    pub max_age: Option<u64>,
    /// Seconds by which the signer's clock may differ. Default 60.
    #[serde(default = "leeway")]
    pub leeway: u64,
    /// The connect parameter with the token, unless the client sends it as `auth_token` allows. Default `token`.
    #[serde(default = "token_param")]
    pub param: String,
    /// The key whose value is the user, for a token with a map. Default `user_id`.
    #[serde(default = "token_user")]
    pub user: String,
}

/// The table `jwt`: a JSON Web Token authenticates the client. Exactly one of `secret`, `public_key`, `jwks`
/// and `jwks_url` is given.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtTable {
    /// A secret that is shared with the signer, for HS256, or a list of two.
    pub secret: Option<SecretSources>,
    /// A file with a public key in PEM. The type of the key decides between RS256, ES256 and EdDSA.
    pub public_key: Option<PathBuf>,
    /// A file with a JSON Web Key Set.
    pub jwks: Option<PathBuf>,
    /// A URL with a JSON Web Key Set, which the host fetches again and again.
    pub jwks_url: Option<JwksUrl>,
    /// The required value of `iss`.
    pub issuer: Option<String>,
    /// The required value of `aud`. If `aud` is a list, the list must contain it.
    pub audience: Option<String>,
    /// Seconds by which the signer's clock may differ. Default 60.
    #[serde(default = "leeway")]
    pub leeway: u64,
    /// The connect parameter with the token, unless the client sends it as `auth_token` allows. Default `token`.
    #[serde(default = "token_param")]
    pub param: String,
    /// The claim whose value is the user. Default `sub`.
    #[serde(default = "jwt_user")]
    pub user: String,
}

/// The settings of a path at which clients connect. Every key is optional.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MountTable {
    /// `websocket`, `longpoll` or both. Default both.
    pub transports: Vec<TransportName>,
    /// The pages that may connect: `true` (pages of `host`, or of the host that the request was sent to), `false` (all pages),
    /// `"conn"` (pages of exactly the scheme, host and port that the request was sent to), or a list of origins. Default
    /// `true`.
    pub check_origin: Origins,
    /// The host's own name, for `check_origin = true`.
    pub host: Option<String>,
    /// The supported WebSocket subprotocols, the preferred one first. Default none.
    pub subprotocols: Vec<String>,
    /// Whether a client may send its token apart from the parameters, as `authToken` of phoenix.js. Default `false`.
    pub auth_token: bool,
    /// `"none"`: clients connect without authentication. Default: the only loaded gatekeeper decides; if there is no
    /// gatekeeper, clients connect without authentication.
    pub auth: Option<AuthName>,
    /// The plugin name of the gatekeeper that decides. While it isn't loaded, no client can connect.
    pub gatekeeper: Option<String>,
    /// Authentication by a `Phoenix.Token`.
    pub token: Option<TokenTable>,
    /// Authentication by a JSON Web Token.
    pub jwt: Option<JwtTable>,
    /// The id of a socket whose token names a user; `{user}` stands for that user. Default `user_socket:{user}`.
    pub socket_id: String,
    /// The clients that the mount is for: `"phoenix"`, or `"supabase"` for those of Supabase Realtime. Default
    /// `"phoenix"`.
    pub serializer: Dialect,
    /// Whether clients may negotiate compression by permessage-deflate. Default `false`.
    pub compress: bool,
    /// As in `limits`, for this mount only.
    pub frame_bytes: Option<usize>,
    /// As in `limits`, for this mount only.
    pub idle_ms: Option<u64>,
    /// As in `limits`, for this mount only.
    pub channels_per_socket: Option<usize>,
    /// As in `limits`, for this mount only.
    pub messages_per_second: Option<u32>,
    /// As in `limits`, for this mount only.
    pub outbox_frames: Option<usize>,
    /// As in `limits`, for this mount only.
    pub outbox_bytes: Option<usize>,
    /// As in `limits`, for this mount only.
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
            serializer: Dialect::Phoenix,
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
    /// Checks the rules that the types of the fields don't express.
    ///
    /// # Errors
    /// Returns an error that names the key and the allowed values.
    pub(super) fn check(&self, path: &str, limits: &Limits) -> Result<()> {
        let at = |key: &str| format!("`mounts.\"{path}\".{key}`");
        check_path(path)?;
        if self.transports.is_empty() {
            bail!("{} is empty; name `websocket`, `longpoll` or both", at("transports"));
        }
        let named = [
            ("auth", self.auth.is_some()),
            ("gatekeeper", self.gatekeeper.is_some()),
            ("token", self.token.is_some()),
            ("jwt", self.jwt.is_some()),
        ];
        let named: Vec<&str> = named.iter().filter(|(_, is_given)| *is_given).map(|(key, _)| *key).collect();
        if let [first, second, ..] = named[..] {
            bail!("{} and {} both decide who may connect; set only one of them", at(first), at(second));
        }
        if let Some(jwt) = &self.jwt {
            jwt.check().map_err(|error| anyhow!("{}: {error}", at("jwt")))?;
        }
        let limits = self.limits(limits);
        limits.check().map_err(|error| anyhow!("in `mounts.\"{path}\"`: {error}"))
    }

    /// Whether the mount has no authentication of its own, so that the only loaded gatekeeper decides.
    pub(in crate::server) fn relies_on_the_only_gatekeeper(&self) -> bool {
        self.auth.is_none() && self.gatekeeper.is_none() && self.token.is_none() && self.jwt.is_none()
    }

    /// Returns the host's limits, with those that this mount sets itself.
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
        let keys = [self.secret.is_some(), self.public_key.is_some(), self.jwks.is_some(), self.jwks_url.is_some()];
        if keys.iter().filter(|is_given| **is_given).count() != 1 {
            bail!("give one of `secret`, `public_key`, `jwks` and `jwks_url`");
        }
        if let Some(url) = &self.jwks_url {
            url.grant()?;
        }
        self.secret.as_ref().map_or(Ok(()), SecretSources::check)
    }
}

/// The URL of a key set, and whether the name of its server may have a private address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(from = "HttpGrant")]
pub struct JwksUrl {
    /// The URL.
    pub url: String,
    /// Whether the name may have a private address.
    pub private: bool,
}

impl From<HttpGrant> for JwksUrl {
    fn from(grant: HttpGrant) -> Self {
        match grant {
            HttpGrant::Url(url) => Self { url, private: false },
            HttpGrant::Table(HttpGrantTable { url, private }) => Self { url, private },
        }
    }
}

impl JwksUrl {
    /// Returns the right to ask for this URL only.
    ///
    /// # Errors
    /// Returns an error if the URL isn't allowed. Keys from another machine must come over TLS: otherwise somebody on the way
    /// could replace them.
    pub(in crate::server) fn grant(&self) -> Result<Grant> {
        let Self { url, private } = self;
        let without_query = url.split('?').next().unwrap_or_default();
        let refused = |why: &dyn Display| anyhow!("`jwks_url` has `{url}`: {why}");
        let grant = Grant::parse(without_query, *private).map_err(|error| refused(&error))?;
        let is_near = match grant.addresses() {
            AddressRule::Exactly(address) => address.to_canonical().is_loopback(),
            AddressRule::Loopback | AddressRule::Private => true,
            _ => false,
        };
        if !is_near && !url.starts_with("https://") {
            return Err(refused(&"keys from another machine need https"));
        }
        if url.ends_with('*') {
            return Err(refused(&"give the whole URL, without an asterisk"));
        }
        Ok(grant)
    }
}

impl TokenTable {
    /// Returns how the key is derived: from the salt, with Phoenix's defaults.
    pub(in crate::server) fn derivation(&self) -> Derivation {
        Derivation::of(&self.salt)
    }
}

fn check_path(path: &str) -> Result<()> {
    let is_plain =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.~".contains(c));
    if !path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_plain)) {
        bail!("`mounts.\"{path}\"` isn't a path; use one such as `/socket`, of letters, digits, `-`, `_`, `.` and `~`");
    }
    let last = path.rsplit('/').next().unwrap_or_default();
    if path == "/api" || path.starts_with("/api/") || matches!(last, "websocket" | "longpoll") {
        bail!(
            "`mounts.\"{path}\"` is reserved: `/api` is the host's own, and `websocket` and `longpoll` are added to mounts"
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
    fn paths_are_plain_and_not_reserved() {
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
