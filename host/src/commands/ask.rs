//! Asking a running host, by its HTTP API.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bennu::auth::{Secret, SecretSource};
use clap::Args;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Which host is asked, and with which key.
#[derive(Args)]
pub(super) struct Ask {
    /// Where the host's API listens
    #[arg(long, env = "BENNU_HOST", default_value = "127.0.0.1:4000", value_name = "ADDRESS:PORT", global = true)]
    host: String,

    /// A file with the key of its API; else the environment variable BENNU_API_KEY has it
    #[arg(long, value_name = "FILE", global = true)]
    key_file: Option<PathBuf>,
}

/// The variable that holds the key, if no file does.
const KEY_VARIABLE: &str = "BENNU_API_KEY";

/// How long an answer may take: `handle_message` has its own wall time.
const PATIENCE: Duration = Duration::from_secs(30);

impl Ask {
    /// A `GET`.
    pub(super) fn get(&self, path: &str) -> Result<Value> {
        self.get_as(path)
    }

    /// The same for an answer in which JSON of others stands, which a [`Value`] can't hold in every case.
    pub(super) fn get_as<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let request = self.agent().get(self.url(path));
        self.read(self.with_key(request)?.call())
    }

    /// A `POST`.
    pub(super) fn post<T: DeserializeOwned>(&self, path: &str, body: &str) -> Result<T> {
        let request = self.agent().post(self.url(path)).header("content-type", "application/json");
        self.read(self.with_key(request)?.send(body))
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.host)
    }

    fn agent(&self) -> ureq::Agent {
        ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false).build().into()
    }

    fn with_key<B>(&self, request: ureq::RequestBuilder<B>) -> Result<ureq::RequestBuilder<B>> {
        let key = match &self.key_file {
            Some(path) => Some(SecretSource::File(path.clone()).read(std::path::Path::new(""))?),
            None => std::env::var_os(KEY_VARIABLE).map(|key| Secret::new(key.as_encoded_bytes())),
        };
        Ok(match key {
            Some(key) => request.header("authorization", format!("Bearer {}", key.expose()?)),
            None => request,
        })
    }

    fn read<T: DeserializeOwned>(&self, answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<T> {
        let asking =
            || format!("asking the host at {}; is it running there? (--host ADDRESS:PORT names another)", self.host);
        let mut answer = answer.with_context(asking)?;
        let text = answer.body_mut().read_to_string().with_context(asking)?;
        let foreign = || format!("what answers at {} is no Bennu host", self.host);
        if answer.status().is_success() {
            return serde_json::from_str(&text).with_context(foreign);
        }
        let value: Value = serde_json::from_str(&text).with_context(foreign)?;
        match (answer.status().as_u16(), value["error"]["message"].as_str()) {
            (401, _) => {
                bail!("the host at {} wants the key of its API: give --key-file FILE, or set {KEY_VARIABLE}", self.host)
            }
            (_, Some(message)) => Err(anyhow!("{message}")),
            (status, None) => bail!("the host at {} answered {status}", self.host),
        }
    }
}

/// A name as a part of a path.
pub(super) fn in_path(name: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    name.bytes().map(byte).collect()
}
