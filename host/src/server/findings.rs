//! Findings: settings that are allowed but probably mistakes, such as names of plugins that don't exist, and limits that make
//! something impossible.
//!
//! A finding doesn't keep a host from starting, because a plugin may be added later. Findings are logged once, at the start,
//! and `bennu serve --check` prints them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::data;
use super::mounts::{log_open_mounts, skipped_keys};
use super::nearest::suggestion;
use super::{AddressLimits, Config, Limits, MountTable};
use crate::channel::Node;
use crate::plugin::{Cache, PluginStatus, PluginStatuses, Source};
use crate::transport::AddressSource;

/// A setting that is probably a mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether it is a mistake. Otherwise it may be intended, and is only a remark.
    pub is_mistake: bool,
    /// A sentence that names the key and its consequence.
    pub text: String,
}

impl Finding {
    fn mistake(text: String) -> Self {
        Self { is_mistake: true, text }
    }

    fn remark(text: String) -> Self {
        Self { is_mistake: false, text }
    }

    /// Logs the finding as a warning.
    pub(super) fn log(&self) {
        tracing::warn!("{}", self.text);
    }
}

/// The default time between two heartbeats of phoenix.js (its option `heartbeatIntervalMs`).
const HEARTBEAT_MS: u64 = 30_000;

/// Roughly the number of bytes of the shortest join, and of its answer.
const SHORTEST_JOIN: usize = 32;

/// The maximum number of names in one message.
const LISTED: usize = 10;

/// Returns all findings. `plugins` is the state of the plugins after their first load.
pub(super) fn findings(
    config: &Config,
    sources: &[Source],
    plugins: &BTreeMap<String, PluginStatus>,
) -> anyhow::Result<Vec<Finding>> {
    let mut found = of_sources(sources, plugins);
    found.extend(of_tables(config, plugins));
    found.extend(config.mounts.iter().filter_map(|(path, mount)| of_gatekeeper(path, mount, plugins)));
    found.extend(skipped_keys(config)?.into_iter().map(Finding::remark));
    let limits = of_limits(&config.limits);
    for (path, mount) in &config.mounts {
        // A mount has most limits from the host, and a finding about them is reported only once.
        let own = of_limits(&mount.limits(&config.limits)).into_iter().filter(|text| !limits.contains(text));
        found.extend(own.map(|text| Finding::remark(format!("in `mounts.\"{path}\"`: {text}"))));
    }
    found.extend(limits.into_iter().map(Finding::remark));
    found.extend(of_the_rest(config));
    Ok(found)
}

/// Logs what operators should know about the configuration and the data.
pub(super) async fn log_remarks(
    config: &Config,
    sources: &[Source],
    node: &Node,
    statuses: &PluginStatuses,
    address: SocketAddr,
) -> anyhow::Result<()> {
    data::log_unclaimed(&node.store, statuses).await;
    findings(config, sources, &statuses.all())?.iter().for_each(Finding::log);
    log_open_mounts(config, &node.routes, address);
    Ok(())
}

fn of_sources(sources: &[Source], plugins: &BTreeMap<String, PluginStatus>) -> Vec<Finding> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| source.is_empty()) {
        let directory = source.directory().display();
        found.push(Finding::mistake(format!(
            "there is no plugin in {directory}: a plugin's file has a name like NAME.wasm, and must be in the directory itself"
        )));
    }
    let serving = |kind: &str| plugins.values().filter(|plugin| plugin.generation > 0 && plugin.kind == kind).count();
    // A plugin whose file is gone, such as a missing gatekeeper, wasn't refused.
    let there = || plugins.values().filter(|plugin| !plugin.file_is_gone);
    let (all, refused) = (there().count(), there().filter(|plugin| plugin.generation == 0).count());
    if all > 0 && refused == all {
        let what =
            if all == 1 { "the only plugin was refused".into() } else { format!("all {all} plugins were refused") };
        found.push(Finding::mistake(format!("{what}, so nothing is served")));
    } else if all > 0 && serving("plugin") == 0 {
        found.push(Finding::mistake("no plugin serves a topic: there are only gatekeepers".into()));
    }
    found
}

/// Returns findings for tables `plugins.NAME` of plugins that don't exist.
fn of_tables(config: &Config, plugins: &BTreeMap<String, PluginStatus>) -> Vec<Finding> {
    let mut names: Vec<&String> = config.plugins.keys().collect();
    names.sort();
    let absent = names.into_iter().filter(|name| !plugins.contains_key(*name));
    let about = |name: &String| {
        let meant = suggestion(name, plugins.keys().map(String::as_str));
        let listed = if meant.is_empty() { list(plugins.keys()) } else { String::new() };
        Finding::mistake(format!("`plugins.{name}` is for a plugin that doesn't exist{meant}{listed}"))
    };
    absent.map(about).collect()
}

fn of_gatekeeper(path: &str, mount: &MountTable, plugins: &BTreeMap<String, PluginStatus>) -> Option<Finding> {
    let name = mount.gatekeeper.as_ref()?;
    let gatekeepers = || plugins.iter().filter(|(_, plugin)| plugin.kind == "gatekeeper").map(|(name, _)| name);
    let why = match plugins.get(name) {
        Some(plugin) if plugin.generation > 0 && plugin.kind == "gatekeeper" => return None,
        Some(plugin) if plugin.generation > 0 => format!("a plugin that isn't a gatekeeper{}", list(gatekeepers())),
        Some(plugin) if plugin.file_is_gone => "a plugin whose file is gone".to_owned(),
        Some(_) => "a plugin that was refused".to_owned(),
        None => {
            let meant = suggestion(name, gatekeepers().map(String::as_str));
            let listed = if meant.is_empty() { list(gatekeepers()) } else { String::new() };
            format!("a gatekeeper that doesn't exist{meant}{listed}")
        }
    };
    let text = format!("no client can connect at {path}: `mounts.\"{path}\".gatekeeper` names `{name}`, {why}");
    Some(Finding::mistake(text))
}

/// Returns `` ; there are `a`, `b` ``, or an empty text if there are no names.
fn list<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).take(LISTED).collect();
    match names[..] {
        [] => String::new(),
        [only] => format!("; there is `{only}`"),
        _ => format!("; there are `{}`", names.join("`, `")),
    }
}

/// Returns remarks on limits that make something impossible, which may be intended.
fn of_limits(limits: &Limits) -> Vec<String> {
    let store_bytes = usize::try_from(limits.store_bytes_per_plugin).unwrap_or(usize::MAX);
    let stop_ms = usize::try_from(limits.stop_ms).unwrap_or(usize::MAX);
    // Each with the smallest value that makes it possible. The shortest meta of a presence is `{}`.
    let possible = [
        ("assigns_bytes", limits.assigns_bytes, 1, "a member can't have a state"),
        ("room_bytes", limits.room_bytes, 1, "no topic can have a room"),
        ("store_key_bytes", limits.store_key_bytes, 1, "nothing can be stored"),
        ("store_value_bytes", limits.store_value_bytes, 1, "nothing can be stored"),
        ("store_writes_per_call", limits.store_writes_per_call, 1, "nothing can be stored"),
        ("store_write_bytes_per_call", limits.store_write_bytes_per_call, 1, "nothing can be stored"),
        ("store_bytes_per_plugin", store_bytes, 1, "nothing can be stored"),
        ("effects_per_call", limits.effects_per_call, 1, "a callback can't push, broadcast or send"),
        ("effect_bytes", limits.effect_bytes, 1, "a callback can't push, broadcast, send or reply"),
        ("timers_per_member", limits.timers_per_member, 1, "a member can't have a timer"),
        ("presences_per_member", limits.presences_per_member, 1, "nobody can be tracked"),
        ("presence_bytes", limits.presence_bytes, 2, "nobody can be tracked"),
        ("subscriptions_per_member", limits.subscriptions_per_member, 1, "a member can't subscribe to a further topic"),
        ("log_lines_per_call", limits.log_lines_per_call, 1, "a callback that logs ends in a fault"),
        ("stop_ms", stop_ms, 1, "a stop doesn't wait for `terminate`, and a durable room may be stored a second late"),
        ("frame_bytes", limits.frame_bytes, SHORTEST_JOIN, "nobody can join: the message has more bytes"),
        ("outbox_bytes", limits.outbox_bytes, SHORTEST_JOIN, "nobody can join: the answer has more bytes"),
    ];
    let impossible = possible.into_iter().filter(|(_, value, least, _)| value < least);
    let mut found: Vec<String> =
        impossible.map(|(key, value, _, what)| format!("`limits.{key}` is {value}, so {what}")).collect();
    if limits.call_cpu_ms > limits.call_wall_ms {
        let Limits { call_cpu_ms: cpu, call_wall_ms: wall, .. } = limits;
        found.push(format!(
            "`limits.call_cpu_ms` is {cpu} and `limits.call_wall_ms` is {wall}, so the first is never reached"
        ));
    }
    if limits.store_value_bytes > limits.store_write_bytes_per_call {
        found.push(
            "`limits.store_value_bytes` is more than `limits.store_write_bytes_per_call`, so the largest values can't be written"
                .into(),
        );
    }
    if limits.idle_ms < HEARTBEAT_MS {
        found.push(format!(
            "`limits.idle_ms` is {}, so an idle client is closed between its heartbeats: phoenix.js sends a heartbeat every \
             {HEARTBEAT_MS} ms by default",
            limits.idle_ms
        ));
    }
    found
}

fn of_the_rest(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut tables: Vec<_> = config.plugins.iter().collect();
    tables.sort_by_key(|(name, _)| *name);
    for (name, _) in tables.into_iter().filter(|(_, table)| table.store_bytes == Some(0)) {
        found.push(Finding::remark(format!("`plugins.{name}.store_bytes` is 0, so `{name}` can't store anything")));
    }
    for (name, table) in config.plugins.iter().collect::<BTreeMap<_, _>>() {
        let (cpu, wall) = (table.call_cpu_ms, config.limits.call_wall_ms);
        if let Some(cpu) = cpu.filter(|cpu| *cpu > wall) {
            found.push(Finding::remark(format!(
                "`plugins.{name}.call_cpu_ms` is {cpu} and `limits.call_wall_ms` is {wall}, so the first is never reached"
            )));
        }
    }
    if !config.api.enabled && (config.api.listen.is_some() || config.api.key.is_some()) {
        found.push(Finding::remark("`api.enabled` is false, so the other keys of `[api]` have no effect".into()));
    }
    found.extend(of_proxies(config).map(Finding::remark));
    if config.cache.is_none() && Cache::default_directory().is_none() {
        found.push(Finding::remark(
            "compiled plugins aren't kept, so each start compiles them again: neither `cache` nor the variables HOME and \
             XDG_CACHE_HOME name a directory"
                .into(),
        ));
    }
    found
}

/// A host whose address is reached only from its own machine has a proxy, or only local clients.
fn of_proxies(config: &Config) -> Option<String> {
    if !config.trusted_proxies.is_empty() {
        return None;
    }
    if config.client_address != AddressSource::default() {
        return Some("`client_address` has no effect without `trusted_proxies`".into());
    }
    let defaults = AddressLimits::default();
    let limits = AddressLimits { faults_per_minute: defaults.faults_per_minute, ..config.limits.address.clone() };
    let is_local = config.listen.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback());
    (is_local && limits != defaults).then(|| {
        format!(
            "`limits.address` limits all clients together: the host listens at {}, so they come through a proxy, and \
             `trusted_proxies` doesn't name it",
            config.listen
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_addresses_need_the_proxy() {
        let mut config = Config::default();
        assert_eq!(of_proxies(&config), None);
        config.limits.address.connections = 5;
        assert!(of_proxies(&config).is_some_and(|text| text.contains("`trusted_proxies`")));
        config.trusted_proxies = vec!["::1".parse().expect("a network")];
        assert_eq!(of_proxies(&config), None);
        let config = Config { client_address: AddressSource::Forwarded, ..Config::default() };
        assert!(of_proxies(&config).is_some_and(|text| text.contains("no effect")));
    }

    fn plugin(kind: &'static str, generation: u32) -> PluginStatus {
        PluginStatus { kind, generation, ..PluginStatus::default() }
    }

    #[test]
    fn the_default_limits_have_no_findings() {
        assert_eq!(of_limits(&Limits::default()), Vec::<String>::new());
    }

    #[test]
    fn a_limit_that_makes_something_impossible_is_named() {
        let of = |limits: Limits| of_limits(&limits).join("; ");
        let usual = Limits::default;
        let cases = [
            (Limits { room_bytes: 0, ..usual() }, "`limits.room_bytes` is 0, so no topic can have a room"),
            (Limits { presence_bytes: 1, ..usual() }, "`limits.presence_bytes` is 1, so nobody can be tracked"),
            (Limits { store_bytes_per_plugin: 0, ..usual() }, "so nothing can be stored"),
            (Limits { frame_bytes: 8, ..usual() }, "so nobody can join"),
            (Limits { call_cpu_ms: 9000, ..usual() }, "is never reached"),
            (Limits { store_value_bytes: 5 << 20, ..usual() }, "the largest values can't be written"),
            (Limits { idle_ms: 20_000, ..usual() }, "heartbeat every 30000 ms"),
            (Limits { stop_ms: 0, ..usual() }, "`limits.stop_ms` is 0"),
        ];
        for (limits, words) in cases {
            assert!(of(limits.clone()).contains(words), "{words}: {}", of(limits));
        }
    }

    #[test]
    fn a_mount_is_named_only_for_its_own_limits() -> anyhow::Result<()> {
        let mount = MountTable { frame_bytes: Some(8), ..MountTable::default() };
        let config = Config {
            limits: Limits { room_bytes: 0, ..Limits::default() },
            mounts: [("/small".into(), mount)].into(),
            cache: Some("cache".into()),
            ..Config::default()
        };
        let found = findings(&config, &[], &[("echo".into(), plugin("plugin", 1))].into())?;
        let found: Vec<&str> = found.iter().map(|finding| finding.text.as_str()).collect();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("in `mounts.\"/small\"`: `limits.frame_bytes` is 8"), "{found:?}");
        Ok(())
    }

    #[test]
    fn a_wrong_name_is_reported_with_the_likely_right_one() {
        let plugins = [("chat".into(), plugin("plugin", 1)), ("gate".into(), plugin("gatekeeper", 1))].into();
        let table = |name: &str| {
            let config = Config { plugins: [(name.into(), Default::default())].into(), ..Config::default() };
            of_tables(&config, &plugins).first().map(|finding| finding.text.clone())
        };
        assert_eq!(table("chat"), None);
        let found = |name| table(name).unwrap_or_default();
        assert!(found("chta").ends_with("doesn't exist; did you mean `chat`?"), "{}", found("chta"));
        assert!(found("chat.wasm").ends_with("; did you mean `chat`?"), "{}", found("chat.wasm"));
        assert!(found("other").ends_with("doesn't exist; there are `chat`, `gate`"), "{}", found("other"));
        let gatekeeper = |name: &str, plugins| {
            let mount = MountTable { gatekeeper: Some(name.into()), ..MountTable::default() };
            of_gatekeeper("/socket", &mount, plugins).map(|finding| finding.text).unwrap_or_default()
        };
        assert_eq!(gatekeeper("gate", &plugins), "");
        for (name, words) in [
            ("gaet", "that doesn't exist; did you mean `gate`?"),
            ("nope", "that doesn't exist; there is `gate`"),
            ("chat", "a plugin that isn't a gatekeeper; there is `gate`"),
        ] {
            assert!(gatekeeper(name, &plugins).ends_with(words), "{}", gatekeeper(name, &plugins));
        }
        let refused = [("gate".into(), plugin("", 0))].into();
        assert!(gatekeeper("gate", &refused).ends_with("a plugin that was refused"));
        let missed = PluginStatus { file_is_gone: true, ..plugin("gatekeeper", 0) };
        assert!(gatekeeper("gate", &[("gate".into(), missed)].into()).ends_with("a plugin whose file is gone"));
    }

    #[test]
    fn a_host_that_serves_nothing_has_one_finding() {
        let text = |plugins: &[PluginStatus]| {
            let plugins = plugins.iter().enumerate().map(|(at, plugin)| (at.to_string(), plugin.clone())).collect();
            of_sources(&[], &plugins).into_iter().map(|finding| finding.text).collect::<Vec<_>>().join("; ")
        };
        let (good, gate, bad) = (plugin("plugin", 1), plugin("gatekeeper", 1), plugin("", 0));
        assert_eq!(text(&[]), "");
        assert_eq!(text(&[good.clone(), bad.clone()]), "");
        assert_eq!(text(std::slice::from_ref(&bad)), "the only plugin was refused, so nothing is served");
        assert_eq!(text(&[bad.clone(), bad.clone()]), "all 2 plugins were refused, so nothing is served");
        assert_eq!(text(&[gate, bad]), "no plugin serves a topic: there are only gatekeepers");
        let missed = PluginStatus { file_is_gone: true, ..plugin("gatekeeper", 0) };
        assert_eq!(text(&[missed]), "", "it was not refused");
    }
}
