//! Where the commands find the key of a host's API.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;
use bennu::auth::{Secret, SecretSource};
use bennu::server::{Config, api_key_file, made_api_key};
use clap::Args;

use super::address::Address;
use super::path_or_nothing;

/// The variable that holds the key, if no file is named.
const KEY_VARIABLE: &str = "BENNU_API_KEY";

/// The ways to name another place, for who is told that there is no right key.
pub(super) const ELSEWHERE: &str = "name the host's data directory (--data DIR), its configuration (--config FILE) or the \
     key's file (--key-file FILE), or set BENNU_API_KEY";

/// The places that a command was told to look at.
#[derive(Args)]
pub(super) struct KeyPlace {
    /// A file with the key of the host's API; else the environment variable BENNU_API_KEY has it, or the configuration names
    /// it, or it is in the file `api-key` of the data directory
    #[arg(long, value_name = "FILE", global = true)]
    key_file: Option<PathBuf>,

    /// The host's data directory [default: that of the configuration, or data]
    #[arg(long, env = "BENNU_DATA", value_name = "DIR", value_parser = path_or_nothing(), global = true)]
    data: Option<PathBuf>,

    /// The host's configuration, which names the key, the data directory and the address
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

/// A key, or none, and where it was looked for.
pub(super) struct Key {
    pub(super) secret: Option<Secret>,
    /// Such as `the variable BENNU_API_KEY` or `data/api-key`.
    pub(super) place: String,
}

impl KeyPlace {
    /// The configuration, if one is named.
    pub(super) fn config(&self) -> Result<Option<Config>> {
        self.config.as_deref().map(Config::read).transpose()
    }

    /// The key for this host. Where there is none in the usual place, none is sent: a host that isn't there is the likelier
    /// trouble, and one that is says that it wants a key.
    ///
    /// A key that lies in the directory `data` by chance is sent to this machine only: it is the key of the host that runs
    /// here, and nobody said that the other one is to know it.
    pub(super) fn find(&self, config: Option<&Config>, host: &Address) -> Result<Key> {
        if let Some(path) = &self.key_file {
            let secret = SecretSource::File(path.clone()).read(Path::new(""))?;
            return Ok(Key { secret: Some(secret), place: path.display().to_string() });
        }
        if let Some(key) = variable(KEY_VARIABLE) {
            let secret = Some(Secret::new(key.as_encoded_bytes()));
            return Ok(Key { secret, place: format!("the variable {KEY_VARIABLE}") });
        }
        if let Some(secret) = config.map(Config::api_key).transpose()?.flatten() {
            return Ok(Key { secret: Some(secret), place: "the place that `api.key` names".into() });
        }
        let named = self.data.as_ref().filter(|data| !data.as_os_str().is_empty());
        let is_by_chance = named.is_none() && config.is_none();
        let usual = Config::default().data;
        let data = named.or(config.map(|config| &config.data)).unwrap_or(&usual);
        let place = api_key_file(data).display().to_string();
        if is_by_chance && !host.is_this_machine() {
            return Ok(Key {
                secret: None,
                place: format!("{place}, which is sent to this machine only unless --data is given"),
            });
        }
        Ok(Key { secret: made_api_key(data)?, place })
    }
}

/// An environment variable. An empty one is as one that isn't set.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
