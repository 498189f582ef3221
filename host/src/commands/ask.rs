//! Sends requests of the commands to a running host's HTTP API.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::address::{Address, USUAL};
use super::key::{ELSEWHERE, Key, KeyPlace};

/// The flags that say which host gets the requests, and where its API key is.
#[derive(Args)]
pub(super) struct Ask {
    /// The address of the host's API [default: the address in the configuration, or 127.0.0.1:4000]
    #[arg(long, env = "BENNU_HOST", value_name = "ADDRESS:PORT", global = true)]
    host: Option<String>,

    #[command(flatten)]
    key: KeyPlace,
}

/// How long a request may take. It is longer than the default wall time of a call, because a `send` runs `handle_message`.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The host that gets a request, and the key for it.
struct Target {
    address: Address,
    key: Key,
}

impl Ask {
    /// Sends a `GET` request and returns the JSON of the answer.
    pub(super) fn get(&self, path: &str) -> Result<Value> {
        self.get_as(path)
    }

    /// Sends a `GET` request and parses the answer as `T`. For an answer with a plugin's JSON, `T` keeps that part as raw
    /// text, because a [`Value`] can't represent all JSON.
    pub(super) fn get_as<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let target = self.target()?;
        let request = agent().get(target.url(path));
        target.read(target.with_key(request)?.call())
    }

    /// Sends a `POST` request with a JSON body and parses the answer as `T`.
    pub(super) fn post<T: DeserializeOwned>(&self, path: &str, body: &str) -> Result<T> {
        let target = self.target()?;
        let request = agent().post(target.url(path)).header("content-type", "application/json");
        target.read(target.with_key(request)?.send(body))
    }

    fn target(&self) -> Result<Target> {
        let config = self.key.config()?;
        let named = self.host.as_deref().filter(|host| !host.is_empty());
        let configured = config.as_ref().map(|config| config.api.listen.as_ref().unwrap_or(&config.listen).as_str());
        let address = Address::parse(named.or(configured).unwrap_or(USUAL))?;
        let key = self.key.find(config.as_ref(), &address)?;
        Ok(Target { address, key })
    }
}

/// Makes an HTTP client that uses no proxy, whatever the environment says, and follows no redirect: a proxy or the target of a
/// redirect would see the key.
fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().proxy(None).max_redirects(0);
    config.timeout_global(Some(ANSWER_TIMEOUT)).http_status_as_error(false).build().into()
}

impl Target {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address.authority())
    }

    fn with_key<B>(&self, request: ureq::RequestBuilder<B>) -> Result<ureq::RequestBuilder<B>> {
        let Some(secret) = &self.key.secret else { return Ok(request) };
        let key = secret.expose().with_context(|| format!("the key in {} can't be sent", self.key.place))?;
        Ok(request.header("authorization", format!("Bearer {key}")))
    }

    fn read<T: DeserializeOwned>(&self, answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<T> {
        let address = self.address.authority();
        let no_answer = || {
            format!("no answer from the host at {address}; is it running there? (--host ADDRESS:PORT names another)")
        };
        let mut answer = answer.with_context(no_answer)?;
        let text = answer.body_mut().read_to_string().with_context(no_answer)?;
        let not_bennu = || format!("the server at {address} is not a Bennu host");
        if answer.status().is_success() {
            return serde_json::from_str(&text).with_context(not_bennu);
        }
        let value: Value = serde_json::from_str(&text).with_context(not_bennu)?;
        match (answer.status().as_u16(), value["error"]["message"].as_str()) {
            (401, _) => Err(self.unauthorized()),
            (_, Some(message)) => Err(anyhow!("{message}")),
            (status, None) => bail!("the host at {address} answered {status}"),
        }
    }

    /// Makes the error for an answer 401: the host requires a key, or the key was wrong.
    fn unauthorized(&self) -> anyhow::Error {
        let (address, Key { secret, place }) = (self.address.authority(), &self.key);
        match secret {
            Some(_) => anyhow!("the host at {address} doesn't accept the key in {place}: {ELSEWHERE}"),
            None => anyhow!(
                "the host at {address} requires its API key, and there is no key to send in {place}: run the command in the \
                 directory where the host was started, or {ELSEWHERE}"
            ),
        }
    }
}

/// Percent-encodes a name for use as one segment of a path or as a query parameter.
pub(super) fn in_path(name: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    name.bytes().map(byte).collect()
}
