//! The configuration: a file, and what the command line says over it.

mod json;
mod mount;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use super::Limits;
use super::logging::check_filter;
use super::nearest::nearest;
use crate::auth::{Secret, SecretSource};
use crate::contract::plain;
use crate::plugin::{PluginSettings, Settings, Source};
use crate::protocol::Pattern;
use crate::routes::ProbationTerms;
use crate::store::Owner;

pub use mount::{AuthName, JwtTable, MountTable, TokenTable, TransportName};

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line for a person.
    #[default]
    Human,
    /// A JSON object a line.
    Json,
}

/// One plugin's table, `plugins.NAME`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PluginTable {
    /// What the plugin reads as its configuration.
    pub config: toml::Table,
    /// Patterns of topics that it may publish and send to, and of sockets' ids that it may disconnect, beyond its own.
    pub publish: Vec<String>,
    /// Patterns of topics that it may subscribe to and read about, beyond its own.
    pub read: Vec<String>,
    /// Under which name its data is kept in the store, in place of its own: so that its file's name may carry a version.
    pub store: Option<String>,
    /// Bytes that it may have in the store, in place of `limits.store_bytes_per_plugin`.
    pub store_bytes: Option<u64>,
}

/// The table `api`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiTable {
    /// Whether there is an API. Default `true`.
    pub enabled: bool,
    /// The key that it asks for: `{ env = "NAME" }` or `{ file = "PATH" }`. Default: one that the host makes, in the file
    /// `api-key` of the data directory.
    pub key: Option<SecretSource>,
    /// An address of its own to listen on. Default: it is served with the rest, at `/api`.
    pub listen: Option<String>,
}

impl Default for ApiTable {
    fn default() -> Self {
        Self { enabled: true, key: None, listen: None }
    }
}

/// The table `reload`: a new build is on probation until both its time and its calls are over. A fault counts against it if the
/// build before it answers the same call; past `faults` that one serves again.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReloadTable {
    /// Milliseconds that a probation lasts at least; 0 is none. Default 60,000.
    pub probation_ms: u64,
    /// Calls that a build on probation answers at least; 0 is taken as 1. Default 100.
    pub probation_calls: u64,
    /// Faults that are forgiven. Default 3.
    pub probation_faults: u32,
}

impl Default for ReloadTable {
    fn default() -> Self {
        let ProbationTerms { time, calls, faults } = ProbationTerms::default();
        let probation_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self { probation_ms, probation_calls: calls, probation_faults: faults }
    }
}

impl From<&ReloadTable> for ProbationTerms {
    fn from(table: &ReloadTable) -> Self {
        let time = Duration::from_millis(table.probation_ms);
        Self { time, calls: table.probation_calls, faults: table.probation_faults }
    }
}

/// `bennu.toml`. Every key may be left out. Paths are relative to the file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The address to listen on. Default `127.0.0.1:4000`; port 0 takes a free one.
    pub listen: String,
    /// Directories and files to load plugins from.
    pub load: Vec<PathBuf>,
    /// A directory of files to serve at `/`.
    #[serde(rename = "static")]
    pub static_directory: Option<PathBuf>,
    /// Where compiled plugins are kept. Default: `bennu/compiled` in this user's cache directory.
    pub cache: Option<PathBuf>,
    /// Where the host keeps what outlives it: the plugins' storage, durable rooms, which builds are proved or were taken back, and
    /// the key of the API. Default: `data`, beside this file; without a file, where the host is started.
    pub data: PathBuf,
    /// Threads that serve WebSocket connections, and take the turns that wait for nothing. Default 0: half as many as the
    /// machine has processors, and at least one. The other half is for all the rest.
    pub wire_threads: usize,
    /// How new builds of plugins prove themselves.
    pub reload: ReloadTable,
    /// What is logged: a level, or directives such as `info,guest=debug`. Default `info`.
    pub log: String,
    /// How it is written: `human` or `json`.
    pub log_format: LogFormat,
    /// The secret behind tokens of Phoenix's kind: `{ env = "NAME" }` or `{ file = "PATH" }`. At least 20 bytes; the one of a
    /// Phoenix application, if tokens are to be shared with it.
    pub secret_key_base: Option<SecretSource>,
    /// The HTTP API.
    pub api: ApiTable,
    /// The limits.
    pub limits: Limits,
    /// The paths at which clients connect. Without any, there is `/socket`.
    pub mounts: BTreeMap<String, MountTable>,
    /// What single plugins are told and granted, by name.
    pub plugins: HashMap<String, PluginTable>,
    /// Where the file stands that paths are relative to.
    #[serde(skip)]
    pub beside: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:4000".into(),
            load: Vec::new(),
            static_directory: None,
            cache: None,
            data: "data".into(),
            wire_threads: 0,
            reload: ReloadTable::default(),
            log: "info".into(),
            log_format: LogFormat::Human,
            secret_key_base: None,
            api: ApiTable::default(),
            limits: Limits::default(),
            mounts: BTreeMap::new(),
            plugins: HashMap::new(),
            beside: PathBuf::new(),
        }
    }
}

/// Threads that may serve connections.
const WIRE_THREADS_MAX: usize = 256;

impl Config {
    /// How many threads serve connections.
    pub(super) fn wire_threads(&self) -> usize {
        match self.wire_threads {
            0 => available_parallelism().map_or(1, NonZero::get).div_ceil(2),
            threads => threads,
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// Names the file, and the key or the line with what is allowed there.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let mut config = Self::parse(&text).with_context(|| format!("in the configuration {}", path.display()))?;
        let beside = path.parent().unwrap_or(Path::new("."));
        let directories = config
            .load
            .iter_mut()
            .chain(&mut config.static_directory)
            .chain(&mut config.cache)
            .chain([&mut config.data]);
        directories.for_each(|directory| *directory = beside.join(&*directory));
        config.beside = beside.to_owned();
        Ok(config)
    }

    fn parse(text: &str) -> Result<Self> {
        // What some editors write at the start of a text.
        let text = text.trim_start_matches('\u{feff}');
        let config: Self = toml::from_str(text).map_err(|error| {
            // An object is a table here.
            anyhow!("{}", plain(&explained(&error)).replace(", expected an object", ", expected a table"))
        })?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        self.limits.check()?;
        check_filter(&self.log).context("`log`")?;
        if self.wire_threads > WIRE_THREADS_MAX {
            bail!("`wire_threads` is {}; it must be at most {WIRE_THREADS_MAX}", self.wire_threads);
        }
        if let Some(secret) = &self.secret_key_base {
            secret.check().context("`secret_key_base`")?;
        }
        if let Some(key) = &self.api.key {
            key.check().context("`api.key`")?;
        }
        for (path, mount) in &self.mounts {
            mount.check(path, &self.limits)?;
        }
        for (name, table) in &self.plugins {
            patterns(name, "publish", &table.publish)?;
            patterns(name, "read", &table.read)?;
            table.json(name)?;
        }
        self.check_stores()
    }

    /// Each plugin has data of its own.
    fn check_stores(&self) -> Result<()> {
        let mut stores = BTreeMap::new();
        for (name, table) in self.plugins.iter().collect::<BTreeMap<_, _>>() {
            let Some(store) = &table.store else { continue };
            Owner::new(store, 0).with_context(|| format!("`plugins.{name}.store`"))?;
            if let Some(other) = stores.insert(store, name) {
                bail!(
                    "`plugins.{other}.store` and `plugins.{name}.store` are both `{store}`: each plugin has data of its own"
                );
            }
        }
        Ok(())
    }

    /// The key of the API that the configuration names, if it names one.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn api_key(&self) -> Result<Option<Secret>> {
        let key = self.api.key.as_ref().map(|source| source.read(&self.beside));
        key.transpose().context("`api.key` can't be used")
    }

    /// The paths at which clients connect: `/socket`, if the file names none.
    #[must_use]
    pub fn mounts(&self) -> BTreeMap<String, MountTable> {
        if self.mounts.is_empty() {
            return BTreeMap::from([("/socket".into(), MountTable::default())]);
        }
        self.mounts.clone()
    }

    /// Where plugins are loaded from.
    ///
    /// # Errors
    /// Where there is nothing, or nothing is named.
    pub fn sources(&self) -> Result<Vec<Source>> {
        if self.load.is_empty() {
            bail!("nothing to serve: name a directory of plugins (`bennu serve plugins`), or set `load` in bennu.toml");
        }
        self.load.iter().map(|path| Source::find(path)).collect()
    }

    /// What the library is told of plugins.
    ///
    /// # Errors
    /// Where a pattern is none.
    pub fn settings(&self) -> Result<Settings> {
        let settings = |(name, table): (&String, &PluginTable)| {
            let configuration = table.json(name)?;
            let (publish, read) = (patterns(name, "publish", &table.publish)?, patterns(name, "read", &table.read)?);
            let store_bytes = table.store_bytes.unwrap_or(self.limits.store_bytes_per_plugin);
            let (configuration, publish, read) = (configuration.into(), publish.into(), read.into());
            let store = table.store.clone();
            Ok((name.clone(), PluginSettings { configuration, publish, read, store, store_bytes }))
        };
        let others = PluginSettings { store_bytes: self.limits.store_bytes_per_plugin, ..PluginSettings::default() };
        Ok(Settings { named: self.plugins.iter().map(settings).collect::<Result<_>>()?, others })
    }
}

impl PluginTable {
    /// What the plugin of this name reads as its configuration.
    fn json(&self, name: &str) -> Result<String> {
        Ok(json::json(&self.config, &format!("plugins.{name}.config"))?.to_string())
    }
}

/// What the reader of TOML says: the line, and for a key that isn't known those that are; and the one that was probably meant.
fn explained(error: &toml::de::Error) -> String {
    let text = error.to_string();
    let names =
        ["unknown field `", "unknown variant `"].into_iter().find_map(|start| error.message().strip_prefix(start));
    let Some((given, known)) = names.and_then(|names| names.split_once("`, expected ")) else {
        return text.trim_end().to_owned();
    };
    let meant = nearest(given, known.split('`').skip(1).step_by(2));
    let meant = meant.map(|name| format!("\ndid you mean `{name}`?")).unwrap_or_default();
    format!("{}{meant}", text.trim_end())
}

fn patterns(name: &str, key: &str, texts: &[String]) -> Result<Vec<Pattern>> {
    let parse = |text: &String| {
        Pattern::parse(text).map_err(|error| anyhow!("`plugins.{name}.{key}` has the pattern `{text}`: {error}"))
    };
    texts.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        Config::parse(text).err().map_or_else(String::new, |error| format!("{error:#}"))
    }

    #[test]
    fn a_whole_file_is_read() -> Result<()> {
        let config = Config::parse(
            r#"
            listen = "0.0.0.0:80"
            load = ["plugins"]
            static = "public"
            log_format = "json"
            [limits]
            frame_bytes = 4096
            [plugins.chat]
            publish = ["room:*"]
            config = { greeting = "hello", most = 3, since = 2026-11-28 }
            "#,
        )?;
        assert_eq!(config.limits, Limits { frame_bytes: 4096, ..Limits::default() });
        let settings = config.settings()?;
        assert_eq!(&*settings.of("chat").configuration, r#"{"greeting":"hello","most":3,"since":"2026-11-28"}"#);
        assert_eq!(*settings.of("chat").publish, [Pattern::Prefix("room:".into())]);
        assert_eq!(Config::parse("")?, Config::default());
        assert_eq!(Config::parse("\u{feff}log = \"debug\"")?.log, "debug", "a byte order mark is no part of it");
        Ok(())
    }

    #[test]
    fn errors_name_the_key_and_what_is_allowed() {
        let cases = [
            ("lisen = \"x\"", "`listen`"),
            ("listen = 80", "string"),
            ("load = 80", "expected a list"),
            ("limits = 80", "expected a table"),
            ("[limits]\noutbox_frames = \"many\"", "expected a whole number"),
            ("log_format = \"xml\"", "`human` or `json`"),
            ("log = \"warning\"", "`log`: the log filter `warning` can't be read"),
            ("log = \"info,gest=debug\"", "the targets are `guest`"),
            ("[limits]\nframe_byte = 1", "`frame_bytes`"),
            ("[limits]\noutbox_frames = 0", "limits.outbox_frames"),
            ("[limits]\nidle_ms = -1", "idle_ms"),
            ("[plugins.chat]\npublish = [\"a*b\"]", "plugins.chat.publish"),
            ("[plugins.chat]\nread = [\"\"]", "plugins.chat.read"),
            ("[plugins.chat]\nstore = \"\"", "plugins.chat.store"),
            (
                "[plugins.a]\nstore = \"x\"\n[plugins.b]\nstore = \"x\"",
                "`plugins.a.store` and `plugins.b.store` are both `x`",
            ),
            ("listen = ", "line 1"),
            ("secret_key_base = \"hunter2hunter2hunter2\"", "secrets come from the environment or a file"),
            ("[mounts.\"/socket\"]\ntransport = []", "`transports`"),
            ("[mounts.\"/socket\"]\ntransports = [\"quic\"]", "`websocket` or `longpoll`"),
            ("[mounts.\"/socket\"]\ntransports = []", "mounts.\"/socket\".transports"),
            ("[mounts.\"/socket/\"]", "`/socket`"),
            ("wire_threads = 257", "`wire_threads` is 257; it must be at most 256"),
            ("[mounts.\"/socket\"]\ncompress = true", "mounts.\"/socket\".compress"),
            ("[mounts.\"/socket\"]\ncheck_origin = \"maybe\"", "\"conn\""),
            ("[mounts.\"/socket\"]\nauth = \"none\"\ngatekeeper = \"gate\"", "mounts.\"/socket\".gatekeeper"),
            ("[mounts.\"/socket\"]\njwt = {}", "one of `secret`"),
            ("[mounts.\"/socket\"]\nidle_ms = 0", "limits.idle_ms"),
            ("lisen = \"x\"", "did you mean `listen`?"),
            ("[limits]\nroom_byte = 1", "did you mean `room_bytes`?"),
            ("[plugins.chat]\nconfg = {}", "did you mean `config`?"),
            ("log_format = \"jsno\"", "did you mean `json`?"),
            ("[plugins.chat.config]\na = [1, nan]", "`plugins.chat.config.a[1]` is NaN"),
        ];
        for (text, expected) in cases {
            assert!(refusal(text).contains(expected), "{text}: {}", refusal(text));
        }
    }

    #[test]
    fn paths_stand_beside_the_file() -> Result<()> {
        let home = tempfile::tempdir()?;
        let path = home.path().join("bennu.toml");
        std::fs::write(&path, "load = [\"plugins\"]\ncache = \"/somewhere\"")?;
        let config = Config::read(&path)?;
        assert_eq!(config.load, [home.path().join("plugins")]);
        assert_eq!(config.cache, Some("/somewhere".into()));
        let missing = Config::read(&home.path().join("absent.toml"));
        assert!(missing.is_err_and(|error| error.to_string().contains("absent.toml")));
        Ok(())
    }
}
