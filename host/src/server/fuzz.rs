//! A fuzz target of the configuration: see `crate::fuzz`.

use super::Config;

/// A `bennu.toml`.
pub(crate) fn config(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(config) = Config::parse(text) else { return false };
    assert!(!config.mounts().is_empty(), "there is always a mount");
    let (_, _) = (config.settings(), config.cron_lines());
    let _ = config.proxies();
    true
}
