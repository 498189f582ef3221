//! The log filter: a level, and levels of single targets.
//!
//! The directives are parsed here and not by `tracing-subscriber`, which accepts any word as the name of a target. A misspelt
//! level would then turn the whole log off.

use anyhow::{Result, bail};
use tracing_subscriber::filter::{LevelFilter, Targets};

/// The levels by their names, from nothing to everything.
const LEVELS: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

/// The target of lines that the host logs. Each module of the host is a target below it, such as `bennu::transport`.
const HOST: &str = "bennu";

/// The target of lines that plugins log.
pub(super) const GUEST: &str = "guest";

/// The modules of the host that are targets.
const MODULES: [&str; 31] = [
    "api",
    "auth",
    "channel",
    "clients",
    "cluster",
    "commands",
    "contract",
    "counts",
    "dashboard",
    "deliveries",
    "entries",
    "files",
    "handover",
    "health",
    "jobs",
    "kit",
    "parcel",
    "plugin",
    "presence",
    "project",
    "protocol",
    "pubsub",
    "rollout",
    "routes",
    "server",
    "socket",
    "store",
    "terminal",
    "timing",
    "transport",
    "webhooks",
];

/// The host's libraries that log. Each of their modules is a target, too.
const LIBRARIES: [&str; 10] = [
    "async_nats",
    "bennu_cluster",
    "cranelift_codegen",
    "mio",
    "notify",
    "regalloc2",
    "wasmtime",
    "wasmtime_cranelift",
    "wasmtime_environ",
    "wasmtime_internal_cranelift",
];

/// A library whose lines of the level `info` say only that a connection was made. The host says what follows from that.
const TALKATIVE: &str = "async_nats";

/// The level of targets without a directive, and of an empty filter.
const DEFAULT: LevelFilter = LevelFilter::INFO;

/// Parses a filter: directives, separated by commas. Each is a level for everything, or `TARGET=LEVEL`.
///
/// # Errors
/// Returns an error that lists the levels or targets if a word isn't one of them.
pub(super) fn parse(text: &str) -> Result<Targets> {
    let (mut default, mut targets) = (DEFAULT, Targets::new());
    let mut is_talkative_named = false;
    for directive in text.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
        targets = match directive.split_once('=') {
            None => {
                default = level(text, directive)?;
                targets
            }
            Some((target, word)) => {
                let level = level(text, word.trim())?;
                is_talkative_named |= target.trim() == TALKATIVE;
                targets.with_target(known(text, target.trim())?, level)
            }
        };
    }
    if default == LevelFilter::INFO && !is_talkative_named {
        targets = targets.with_target(TALKATIVE, LevelFilter::WARN);
    }
    Ok(targets.with_default(default))
}

fn level(text: &str, word: &str) -> Result<LevelFilter> {
    let found = LEVELS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    let Some((_, level)) = found else {
        let names = LEVELS.map(|(name, _)| name).join(", ");
        bail!(
            "the log filter `{text}` can't be read: `{word}` is not a level; give one of {names}, or directives such as \
             `info,guest=debug`"
        )
    };
    Ok(*level)
}

fn known<'a>(text: &str, target: &'a str) -> Result<&'a str> {
    let is_module = target
        .strip_prefix(HOST)
        .and_then(|rest| rest.strip_prefix("::"))
        .is_some_and(|module| MODULES.contains(&module));
    let is_library = target.split("::").next().is_some_and(|name| LIBRARIES.contains(&name));
    if target == HOST || target == GUEST || is_module || is_library {
        return Ok(target);
    }
    bail!(
        "the log filter `{text}` can't be read: `{target}` is not a target; the targets are `{GUEST}` for lines that plugins \
         log, `{HOST}` for the host, and `{HOST}::MODULE` for a module of the host, which is one of {}",
        MODULES.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        parse(text).err().map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn a_filter_is_a_level_or_levels_of_targets() -> Result<()> {
        let cases = [
            ("", DEFAULT, LevelFilter::INFO),
            (" ", DEFAULT, LevelFilter::INFO),
            ("off", LevelFilter::OFF, LevelFilter::OFF),
            ("WARN", LevelFilter::WARN, LevelFilter::WARN),
            ("warn, guest=debug,", LevelFilter::WARN, LevelFilter::DEBUG),
            // A target without a directive has the default level.
            ("guest=off", LevelFilter::INFO, LevelFilter::OFF),
        ];
        for (text, host, guest) in cases {
            let targets = parse(text)?;
            for (name, most) in [("bennu::channel::turn", host), (GUEST, guest)] {
                for (_, level) in LEVELS {
                    let Some(level) = level.into_level() else { continue };
                    assert_eq!(targets.would_enable(name, &level), most >= level, "{text}: {name} at {level}");
                }
            }
        }
        assert!(parse("info,bennu::transport=trace")?.would_enable("bennu::transport::listen", &tracing::Level::TRACE));
        Ok(())
    }

    #[test]
    fn a_talkative_library_says_less_unless_it_is_asked_for() -> Result<()> {
        for (text, says) in [("", false), ("info", false), ("debug", true), ("async_nats=info", true), ("warn", false)]
        {
            let targets = parse(text)?;
            assert_eq!(targets.would_enable("async_nats::connector", &tracing::Level::INFO), says, "{text}");
            assert!(targets.would_enable("async_nats::connector", &tracing::Level::WARN), "{text}");
        }
        assert!(!parse("off")?.would_enable("async_nats", &tracing::Level::ERROR));
        Ok(())
    }

    #[test]
    fn an_unknown_level_or_target_is_refused_with_the_known_ones() {
        for text in ["warning", "loud", "debgu", "guest=loud", "info,warning", "1", "a=b=c", "guest="] {
            assert!(
                refusal(text).contains("is not a level; give one of off, error, warn, info, debug, trace"),
                "{text}"
            );
        }
        for text in ["gest=debug", "=debug", "bennu::chanel=debug", "bennu::=debug", "bennux=info", "hyper=debug"] {
            assert!(refusal(text).contains("the targets are `guest`"), "{text}: {}", refusal(text));
        }
    }

    /// A filter can't name a target that isn't listed.
    #[test]
    fn all_modules_of_the_host_are_listed() {
        let library = include_str!("../../lib.rs");
        let modules = library.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
        // A host has no fuzz targets.
        let mut modules: Vec<&str> = modules.filter(|module| *module != "fuzz").chain(["commands"]).collect();
        modules.sort_unstable();
        assert_eq!(modules, MODULES);
    }
}
