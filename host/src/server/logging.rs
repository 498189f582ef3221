//! The log: `tracing`, to standard error.

use std::io::IsTerminal;

use anyhow::{Result, anyhow};
use tracing_subscriber::EnvFilter;

use super::LogFormat;

/// Starts logging, once for the process. `filter` is a level or directives, such as `info,guest=debug`.
///
/// # Errors
/// Where the filter can't be read, or logging was started before.
pub fn start_logging(filter: &str, format: LogFormat) -> Result<()> {
    let filter = read_filter(filter)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Human => log.with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow!("starting the log: {error}"))
}

/// Reads a level or directives.
pub(super) fn read_filter(filter: &str) -> Result<EnvFilter> {
    EnvFilter::try_new(filter).map_err(|error| {
        anyhow!(
            "the log filter `{filter}` can't be read ({error}); give a level (error, warn, info, debug, trace) or \
                 directives such as `info,guest=debug`"
        )
    })
}
