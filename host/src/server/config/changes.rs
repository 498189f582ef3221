//! Compares two configurations: which keys differ, and when each difference takes effect on a running host.
//!
//! Every key is listed here, and the patterns below have no `..`. So a new key doesn't compile before somebody has decided when a
//! change of it takes effect.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{ApiTable, Config, MountTable, PluginTable, ReloadTable};
use crate::server::Limits;

/// When a changed key takes effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TakesEffect {
    /// At once.
    Now,
    /// For each connection that begins from now on.
    NewConnections,
    /// When a plugin is loaded again with the build that it has, at once: this plugin, or all.
    PluginReload(Option<String>),
    /// When the host is started again.
    Restart,
}

/// A key that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    /// The key, such as `limits.idle_ms`.
    pub key: String,
    /// When the difference takes effect.
    pub takes_effect: TakesEffect,
}

impl TakesEffect {
    /// Returns its name, for programs.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::NewConnections => "new_connections",
            Self::PluginReload(_) => "plugin_reload",
            Self::Restart => "restart",
        }
    }
}

impl fmt::Display for TakesEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now => f.write_str("now"),
            Self::NewConnections => f.write_str("for new connections"),
            Self::PluginReload(None) => f.write_str("when all plugins are loaded again, now"),
            Self::PluginReload(Some(plugin)) => write!(f, "when the plugin {plugin} is loaded again, now"),
            Self::Restart => f.write_str("only when the host is started again"),
        }
    }
}

/// Notes the fields that differ, and takes over those that don't need a restart.
macro_rules! compare {
    ($found:expr, $prefix:expr, $running:expr, $new:expr; $type:ident { $($field:ident $(as $key:literal)?: $when:expr,)* $(; $skipped:ident)* }) => {
        {
            let $type { $($field,)* $($skipped: _,)* } = $new;
            $(
                if $running.$field != *$field {
                    let key = stringify!($field);
                    $(let key = { let _ = key; $key };)?
                    let takes_effect: TakesEffect = $when;
                    if takes_effect != TakesEffect::Restart {
                        $running.$field.clone_from($field);
                    }
                    $found.push(ConfigChange { key: format!("{}{key}", $prefix), takes_effect });
                }
            )*
        }
    };
}

use TakesEffect::{NewConnections, Now, PluginReload, Restart};

/// Compares the configuration that a host runs with another one. Returns the differences, and the configuration with which the
/// host then runs: the other one, except for the keys that need a restart.
pub(in crate::server) fn changes(running: &Config, new: &Config) -> (Vec<ConfigChange>, Config) {
    let (mut found, mut next) = (Vec::new(), running.clone());
    let Config { api, limits, plugins, reload, .. } = new;
    // With the mount that is there if the file has none.
    next.mounts = running.mounts();
    of_api(&mut found, &mut next.api, api);
    of_reload(&mut found, &mut next.reload, reload);
    of_limits(&mut found, &mut next.limits, limits);
    of_mounts(&mut found, &mut next.mounts, &new.mounts());
    let names: BTreeSet<&String> = running.plugins.keys().chain(plugins.keys()).collect();
    for name in names {
        let other = plugins.get(name).cloned().unwrap_or_default();
        of_plugin(&mut found, name, next.plugins.entry(name.clone()).or_default(), &other);
    }
    compare!(found, "", next, new; Config {
        listen: Restart,
        trusted_proxies: Now,
        client_address: Now,
        load: Restart,
        static_directory as "static": Restart,
        cache: Restart,
        data: Restart,
        store: Restart,
        cluster: Restart,
        drain_ms: Restart,
        wire_threads: Restart,
        log: Now,
        log_format: Restart,
        secret_key_base: Now,
        webhooks: Restart,
        // Compared above. A host ignores `build`; the last two aren't keys of the file.
        ; api ; reload ; limits ; mounts ; plugins ; build ; repeats_calls ; beside
    });
    found.sort_by(|a, b| a.key.cmp(&b.key));
    (found, next)
}

fn of_api(found: &mut Vec<ConfigChange>, running: &mut ApiTable, new: &ApiTable) {
    compare!(found, "api.", running, new; ApiTable { enabled: Restart, key: Now, keys: Now, listen: Restart, });
}

/// The terms of a probation that is running don't change.
fn of_reload(found: &mut Vec<ConfigChange>, running: &mut ReloadTable, new: &ReloadTable) {
    compare!(found, "reload.", running, new; ReloadTable {
        probation_ms: Now,
        probation_calls: Now,
        probation_faults: Now,
    });
}

fn of_limits(found: &mut Vec<ConfigChange>, running: &mut Limits, new: &Limits) {
    compare!(found, "limits.", running, new; Limits {
        frame_bytes: NewConnections,
        channels_per_socket: NewConnections,
        messages_per_second: NewConnections,
        mailbox_from_client: Restart,
        mailbox_bytes_from_client: Restart,
        mailbox_from_elsewhere: Restart,
        mailbox_bytes_from_elsewhere: Restart,
        outbox_frames: NewConnections,
        outbox_bytes: NewConnections,
        sockets: Restart,
        idle_ms: NewConnections,
        longpoll_window_ms: NewConnections,
        stop_ms: Now,
        instances: Restart,
        instances_per_plugin: PluginReload(None),
        calls_per_instance: PluginReload(None),
        call_cpu_ms: PluginReload(None),
        init_cpu_ms: PluginReload(None),
        call_wall_ms: PluginReload(None),
        memory_bytes: Restart,
        assigns_bytes: PluginReload(None),
        room_bytes: Restart,
        store_key_bytes: Restart,
        store_value_bytes: Restart,
        store_writes_per_call: Restart,
        store_write_bytes_per_call: Restart,
        store_bytes_per_plugin: PluginReload(None),
        store_cache_bytes: Restart,
        schedules_per_topic: Restart,
        schedules_per_plugin: Restart,
        schedule_bytes_per_plugin: Restart,
        deliveries_per_plugin: Restart,
        delivery_bytes_per_plugin: Restart,
        entry_bytes: Restart,
        entry_writes_per_call: Restart,
        entry_write_bytes_per_call: Restart,
        entries_bytes_per_topic: Restart,
        entries_memory_bytes: Restart,
        entries_cache_bytes: Restart,
        entries_dirty_bytes: Restart,
        entries_rollback_bytes: Restart,
        published_bytes: Restart,
        published_missed_bytes: Restart,
        follows_per_member: Restart,
        effects_per_call: PluginReload(None),
        effect_bytes: PluginReload(None),
        timers_per_member: PluginReload(None),
        timer_shortest_ms: PluginReload(None),
        presences_per_member: PluginReload(None),
        presence_bytes: PluginReload(None),
        presence_burst: Restart,
        presence_window_ms: Restart,
        history_bytes_per_topic: Now,
        history_bytes: Now,
        subscriptions_per_member: PluginReload(None),
        log_lines_per_call: PluginReload(None),
        http_gets_per_call: PluginReload(None),
        http_get_ms: Restart,
        http_ms: Restart,
        http_sent_bytes: Restart,
        http_received_bytes: Restart,
        http_requests_per_member: Restart,
        http_requests_per_topic: Restart,
        http_delivery_ms: Restart,
        http_at_once_per_plugin: Restart,
        http_at_once: Restart,
        socket: Now,
        user: Now,
        address: Now,
    });
}

/// A mount that is new, or isn't there any more, is one difference.
fn of_mounts(
    found: &mut Vec<ConfigChange>,
    running: &mut BTreeMap<String, MountTable>,
    new: &BTreeMap<String, MountTable>,
) {
    let paths: BTreeSet<&String> = running.keys().chain(new.keys()).collect();
    let note = |path: &str| ConfigChange { key: format!("mounts.{path:?}"), takes_effect: NewConnections };
    for path in paths.into_iter().cloned().collect::<Vec<_>>() {
        match (running.get_mut(&path), new.get(&path)) {
            (Some(before), Some(after)) => of_mount(found, &path, before, after),
            (None, Some(added)) => {
                found.push(note(&path));
                running.insert(path, added.clone());
            }
            _ => {
                found.push(note(&path));
                running.remove(&path);
            }
        }
    }
}

fn of_mount(found: &mut Vec<ConfigChange>, path: &str, running: &mut MountTable, new: &MountTable) {
    compare!(found, format!("mounts.{path:?}."), running, new; MountTable {
        transports: NewConnections,
        check_origin: NewConnections,
        host: NewConnections,
        subprotocols: NewConnections,
        auth_token: NewConnections,
        auth: NewConnections,
        gatekeeper: NewConnections,
        token: NewConnections,
        jwt: NewConnections,
        socket_id: NewConnections,
        serializer: NewConnections,
        compress: NewConnections,
        frame_bytes: NewConnections,
        idle_ms: NewConnections,
        channels_per_socket: NewConnections,
        messages_per_second: NewConnections,
        outbox_frames: NewConnections,
        outbox_bytes: NewConnections,
        longpoll_window_ms: NewConnections,
    });
}

fn of_plugin(found: &mut Vec<ConfigChange>, name: &str, running: &mut PluginTable, new: &PluginTable) {
    let reload = || PluginReload(Some(name.to_owned()));
    compare!(found, format!("plugins.{name}."), running, new; PluginTable {
        config: reload(),
        publish: reload(),
        read: reload(),
        http: reload(),
        http_headers: reload(),
        http_signing: reload(),
        web_push: reload(),
        store: Restart,
        cron: Restart,
        store_bytes: reload(),
        call_cpu_ms: reload(),
        init_cpu_ms: reload(),
        memory_bytes: Restart,
        instances: reload(),
    });
}

#[cfg(test)]
mod tests {
    use anyhow::Result;

    use super::*;

    fn found(running: &str, new: &str) -> Result<Vec<String>> {
        let (found, next) = changes(&Config::parse(running)?, &Config::parse(new)?);
        // What needs a restart is found again, and nothing else is.
        let again = changes(&next, &Config::parse(new)?).0;
        let restarts = found.iter().filter(|change| change.takes_effect == Restart).cloned().collect::<Vec<_>>();
        assert_eq!(again, restarts, "{running:?} {new:?}");
        Ok(found.iter().map(|change| format!("{} {}", change.key, change.takes_effect.as_str())).collect())
    }

    #[test]
    fn a_default_that_is_written_is_no_difference() -> Result<()> {
        assert_eq!(found("", "log = \"info\"\n[limits]\nidle_ms = 60000\n[api]\n[plugins.a]")?, [""; 0]);
        Ok(())
    }

    #[test]
    fn each_difference_says_when_it_takes_effect() -> Result<()> {
        let cases: [(&str, &str, &[&str]); 12] = [
            ("", "log = \"debug\"", &["log now"]),
            ("", "listen = \"0.0.0.0:80\"", &["listen restart"]),
            ("", "static = \"public\"", &["static restart"]),
            (
                "[store]\nurl = \"postgres://h/d\"",
                "[store]\nurl = \"postgres://h/d\"\n[cluster]\nlease_ms = 5000",
                &["cluster restart"],
            ),
            ("", "secret_key_base = { env = \"A\" }", &["secret_key_base now"]),
            ("", "[limits]\nidle_ms = 1\nsockets = 5", &["limits.idle_ms new_connections", "limits.sockets restart"]),
            ("", "[limits]\ncall_cpu_ms = 5", &["limits.call_cpu_ms plugin_reload"]),
            ("", "[mounts.\"/a\"]", &["mounts.\"/a\" new_connections", "mounts.\"/socket\" new_connections"]),
            ("", "[mounts.\"/socket\"]\nauth = \"none\"", &["mounts.\"/socket\".auth new_connections"]),
            (
                "[mounts.\"/a\"]",
                "[mounts.\"/a\"]\ncheck_origin = false\nidle_ms = 1000",
                &["mounts.\"/a\".check_origin new_connections", "mounts.\"/a\".idle_ms new_connections"],
            ),
            (
                "[plugins.a]\npublish = [\"x\"]\nstore = \"s\"",
                "[plugins.b]\nconfig = { a = 1 }",
                &["plugins.a.publish plugin_reload", "plugins.a.store restart", "plugins.b.config plugin_reload"],
            ),
            ("[build.a]\nlang = \"ts\"", "[build.b]\nlang = \"ts\"", &[]),
        ];
        for (running, new, expected) in cases {
            assert_eq!(found(running, new)?, expected, "{running:?} {new:?}");
        }
        Ok(())
    }
}
