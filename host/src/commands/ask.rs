//! Sends requests of the commands to a running host's HTTP API.

use std::io::Read;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bennu::server::Config;
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

    /// How many seconds the host may take to answer [default: 30, or 30 more than `limits.call_wall_ms` of the configuration
    /// that --config names]
    #[arg(long, value_name = "SECONDS", global = true, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: Option<u64>,

    #[command(flatten)]
    key: KeyPlace,
}

/// How long a request may take, apart from a plugin's call. It is longer than the default wall time of a call, for hosts
/// whose configuration isn't known.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Returns how long a request may take: as long as the command line says, or long enough for a call of `handle_message`.
fn answer_timeout(given: Option<u64>, config: Option<&Config>) -> Duration {
    let call = config.map_or(0, |config| config.limits.call_wall_ms);
    given.map_or(ANSWER_TIMEOUT.saturating_add(Duration::from_millis(call)), Duration::from_secs)
}

/// What `ureq` returns for a request.
type Answer = Result<ureq::http::Response<ureq::Body>, ureq::Error>;

/// The host that gets a request, the key for it, and how long it may take to answer.
struct Target {
    address: Address,
    key: Key,
    timeout: Duration,
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
        let request = agent(target.timeout).get(target.url(path));
        target.read(target.with_key(request)?.call())
    }

    /// Sends a `GET` request, and parses the answer. Returns none if the thing that the path names doesn't exist.
    pub(super) fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>> {
        let target = self.target()?;
        let answer = target.with_key(agent(target.timeout).get(target.url(path)))?.call();
        match answer {
            Ok(answer) if answer.status().as_u16() == 404 => Ok(None),
            answer => target.read(answer).map(Some),
        }
    }

    /// Sends a `POST` request with a JSON body and parses the answer as `T`.
    pub(super) fn post<T: DeserializeOwned>(&self, path: &str, body: &str) -> Result<T> {
        self.post_with(path, body, None)
    }

    /// The same with an idempotency key, if there is one.
    pub(super) fn post_with<T: DeserializeOwned>(&self, path: &str, body: &str, key: Option<&str>) -> Result<T> {
        let target = self.target()?;
        let mut request = agent(target.timeout).post(target.url(path)).header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        target.read(target.with_key(request)?.send(body))
    }

    /// Sends a `GET` request, and returns the body of the answer, which may take any time, as long as something arrives.
    pub(super) fn stream(&self, path: &str) -> Result<impl Read + Send + use<>> {
        let target = self.target()?;
        let wait = Some(target.timeout);
        let config = agent_config().timeout_connect(wait).timeout_recv_response(wait).timeout_per_read(wait);
        let agent: ureq::Agent = config.build().into();
        let answer = target.answer(target.with_key(agent.get(target.url(path)))?.call())?;
        Ok(answer.into_body().into_reader())
    }

    /// Whether the command line or the environment names a host.
    pub(super) fn names_host(&self) -> bool {
        self.host.as_ref().is_some_and(|host| !host.is_empty())
    }

    /// Reads the configuration of the host, or the default one, with the data directory of the command line.
    pub(super) fn configured(&self) -> Result<Config> {
        self.key.configured()
    }

    fn target(&self) -> Result<Target> {
        let config = self.key.config()?;
        let named = self.host.as_deref().filter(|host| !host.is_empty());
        let configured = config.as_ref().map(|config| config.api.listen.as_ref().unwrap_or(&config.listen).as_str());
        let address = Address::parse(named.or(configured).unwrap_or(USUAL))?;
        let key = self.key.find(config.as_ref(), &address)?;
        Ok(Target { address, key, timeout: answer_timeout(self.timeout, config.as_ref()) })
    }
}

/// Makes an HTTP client that uses no proxy, whatever the environment says, and follows no redirect: a proxy or the target of a
/// redirect would see the key.
fn agent(timeout: Duration) -> ureq::Agent {
    agent_config().timeout_global(Some(timeout)).build().into()
}

fn agent_config() -> ureq::config::ConfigBuilder<ureq::typestate::AgentScope> {
    ureq::Agent::config_builder().proxy(None).max_redirects(0).http_status_as_error(false)
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

    fn read<T: DeserializeOwned>(&self, answer: Answer) -> Result<T> {
        let mut answer = self.answer(answer)?;
        let text = answer.body_mut().read_to_string().map_err(|error| self.no_answer(error))?;
        serde_json::from_str(&text).with_context(|| self.not_bennu())
    }

    fn no_answer(&self, error: ureq::Error) -> anyhow::Error {
        let address = self.address.authority();
        match error {
            ureq::Error::Timeout(_) => {
                let waited = self.timeout.as_secs();
                anyhow!("the host at {address} didn't answer within {waited} s (--timeout SECONDS waits longer)")
            }
            error => anyhow::Error::new(error).context(format!(
                "no answer from the host at {address}; is it running there? (--host ADDRESS:PORT names another)"
            )),
        }
    }

    fn not_bennu(&self) -> String {
        format!("the server at {} is not a Bennu host", self.address.authority())
    }

    /// Returns an answer whose status is a success, and the error of any other.
    fn answer(&self, answer: Answer) -> Result<ureq::http::Response<ureq::Body>> {
        let mut answer = answer.map_err(|error| self.no_answer(error))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let address = self.address.authority();
        let text = answer.body_mut().read_to_string().map_err(|error| self.no_answer(error))?;
        let value: Value = serde_json::from_str(&text).with_context(|| self.not_bennu())?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_may_take_longer_than_a_call_of_a_plugin() {
        let mut config = Config::default();
        config.limits.call_wall_ms = 60_000;
        assert_eq!(answer_timeout(None, None), Duration::from_secs(30));
        assert_eq!(answer_timeout(None, Some(&config)), Duration::from_secs(90));
        assert_eq!(answer_timeout(Some(5), Some(&config)), Duration::from_secs(5));
    }
}
