//! The configuration: a file, and what the command line says over it.

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
use crate::auth::{Secret, SecretSource};
use crate::contract::plain;
use crate::plugin::{PluginSettings, Settings, Source};
use crate::protocol::Pattern;
use crate::routes::ProbationTerms;

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
    /// Bytes that it may have in the store, in place of `limits.store_bytes_per_plugin`.
    pub store_bytes: Option<u64>,
}

/// The table `api`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiTable {
    /// Whether there is an API. Default `true`.
    pub enabled: bool,
    /// The key that it asks for: `{ env = "NAME" }` or `{ file = "PATH" }`. Without one it answers this machine alone.
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
    /// Calls that a build on probation answers at least. Default 100.
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
    /// Where the host keeps what outlives it: the plugins' storage, durable rooms, and which builds were taken back. Default:
    /// `data`, where the host is started.
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
        // Its message shows the line, and for a key that isn't known those that are.
        let config: Self = toml::from_str(text).map_err(|error| {
            // An object is a table here.
            let text = plain(error.to_string().trim_end());
            anyhow!("{}", text.replace(", expected an object", ", expected a table"))
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
        }
        Ok(())
    }

    /// The key of the API, if it has one.
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
            let configuration = serde_json::to_string(&table.config)
                .with_context(|| format!("`plugins.{name}.config` can't be given as JSON"))?;
            let (publish, read) = (patterns(name, "publish", &table.publish)?, patterns(name, "read", &table.read)?);
            let store_bytes = table.store_bytes.unwrap_or(self.limits.store_bytes_per_plugin);
            let (configuration, publish, read) = (configuration.into(), publish.into(), read.into());
            Ok((name.clone(), PluginSettings { configuration, publish, read, store_bytes }))
        };
        let others = PluginSettings { store_bytes: self.limits.store_bytes_per_plugin, ..PluginSettings::default() };
        Ok(Settings { named: self.plugins.iter().map(settings).collect::<Result<_>>()?, others })
    }
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
            config = { greeting = "hello", most = 3 }
            "#,
        )?;
        assert_eq!(config.limits, Limits { frame_bytes: 4096, ..Limits::default() });
        let settings = config.settings()?;
        assert_eq!(&*settings.of("chat").configuration, r#"{"greeting":"hello","most":3}"#);
        assert_eq!(*settings.of("chat").publish, [Pattern::Prefix("room:".into())]);
        assert_eq!(Config::parse("")?, Config::default());
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
