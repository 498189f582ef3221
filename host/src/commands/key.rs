//! Finds the API key of a host for the commands.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;
use bennu::auth::{Secret, SecretSource};
use bennu::server::{Config, api_key_file, made_api_key};
use clap::Args;

use super::address::Address;
use super::path_or_nothing;

/// The environment variable with the key. `--key-file` takes precedence over it.
const KEY_VARIABLE: &str = "BENNU_API_KEY";

/// The part of an error that says how to name another key.
pub(super) const ELSEWHERE: &str = "name the host's data directory (--data DIR), its configuration (--config FILE) or the \
     key's file (--key-file FILE), or set BENNU_API_KEY";

/// The flags that say where the key is.
#[derive(Args)]
pub(super) struct KeyPlace {
    /// A file with the host's API key [default: the environment variable BENNU_API_KEY, then `api.key` of the configuration,
    /// then the file `api-key` of the data directory]
    #[arg(long, value_name = "FILE", global = true)]
    key_file: Option<PathBuf>,

    /// The host's data directory [default: `data` of the configuration, or the directory data]
    #[arg(long, env = "BENNU_DATA", value_name = "DIR", value_parser = path_or_nothing(), global = true)]
    data: Option<PathBuf>,

    /// The host's configuration file, for the API key, the data directory and the address
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

/// The key, if one was found, and the place where it was looked for.
pub(super) struct Key {
    pub(super) secret: Option<Secret>,
    /// The place for error messages, such as `the variable BENNU_API_KEY` or `data/api-key`.
    pub(super) place: String,
}

impl KeyPlace {
    /// Reads the configuration file, if the command line names one.
    pub(super) fn config(&self) -> Result<Option<Config>> {
        self.config.as_deref().map(Config::read).transpose()
    }

    /// Reads the configuration, or makes the default one. `--data` replaces its data directory.
    pub(super) fn configured(&self) -> Result<Config> {
        let mut config = self.config()?.unwrap_or_default();
        if let Some(data) = self.data.as_ref().filter(|data| !data.as_os_str().is_empty()) {
            config.data.clone_from(data);
        }
        Ok(config)
    }

    /// Finds the key for this host. If the data directory has no key file, the result has no key, which isn't an error: the
    /// host may not be running at all, and that error is more useful. A running host answers that it requires a key.
    ///
    /// If neither a flag, a variable nor the configuration names the data directory, the key in `data` is used only for an
    /// address of this machine. It is the key of the host that runs here, and another machine's host must not see it.
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
                place: format!("{place} (which is sent only to this machine unless --data is given)"),
            });
        }
        Ok(Key { secret: made_api_key(data)?, place })
    }
}

/// Reads an environment variable. An empty variable counts as not set.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
