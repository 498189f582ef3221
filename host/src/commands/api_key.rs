//! `bennu key new`.

use anyhow::{Result, anyhow, ensure};
use bennu::api::Scope;
use bennu::auth::{API_KEY_BYTES, ApiKeyHash, NewApiKey};
use bennu::protocol::Pattern;
use clap::{Args, Subcommand};
use toml::Value;

/// Make keys of the HTTP API.
#[derive(Args)]
pub(super) struct ApiKeys {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    New(New),
}

/// Make a key, and print it with the table for the configuration.
///
/// The first line of the output is the key, which isn't stored anywhere. The rest belongs into the configuration, which has only
/// a hash of the key. `bennu config reload` then makes a running host accept the key.
#[derive(Args)]
struct New {
    /// The name of the key, such as the program that will use it
    name: String,

    /// A scope: `broadcast`, `send`, `read` or `operate`. The flag may be given several times
    #[arg(long, value_name = "SCOPE", required = true, value_parser = scope)]
    scope: Vec<Scope>,

    /// A topic, or a prefix with a star, that the key is for. The flag may be given several times [default: all topics]
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    topic: Vec<String>,
}

impl ApiKeys {
    pub(super) fn run(self) -> Result<()> {
        let What::New(new) = self.what;
        new.run()
    }
}

impl New {
    fn run(self) -> Result<()> {
        ensure!(!self.name.trim().is_empty(), "the name of a key is empty; name the program that will use it");
        let mut random = [0; API_KEY_BYTES];
        getrandom::fill(&mut random).map_err(|error| anyhow!("there is no randomness: {error}"))?;
        let NewApiKey { id, key } = NewApiKey::from_random(&random);
        let mut scopes: Vec<&str> = self.scope.iter().map(|scope| scope.as_str()).collect();
        scopes.dedup();
        out_line!("{key}");
        out_line!("");
        out_line!("[[api.keys]]");
        out_line!("name = {}", Value::from(self.name));
        out_line!("id = {}", Value::from(id));
        out_line!("hash = {}", Value::from(ApiKeyHash::of(key.as_bytes()).to_string()));
        out_line!("scopes = {}", Value::from(scopes));
        if !self.topic.is_empty() {
            out_line!("topics = {}", Value::from(self.topic));
        }
        Ok(())
    }
}

fn scope(text: &str) -> Result<Scope, &'static str> {
    text.parse()
}

fn pattern(text: &str) -> Result<String, String> {
    Pattern::parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}
