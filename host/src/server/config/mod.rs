//! The configuration file `bennu.toml`. Flags of the command line take precedence over it.

mod api;
mod build;
mod changes;
mod cluster;
mod contents;
mod http;
mod json;
mod mount;
mod nats;
mod plugin;
mod service_url;
mod store;
mod webhook;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use super::Limits;
use super::logging::check_filter;
use super::nearest::nearest;
use crate::auth::{SecretSources, without_api_keys};
use crate::contract::plain;
use crate::jobs::CronLine;
use crate::plugin::{PluginSettings, Settings, Source};
use crate::routes::{Placement, ProbationTerms};
use crate::store::{Owner, StorePlace};
use crate::transport::{AddressSource, Network, Proxies};

pub use api::{ApiKeyTable, ApiTable};
pub use build::{BuildTable, LanguageName};
pub(super) use changes::changes;
pub use changes::{ConfigChange, TakesEffect};
pub use cluster::{ClusterBus, ClusterTable};
pub(super) use contents::{Contents, contents};
pub use http::{HttpGrant, HttpGrantTable};
pub use mount::{AuthName, JwksUrl, JwtTable, MountTable, TokenTable, TransportName};
pub use nats::NatsTable;
pub use plugin::{PluginTable, WebPushTable};
pub use service_url::ServiceUrl;
pub use store::StoreTable;
pub use webhook::WebhookTable;

/// The format of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A readable line for each event.
    #[default]
    Human,
    /// A JSON object on each line.
    Json,
}

/// The table `reload`. A new build is on probation until both the minimum time and the minimum number of calls are reached. A
/// fault counts if the build before answers the same call. After more than `probation_faults` counted faults, the build before
/// serves again.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReloadTable {
    /// The minimum duration of a probation in milliseconds; 0 turns probation off. Default 60,000.
    pub probation_ms: u64,
    /// The minimum number of calls that a build on probation has to answer; 0 counts as 1. Default 100.
    pub probation_calls: u64,
    /// The number of counted faults that are tolerated. Default 3.
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

/// The file `bennu.toml`. Every key is optional. Paths are relative to the file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The address to listen on. Port 0 takes a free port. Default `127.0.0.1:4000`.
    pub listen: String,
    /// The networks of the proxies that are believed when they give a client's address. Default none.
    pub trusted_proxies: Vec<Network>,
    /// How these proxies give it: `x-forwarded-for`, `forwarded` or `proxy-protocol`. Default `x-forwarded-for`.
    pub client_address: AddressSource,
    /// Directories and files to load plugins from.
    pub load: Vec<PathBuf>,
    /// A directory of files to serve at `/`.
    #[serde(rename = "static")]
    pub static_directory: Option<PathBuf>,
    /// The directory for compiled plugins. Default: `bennu/compiled` in this user's cache directory.
    pub cache: Option<PathBuf>,
    /// The data directory: what plugins store, durable rooms, which builds have passed probation or were rolled back
    /// automatically, and the API key. Default: `data`, next to this file; without a file, in the working directory.
    pub data: PathBuf,
    /// The store, if it isn't in the data directory.
    pub store: StoreTable,
    /// The host as a node of a cluster, if it is one.
    pub cluster: Option<ClusterTable>,
    /// Milliseconds that a host that is told to stop serves on, so that load balancers notice that it isn't ready. Default 0, and 5,000
    /// in a cluster.
    pub drain_ms: Option<u64>,
    /// Threads that serve WebSocket connections and run the turns that don't have to wait. Default 0: half as many as the
    /// machine has processors, and at least one. The other processors do the rest.
    pub wire_threads: usize,
    /// The probation of new builds.
    pub reload: ReloadTable,
    /// The log filter: a level, or directives such as `info,guest=debug`. Default `info`.
    pub log: String,
    /// The format of the log: `human` or `json`. Default `human`.
    pub log_format: LogFormat,
    /// The secret that signs and verifies `Phoenix.Token` tokens: `{ env = "NAME" }` or `{ file = "PATH" }`. It has at least
    /// 20 bytes. To share tokens with a Phoenix application, use that application's secret. In a list of two, the first one
    /// signs, and both verify.
    pub secret_key_base: Option<SecretSources>,
    /// The HTTP API.
    pub api: ApiTable,
    /// The limits.
    pub limits: Limits,
    /// The paths at which clients connect. If there are none, the only mount is `/socket`, with every default.
    pub mounts: BTreeMap<String, MountTable>,
    /// Configuration and permissions of single plugins, by name.
    pub plugins: HashMap<String, PluginTable>,
    /// What happens in topics is delivered to these URLs.
    pub webhooks: Vec<WebhookTable>,
    /// The plugins that `bennu build` makes, by name.
    pub build: BTreeMap<String, BuildTable>,
    /// Whether each call is [run twice](crate::plugin::Loader::repeats_calls), to find plugins that keep state in their
    /// instances. It isn't a key of the file: the commands that develop and test plugins set it.
    #[serde(skip)]
    pub repeats_calls: bool,
    /// The directory of the file. Paths are relative to it.
    #[serde(skip)]
    pub beside: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:4000".into(),
            trusted_proxies: Vec::new(),
            client_address: AddressSource::default(),
            load: Vec::new(),
            static_directory: None,
            cache: None,
            data: "data".into(),
            store: StoreTable::default(),
            cluster: None,
            drain_ms: None,
            wire_threads: 0,
            reload: ReloadTable::default(),
            log: "info".into(),
            log_format: LogFormat::Human,
            secret_key_base: None,
            api: ApiTable::default(),
            limits: Limits::default(),
            mounts: BTreeMap::new(),
            plugins: HashMap::new(),
            webhooks: Vec::new(),
            build: BTreeMap::new(),
            repeats_calls: false,
            beside: PathBuf::new(),
        }
    }
}

/// The maximum of `wire_threads`.
const WIRE_THREADS_MAX: usize = 256;

/// The maximum of `drain_ms`.
const DRAIN_MS_MAX: u64 = 600_000;

/// The `drain_ms` of a node of a cluster. A balancer that asks every two seconds, and believes the second answer, has noticed by then.
const DRAIN_MS_IN_CLUSTER: u64 = 5_000;

impl Config {
    /// Returns for how long a host that is told to stop serves on.
    pub(super) fn drain(&self) -> Duration {
        let usual = if self.cluster.is_some() { DRAIN_MS_IN_CLUSTER } else { 0 };
        Duration::from_millis(self.drain_ms.unwrap_or(usual))
    }

    /// Returns how many threads serve connections.
    pub(super) fn wire_threads(&self) -> usize {
        match self.wire_threads {
            0 => available_parallelism().map_or(1, NonZero::get).div_ceil(2),
            threads => threads,
        }
    }

    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// Returns an error that names the file, the key or line, and the allowed values.
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

    pub(super) fn parse(text: &str) -> Result<Self> {
        // Some editors write a byte order mark at the start of a file.
        let text = text.trim_start_matches('\u{feff}');
        let config: Self = toml::from_str(text).map_err(|error| {
            // Serde calls a table an object.
            let text = plain(&explained(&error)).replace(", expected an object", ", expected a table");
            anyhow!("{}", without_api_keys(&text))
        })?;
        config.check()?;
        Ok(config)
    }

    pub(super) fn check(&self) -> Result<()> {
        self.limits.check()?;
        check_filter(&self.log).context("`log`")?;
        if self.wire_threads > WIRE_THREADS_MAX {
            bail!("`wire_threads` is {}; it must be at most {WIRE_THREADS_MAX}", self.wire_threads);
        }
        if let Some(drain_ms) = self.drain_ms.filter(|drain_ms| *drain_ms > DRAIN_MS_MAX) {
            bail!("`drain_ms` is {drain_ms}; it must be at most {DRAIN_MS_MAX}");
        }
        if let Some(secret) = &self.secret_key_base {
            secret.check().context("`secret_key_base`")?;
        }
        self.api.check()?;
        self.store.check()?;
        for (path, mount) in &self.mounts {
            mount.check(path, &self.limits)?;
        }
        for (name, table) in &self.plugins {
            table.check(name, &self.limits)?;
        }
        self.build.iter().try_for_each(|(name, table)| table.check(name))?;
        self.webhooks()?;
        self.check_stores()?;
        self.cluster.iter().try_for_each(|cluster| cluster.check(self))
    }

    /// Checks that no two plugins store their data under the same name.
    fn check_stores(&self) -> Result<()> {
        let mut stores = BTreeMap::new();
        for (name, table) in self.plugins.iter().collect::<BTreeMap<_, _>>() {
            let Some(store) = &table.store else { continue };
            Owner::new(store, 0).with_context(|| format!("`plugins.{name}.store`"))?;
            if let Some(other) = stores.insert(store, name) {
                bail!(
                    "`plugins.{other}.store` and `plugins.{name}.store` are both `{store}`: two plugins can't share data"
                );
            }
        }
        Ok(())
    }

    /// Returns where the store is. Reads the secrets of its database.
    ///
    /// # Errors
    /// Returns an error if a secret can't be read, or the URL of the database is wrong.
    pub fn store_place(&self) -> Result<StorePlace> {
        Ok(match self.store.place(&self.beside)? {
            Some(place) => StorePlace::Postgres(place),
            None => StorePlace::Directory(self.data.clone()),
        })
    }

    /// Returns which routes the host may serve: a node of a cluster doesn't serve all.
    ///
    /// # Errors
    /// Returns an error if a pattern of `cluster.sticky` is invalid.
    pub fn placement(&self) -> Result<Placement> {
        self.cluster.as_ref().map_or(Ok(Placement::Alone), ClusterTable::placement)
    }

    /// Returns the trusted proxies.
    #[must_use]
    pub fn proxies(&self) -> Proxies {
        Proxies { trusted: self.trusted_proxies.clone(), source: self.client_address }
    }

    /// Returns the mounts by their paths: those of the file, or else `/socket` with every default.
    #[must_use]
    pub fn mounts(&self) -> BTreeMap<String, MountTable> {
        if self.mounts.is_empty() {
            return BTreeMap::from([("/socket".into(), MountTable::default())]);
        }
        self.mounts.clone()
    }

    /// Returns the URLs from which mounts have their keys.
    pub(super) fn jwks_urls(&self) -> Vec<&JwksUrl> {
        self.mounts.values().filter_map(|mount| mount.jwt.as_ref()?.jwks_url.as_ref()).collect()
    }

    /// Returns the directories and files from which plugins are loaded.
    ///
    /// # Errors
    /// Returns an error if none is named, or if one doesn't exist.
    pub fn sources(&self) -> Result<Vec<Source>> {
        if self.load.is_empty() {
            bail!("nothing to serve: name a directory of plugins (`bennu serve plugins`), or set `load` in bennu.toml");
        }
        self.load.iter().map(|path| Source::find(path)).collect()
    }

    /// Returns the settings of all plugins, for the plugin library.
    ///
    /// # Errors
    /// Returns an error if a pattern is invalid, or if a plugin's configuration can't be converted to JSON.
    pub fn settings(&self) -> Result<Settings> {
        let settings = |(name, table): (&String, &PluginTable)| Ok((name.clone(), table.settings(name, &self.limits)?));
        let others = PluginSettings { store_bytes: self.limits.store_bytes_per_plugin, ..PluginSettings::default() };
        Ok(Settings { named: self.plugins.iter().map(settings).collect::<Result<_>>()?, others })
    }
}

impl Config {
    /// Returns the cron lines of all plugins, each with the name under which the data of its plugin is stored.
    ///
    /// # Errors
    /// Returns an error if a line is invalid.
    pub fn cron_lines(&self) -> Result<Vec<(Arc<str>, CronLine)>> {
        let mut lines = Vec::new();
        for (name, table) in &self.plugins {
            let store: Arc<str> = table.store.as_deref().unwrap_or(name).into();
            lines.extend(table.cron_lines(name)?.into_iter().map(|line| (Arc::clone(&store), line)));
        }
        Ok(lines)
    }
}

/// Returns the text of a TOML error. For an unknown key or value, adds the known one that was probably meant.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Pattern;

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
    fn errors_name_the_key_and_the_allowed_values() {
        let cases = [
            ("lisen = \"x\"", "`listen`"),
            ("listen = 80", "string"),
            ("trusted_proxies = [\"10.0.0.1/8\"]", "must be zero"),
            ("trusted_proxies = \"10.0.0.0/8\"", "expected a list"),
            ("client_address = \"x-real-ip\"", "`x-forwarded-for`"),
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
            ("[plugins.chat]\ncall_cpu_ms = 0", "`plugins.chat.call_cpu_ms` is 0; it must be at least 1"),
            ("[plugins.chat]\ninit_cpu_ms = 0", "`plugins.chat.init_cpu_ms` is 0; it must be at least 1"),
            ("[plugins.chat]\nmemory_bytes = 1000", "`plugins.chat.memory_bytes` is 1000; it must be from 65536"),
            ("[plugins.chat]\ninstances = 0", "`plugins.chat.instances` is 0; it must be from 1 to 4096"),
            (
                "[limits]\ninstances = 8\n[plugins.chat]\ninstances = 9",
                "from 1 to 8, the instances of all plugins together",
            ),
            (
                "[plugins.a]\nstore = \"x\"\n[plugins.b]\nstore = \"x\"",
                "`plugins.a.store` and `plugins.b.store` are both `x`",
            ),
            (
                "[[plugins.a.cron]]\ntopic = \"t\"\nevent = \"e\"\nschedule = \"daily\"",
                "`plugins.a.cron`, table 1: the schedule `daily`",
            ),
            ("[[plugins.a.cron]]\ntopic = \"t\"\nevent = \"e\"", "schedule"),
            ("listen = ", "line 1"),
            ("secret_key_base = \"hunter2hunter2hunter2\"", "secrets come from the environment or a file"),
            ("[mounts.\"/socket\"]\ntransport = []", "`transports`"),
            ("[mounts.\"/socket\"]\ntransports = [\"quic\"]", "`websocket` or `longpoll`"),
            ("[mounts.\"/socket\"]\ntransports = []", "mounts.\"/socket\".transports"),
            ("[mounts.\"/socket/\"]", "`/socket`"),
            ("wire_threads = 257", "`wire_threads` is 257; it must be at most 256"),
            ("drain_ms = 600001", "`drain_ms` is 600001; it must be at most 600000"),
            ("[mounts.\"/socket\"]\ncompress = 1", "compress"),
            ("[mounts.\"/socket\"]\nserializer = \"json\"", "`phoenix` or `supabase`"),
            ("[mounts.\"/socket\"]\ncheck_origin = \"maybe\"", "\"conn\""),
            ("[mounts.\"/socket\"]\nauth = \"none\"\ngatekeeper = \"gate\"", "mounts.\"/socket\".gatekeeper"),
            ("[mounts.\"/socket\"]\njwt = {}", "one of `secret`"),
            ("[mounts.\"/socket\"]\nidle_ms = 0", "limits.idle_ms"),
            ("lisen = \"x\"", "did you mean `listen`?"),
            ("[limits]\nroom_byte = 1", "did you mean `room_bytes`?"),
            ("[plugins.chat]\nconfg = {}", "did you mean `config`?"),
            ("log_format = \"jsno\"", "did you mean `json`?"),
            ("[build.a]\nlang = \"rusty\"", "did you mean `rust`?"),
            ("[build.a]\ncommand = \"make\"", "`build.a.command` needs `build.a.output`"),
            ("[build.a]\noutput = \"a.wasm\"", "`build.a.output` needs `build.a.command`"),
            ("[build.a]\ncommand = \"make\"\noutput = \"a.o\"", "ends in .wasm, .js or .ts"),
            ("[build.\"a/b\"]", "letters, digits"),
            ("[plugins.chat.config]\na = [1, nan]", "`plugins.chat.config.a[1]` is NaN"),
        ];
        for (text, expected) in cases {
            assert!(refusal(text).contains(expected), "{text}: {}", refusal(text));
        }
    }

    #[test]
    fn a_node_of_a_cluster_drains_unless_the_file_says_otherwise() -> Result<()> {
        let cluster = "[store]\nurl = \"postgres://h/d\"\n[cluster]\n";
        for (text, expected) in [
            (String::new(), 0),
            (cluster.to_owned(), 5_000),
            (format!("drain_ms = 0\n{cluster}"), 0),
            ("drain_ms = 250".to_owned(), 250),
        ] {
            assert_eq!(Config::parse(&text)?.drain(), Duration::from_millis(expected), "{text}");
        }
        Ok(())
    }

    #[test]
    fn paths_are_relative_to_the_file() -> Result<()> {
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
