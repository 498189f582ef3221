//! A plugin's table, `plugins.NAME`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use super::super::Limits;
use super::super::limits::check_memory;
use super::{HttpGrant, json};
use crate::auth::SecretSource;
use crate::jobs::CronLine;
use crate::plugin::{PluginLimits, PluginSettings};
use crate::protocol::{NAME_BYTES_MAX, Pattern};

/// One plugin's table, `plugins.NAME`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PluginTable {
    /// The plugin's own configuration, which the plugin reads as JSON.
    pub config: toml::Table,
    /// Patterns of further topics that the plugin may publish and send to, and of socket ids that it may disconnect.
    pub publish: Vec<String>,
    /// Patterns of further topics that the plugin may subscribe to and read about.
    pub read: Vec<String>,
    /// The URLs that the plugin may ask for by HTTP, such as `https://api.example.com/v1/*`.
    pub http: Vec<HttpGrant>,
    /// Headers with secrets that the host adds to the plugin's requests, by the origin of the server.
    pub http_headers: BTreeMap<String, BTreeMap<String, SecretSource>>,
    /// Secrets that sign the plugin's deliveries, by the origin of the server: one, or two while it is changed.
    pub http_signing: BTreeMap<String, Vec<SecretSource>>,
    /// The key by which the host identifies itself to push services.
    pub web_push: Option<WebPushTable>,
    /// The name under which the plugin's data is stored. Default: the plugin's name. With this key, the name of the plugin's
    /// file may change, for example with its version.
    pub store: Option<String>,
    /// Times at which a topic of the plugin is told an event.
    pub cron: Vec<CronTable>,
    /// The maximum number of bytes that the plugin may store. Default: `limits.store_bytes_per_plugin`.
    pub store_bytes: Option<u64>,
    /// Milliseconds of CPU time of one call. Default: `limits.call_cpu_ms`.
    pub call_cpu_ms: Option<u64>,
    /// Milliseconds of CPU time of the evaluation of the plugin's script. Default: `limits.init_cpu_ms`.
    pub init_cpu_ms: Option<u64>,
    /// Bytes of linear memory of one instance. Default: `limits.memory_bytes`.
    pub memory_bytes: Option<usize>,
    /// The maximum number of instances. Default: `limits.instances_per_plugin`.
    pub instances: Option<usize>,
}

/// The table `plugins.NAME.web_push`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebPushTable {
    /// A private key of the curve P-256 in PEM.
    pub key: SecretSource,
    /// An address of the operator, for push services: `mailto:ops@example.com`, or `https://..`.
    pub subject: String,
}

/// A table of `plugins.NAME.cron`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CronTable {
    /// The topic. The plugin must serve it.
    pub topic: String,
    /// The event.
    pub event: String,
    /// The times, in five fields: minute, hour, day of month, month, day of week.
    pub schedule: String,
    /// The time zone. Default: UTC.
    pub timezone: Option<String>,
}

/// The most tables of `plugins.NAME.cron`.
const CRON_LINES_MAX: usize = 256;

impl PluginTable {
    /// Checks the table. `name` is the plugin's name, for errors.
    ///
    /// # Errors
    /// Returns an error that names the key and the allowed values.
    pub(super) fn check(&self, name: &str, limits: &Limits) -> Result<()> {
        self.settings(name, limits)?;
        self.cron_lines(name)?;
        self.check_http(name)?;
        self.check_limits(name, limits)
    }

    /// Returns the configuration of the plugin.
    ///
    /// # Errors
    /// Returns an error if a pattern is invalid, or if the plugin's configuration can't be converted to JSON.
    pub(super) fn settings(&self, name: &str, limits: &Limits) -> Result<PluginSettings> {
        Ok(PluginSettings {
            configuration: self.json(name)?.into(),
            publish: patterns(name, "publish", &self.publish)?.into(),
            read: patterns(name, "read", &self.read)?.into(),
            store: self.store.clone(),
            store_bytes: self.store_bytes.unwrap_or(limits.store_bytes_per_plugin),
            limits: self.limits(),
        })
    }

    /// Returns the configuration that the plugin reads, as JSON.
    fn json(&self, name: &str) -> Result<String> {
        Ok(json::json(&self.config, &format!("plugins.{name}.config"))?.to_string())
    }

    /// Reads the cron lines.
    ///
    /// # Errors
    /// Returns an error that names the table and what is wrong with it.
    pub(super) fn cron_lines(&self, name: &str) -> Result<Vec<CronLine>> {
        if self.cron.len() > CRON_LINES_MAX {
            bail!("`plugins.{name}.cron` has {} tables; at most {CRON_LINES_MAX} are allowed", self.cron.len());
        }
        let mut lines: Vec<CronLine> = Vec::new();
        for (at, CronTable { topic, event, schedule, timezone }) in self.cron.iter().enumerate() {
            let place = || format!("`plugins.{name}.cron`, table {}", at + 1);
            if topic.is_empty() || topic.len() > NAME_BYTES_MAX || event.len() > NAME_BYTES_MAX {
                bail!("{}: a topic has 1 to {NAME_BYTES_MAX} bytes, and an event at most {NAME_BYTES_MAX}", place());
            }
            let line = CronLine::read(topic, event, schedule, timezone.as_deref()).with_context(place)?;
            let job = line.job(&"".into());
            if lines.iter().any(|other| other.job(&"".into()) == job) {
                bail!("{}: an earlier table is the same", place());
            }
            lines.push(line);
        }
        Ok(lines)
    }

    fn limits(&self) -> PluginLimits {
        let time = |ms: Option<u64>| ms.map(Duration::from_millis);
        let (cpu, init_cpu) = (time(self.call_cpu_ms), time(self.init_cpu_ms));
        PluginLimits { cpu, init_cpu, memory_bytes: self.memory_bytes, instances: self.instances }
    }

    /// Checks the plugin's own limits. The host reserves address space for `limits.instances` instances, so one plugin can't
    /// have more.
    fn check_limits(&self, name: &str, limits: &Limits) -> Result<()> {
        for (key, value) in [("call_cpu_ms", self.call_cpu_ms), ("init_cpu_ms", self.init_cpu_ms)] {
            if value == Some(0) {
                bail!("`plugins.{name}.{key}` is 0; it must be at least 1");
            }
        }
        if let Some(bytes) = self.memory_bytes {
            check_memory(&format!("plugins.{name}.memory_bytes"), bytes)?;
        }
        let most = limits.instances as usize;
        match self.instances {
            Some(instances) if instances == 0 || instances > most => bail!(
                "`plugins.{name}.instances` is {instances}; it must be from 1 to {most}, the instances of all plugins together \
                 (`limits.instances`)"
            ),
            _ => Ok(()),
        }
    }
}

fn patterns(name: &str, key: &str, texts: &[String]) -> Result<Vec<Pattern>> {
    let parse = |text: &String| {
        Pattern::parse(text).map_err(|error| anyhow!("`plugins.{name}.{key}` has the pattern `{text}`: {error}"))
    };
    texts.iter().map(parse).collect()
}
