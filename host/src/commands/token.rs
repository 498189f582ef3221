//! `bennu token`.

use std::num::{NonZeroU16, NonZeroU32};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use bennu::auth::{Derivation, KeyDigest, LEEWAY_SECONDS, Leeway, MaxAge, SecretSource, TokenError, Tokens};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::output::out_line;
use super::shown;

/// Sign and verify tokens of Phoenix (`Phoenix.Token.sign/4` and `verify/4`).
#[derive(Args)]
pub(super) struct Token {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Sign(Sign),
    Verify(Verify),
}

/// Sign data, and print the token. Whoever has a token can read its data.
#[derive(Args)]
struct Sign {
    #[command(flatten)]
    key: Key,

    /// For how many seconds it is valid, or `infinity`
    #[arg(long, value_name = "SECONDS", default_value = "86400")]
    max_age: MaxAge,

    /// What to sign: JSON, or else a word
    ///
    /// 42 is a number, '"42"' a string, and what is no JSON, such as user-42, a string as it stands. What begins with {, [
    /// or a quotation mark has to be JSON. An object arrives in Phoenix as a map whose keys are strings.
    #[arg(allow_negative_numbers = true)]
    data: String,
}

/// Verify a token, and print its data as JSON.
///
/// It ends with 1 and a sentence where the token is invalid or has expired. One that was signed up to a minute in the future is
/// taken: another machine's clock may be ahead. Atoms are printed as strings, tuples as arrays;
/// a token that holds anything else that JSON can't say is invalid.
#[derive(Args)]
struct Verify {
    #[command(flatten)]
    key: Key,

    /// For how many seconds it is taken to be valid, or `infinity`, whatever the token says
    #[arg(long, value_name = "SECONDS")]
    max_age: Option<MaxAge>,

    /// The token
    token: String,
}

/// What the key is made of.
#[derive(Args)]
struct Key {
    /// The salt, as the application gives it to Phoenix.Token
    #[arg(long)]
    salt: String,

    /// The environment variable that holds the secret, the application's `secret_key_base` [default: BENNU_SECRET_KEY_BASE]
    #[arg(long, value_name = "NAME", conflicts_with = "secret_file")]
    secret_env: Option<String>,

    /// The file that holds the secret; a newline at its end is no part of it
    #[arg(long, value_name = "PATH")]
    secret_file: Option<PathBuf>,

    /// The option `key_iterations` of the application
    #[arg(long, value_name = "ROUNDS", default_value = "1000")]
    key_iterations: NonZeroU32,

    /// The option `key_length` of the application
    #[arg(long, value_name = "BYTES", default_value = "32")]
    key_length: NonZeroU16,

    /// The option `key_digest` of the application
    #[arg(long, value_enum, default_value = "sha256")]
    key_digest: Digest,
}

#[derive(Clone, Copy, ValueEnum)]
enum Digest {
    Sha256,
    Sha384,
    Sha512,
}

/// Where the secret is looked for when nothing is said.
const VARIABLE: &str = "BENNU_SECRET_KEY_BASE";

impl Token {
    pub(super) fn run(self) -> Result<()> {
        let now = SystemTime::now();
        match self.what {
            What::Sign(sign) => sign.run(now),
            What::Verify(verify) => verify.run(now),
        }
    }
}

impl Sign {
    fn run(self, now: SystemTime) -> Result<()> {
        let data = read_data(self.data)?;
        let (tokens, derivation) = self.key.open()?;
        let token = tokens.sign(&derivation, &data, self.max_age, now).context("the data can't be signed")?;
        out_line!("{token}");
        Ok(())
    }
}

impl Verify {
    fn run(self, now: SystemTime) -> Result<()> {
        let (tokens, derivation) = self.key.open()?;
        let leeway = Leeway::ahead(LEEWAY_SECONDS);
        match tokens.verify(&derivation, Some(&self.token), self.max_age, leeway, now) {
            Ok(data) => out_line!("{}", shown::json(&data.to_string())),
            Err(error @ TokenError::Invalid) => {
                bail!("{error}: it is damaged, is none, or was signed with another secret, salt or key option")
            }
            Err(error) => bail!("{error}"),
        }
        Ok(())
    }
}

impl Key {
    fn open(self) -> Result<(Tokens, Derivation)> {
        let is_named = self.secret_env.is_some() || self.secret_file.is_some();
        let source = match self.secret_file {
            Some(path) => SecretSource::File(path),
            None => SecretSource::Env(self.secret_env.unwrap_or_else(|| VARIABLE.to_owned())),
        };
        let secret = source.read(Path::new(""));
        let secret = if is_named {
            secret?
        } else {
            secret.context("no secret: set that variable, or name another place by --secret-env or --secret-file")?
        };
        let derivation = Derivation {
            salt: self.salt,
            key_iterations: self.key_iterations,
            key_length: self.key_length,
            key_digest: match self.key_digest {
                Digest::Sha256 => KeyDigest::Sha256,
                Digest::Sha384 => KeyDigest::Sha384,
                Digest::Sha512 => KeyDigest::Sha512,
            },
        };
        Ok((Tokens::new(secret)?, derivation))
    }
}

/// JSON, or a word. Where somebody clearly meant JSON, a slip in it makes no word of it.
fn read_data(text: String) -> Result<Value> {
    match serde_json::from_str(&text) {
        Ok(value) => Ok(value),
        Err(error) if text.trim_start().starts_with(['{', '[', '"']) => {
            bail!("the data begins like JSON and isn't: {error}; a word needs no quotation marks")
        }
        Err(_) => Ok(Value::String(text)),
    }
}
