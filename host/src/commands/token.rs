//! `bennu token`.

use std::num::{NonZeroU16, NonZeroU32};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use bennu::auth::{Derivation, KeyDigest, LEEWAY_SECONDS, Leeway, MaxAge, SecretSource, TokenError, Tokens};
use bennu::terminal::shown;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

/// Sign and verify tokens of Phoenix, as `Phoenix.Token.sign/4` and `verify/4` do.
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

/// Sign data, and print the token. The token isn't encrypted: anyone who has it can read the data.
#[derive(Args)]
struct Sign {
    #[command(flatten)]
    key: Key,

    /// How many seconds the token is valid, or `infinity`
    #[arg(long, value_name = "SECONDS", default_value = "86400")]
    max_age: MaxAge,

    /// The data to sign: JSON, or plain text
    ///
    /// 42 is a number, and '"42"' is a string. Text that isn't JSON, such as user-42, is signed as a string. Text that begins
    /// with {, [ or a quotation mark must be JSON. Phoenix gets an object as a map whose keys are strings.
    #[arg(allow_negative_numbers = true)]
    data: String,
}

/// Verify a token, and print its data as JSON.
///
/// If the token is invalid or has expired, the command prints the reason and exits with 1. A token that was signed up to a
/// minute in the future is accepted, because another machine's clock may be ahead. Atoms are printed as strings, and tuples as
/// arrays. A token with other data that JSON can't represent is invalid.
#[derive(Args)]
struct Verify {
    #[command(flatten)]
    key: Key,

    /// The maximum age in seconds, or `infinity` [default: the token's own]
    #[arg(long, value_name = "SECONDS")]
    max_age: Option<MaxAge>,

    /// The token
    token: String,
}

/// The flags that say how the key is derived.
#[derive(Args)]
struct Key {
    /// The salt, as the application gives it to Phoenix.Token
    #[arg(long)]
    salt: String,

    /// The environment variable that holds the secret, the application's `secret_key_base` [default: BENNU_SECRET_KEY_BASE]
    #[arg(long, value_name = "NAME", conflicts_with = "secret_file")]
    secret_env: Option<String>,

    /// The file that holds the secret. A newline at its end is ignored
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

/// The environment variable with the secret if no flag names another source.
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
                bail!("{error}: it is damaged, isn't a token, or was signed with another secret, salt or key option")
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
            secret.context(
                "no secret: set BENNU_SECRET_KEY_BASE, or name another source with --secret-env or --secret-file",
            )?
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

/// Parses the data as JSON, and otherwise takes it as a string. Text that begins like JSON but isn't valid is refused,
/// because it is probably a typing error.
fn read_data(text: String) -> Result<Value> {
    match serde_json::from_str(&text) {
        Ok(value) => Ok(value),
        Err(error) if text.trim_start().starts_with(['{', '[', '"']) => {
            bail!("the data begins like JSON, but isn't JSON: {error}; plain text needs no quotation marks")
        }
        Err(_) => Ok(Value::String(text)),
    }
}
