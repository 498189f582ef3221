//! Makes the mounts and their authentication from the configuration.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::config::{JwtTable, TransportName};
use super::jwks::JwksUrls;
use super::{Config, MountTable};
use crate::auth::{Jwt, JwtRules, KeySet, Leeway, LiveKeys, MaxAge, Tokens};
use crate::channel::Node;
use crate::dashboard::Connections;
use crate::routes::{GatekeeperChoice, RouteTable};
use crate::socket::{Endpoint, Sockets};
use crate::transport::{Authenticator, ConnectionLimit, Mount, Reactors, TokenCheck, Verifier};

/// Returns the signer and verifier of the host's tokens, if the configuration has `secret_key_base`.
///
/// # Errors
/// Returns an error if the secret can't be read or is too short.
pub fn tokens(config: &Config) -> Result<Option<Arc<Tokens>>> {
    let Some(sources) = &config.secret_key_base else { return Ok(None) };
    let read = || {
        let mut secrets = sources.read(&config.beside)?.into_iter();
        let tokens = Tokens::new(secrets.next().context("there is no secret")?)?;
        secrets.try_fold(tokens, Tokens::and_verify_with)
    };
    Ok(Some(Arc::new(read().context("`secret_key_base` can't be used")?)))
}

/// The parts of the host that all of its mounts share, also those that replace them later.
pub(super) struct MountParts {
    node: Arc<Node>,
    sockets: Arc<Sockets>,
    reactors: Arc<Reactors>,
    /// The limit of connections.
    gate: Arc<ConnectionLimit>,
    /// The keys that are fetched from URLs.
    pub(super) jwks: Arc<JwksUrls>,
}

impl MountParts {
    pub(super) fn new(config: &Config, node: &Arc<Node>, sockets: &Arc<Sockets>, reactors: &Arc<Reactors>) -> Self {
        let (node, sockets, reactors) = (Arc::clone(node), Arc::clone(sockets), Arc::clone(reactors));
        Self { node, sockets, reactors, gate: ConnectionLimit::new(config.limits.sockets()), jwks: JwksUrls::new() }
    }

    /// Makes all mounts of a configuration at the start of the host, which waits a little for keys from URLs.
    pub(super) async fn mounts_at_start(
        &self,
        config: &Config,
        tokens: Option<&Arc<Tokens>>,
    ) -> Result<Vec<Arc<Mount>>> {
        let mounts = self.mounts(config, tokens)?;
        self.jwks.wait_at_start(&config.jwks_urls()).await;
        Ok(mounts)
    }

    /// Makes all mounts of a configuration.
    pub(super) fn mounts(&self, config: &Config, tokens: Option<&Arc<Tokens>>) -> Result<Vec<Arc<Mount>>> {
        config.mounts().iter().map(|(path, table)| self.mount(config, path, table, tokens)).collect()
    }

    /// Returns what the dashboard's connections use.
    pub(super) fn connections(&self, config: &Config) -> Connections {
        let limits = &config.limits;
        let endpoint = Endpoint {
            node: Arc::clone(&self.node),
            sockets: Arc::clone(&self.sockets),
            limits: limits.socket(),
            outbox_limits: limits.outbox(),
        };
        let (reactors, gate) = (Arc::clone(&self.reactors), Arc::clone(&self.gate));
        Connections { reactors, gate, endpoint, limits: limits.wire() }
    }

    fn mount(
        &self,
        config: &Config,
        path: &str,
        table: &MountTable,
        tokens: Option<&Arc<Tokens>>,
    ) -> Result<Arc<Mount>> {
        let limits = table.limits(&config.limits);
        let origins = match &table.host {
            Some(host) => table.check_origin.clone().at_host(host),
            None => table.check_origin.clone(),
        };
        let endpoint = Endpoint {
            node: Arc::clone(&self.node),
            sockets: Arc::clone(&self.sockets),
            limits: limits.socket(),
            outbox_limits: limits.outbox(),
        };
        Ok(Arc::new(Mount {
            path: path.to_owned(),
            websocket: table.transports.contains(&TransportName::Websocket),
            longpoll: table.transports.contains(&TransportName::Longpoll),
            origins,
            subprotocols: table.subprotocols.clone(),
            dialect: table.serializer,
            compress: table.compress,
            auth_token: table.auth_token,
            authenticator: authenticator(config, path, table, tokens, Some(&self.jwks))?,
            endpoint,
            limits: limits.wire(),
            gate: Arc::clone(&self.gate),
            reactors: Arc::clone(&self.reactors),
        }))
    }
}

/// Logs the mounts without authentication, if other machines can reach the address. The plugins must have been loaded, because
/// the result depends on whether there is a gatekeeper.
pub(super) fn log_open_mounts(config: &Config, routes: &RouteTable, address: SocketAddr) {
    let mounts = config.mounts();
    let paths = |is_open: &dyn Fn(&MountTable) -> bool| {
        let open = mounts.iter().filter(|(_, mount)| is_open(mount)).map(|(path, _)| path.as_str());
        open.collect::<Vec<_>>().join(", ")
    };
    if address.ip().to_canonical().is_loopback() {
        return;
    }
    let has_no_gatekeeper = matches!(routes.current().gatekeepers().only(), GatekeeperChoice::Open);
    let by_default = paths(&|mount| has_no_gatekeeper && mount.relies_on_the_only_gatekeeper());
    if !by_default.is_empty() {
        tracing::warn!(
            "other machines can connect at {address}, and there is no authentication at {by_default}, because there is no \
             gatekeeper; set `token`, `jwt` or `gatekeeper` of the mount, or `auth = \"none\"` if this is intended"
        );
    }
    let on_purpose = paths(&|mount| mount.auth.is_some());
    if !on_purpose.is_empty() {
        tracing::info!("other machines can connect at {address}, and there is no authentication at {on_purpose}");
    }
}

/// Returns a sentence for each unusable key in the mounts' key sets, with the reason.
pub(super) fn skipped_keys(config: &Config) -> Result<Vec<String>> {
    let mut skipped = Vec::new();
    for (path, table) in &config.mounts {
        if let Some(jwt) = table.jwt.as_ref().filter(|jwt| jwt.jwks_url.is_none()) {
            let keys = keys(config, jwt).with_context(|| format!("`mounts.\"{path}\".jwt` can't be used"))?;
            skipped
                .extend(keys.skipped().iter().map(|why| format!("`mounts.\"{path}\".jwt.jwks` is used without {why}")));
        }
    }
    Ok(skipped)
}

/// Makes the authenticator of a mount, which decides who may connect. Without `jwks`, no keys are fetched.
pub(super) fn authenticator(
    config: &Config,
    path: &str,
    table: &MountTable,
    tokens: Option<&Arc<Tokens>>,
    jwks: Option<&JwksUrls>,
) -> Result<Authenticator> {
    let socket_id = Some(table.socket_id.clone()).filter(|id| !id.is_empty());
    if let Some(name) = &table.gatekeeper {
        return Ok(Authenticator::Gatekeeper(name.as_str().into()));
    }
    if let Some(token) = &table.token {
        let missing = || format!("`mounts.\"{path}\".token` needs the host's `secret_key_base`");
        let tokens = Arc::clone(tokens.with_context(missing)?);
        let max_age = token.max_age.map(MaxAge::Seconds);
        let leeway = Leeway::both(token.leeway);
        let verifier = Verifier::Phoenix { tokens, derivation: token.derivation(), max_age, leeway };
        let (param, user_claim) = (token.param.clone(), token.user.clone());
        return Ok(Authenticator::Token(TokenCheck { verifier, param, user_claim, socket_id }));
    }
    if let Some(jwt) = &table.jwt {
        let rules = JwtRules { leeway: jwt.leeway, issuer: jwt.issuer.clone(), audience: jwt.audience.clone() };
        let jwt_verifier = match &jwt.jwks_url {
            Some(url) => Jwt::live(jwks.map_or_else(|| Ok(LiveKeys::empty()), |jwks| jwks.keys(url))?, rules),
            None => {
                Jwt::new(keys(config, jwt).with_context(|| format!("`mounts.\"{path}\".jwt` can't be used"))?, rules)
            }
        };
        let verifier = Verifier::Jwt(jwt_verifier);
        let (param, user_claim) = (jwt.param.clone(), jwt.user.clone());
        return Ok(Authenticator::Token(TokenCheck { verifier, param, user_claim, socket_id }));
    }
    Ok(if table.auth.is_some() { Authenticator::Open } else { Authenticator::Only })
}

fn keys(config: &Config, jwt: &JwtTable) -> Result<KeySet> {
    match (&jwt.secret, &jwt.public_key, &jwt.jwks) {
        (Some(source), ..) => KeySet::shared(&source.read(&config.beside)?),
        (_, Some(file), _) | (_, _, Some(file)) => KeySet::read(&config.beside.join(file)),
        (None, None, None) => anyhow::bail!("there is no key"),
    }
}
