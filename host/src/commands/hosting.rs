//! Runs a host until a signal stops it, for the commands that serve.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bennu::server::{Config, Host, ServiceManager, Start, TakeOver, take_over as take_over_from};
use bennu::terminal;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::signals::Signals;

/// How long writing the address to standard output may take. After that, the host serves anyway.
const LINE_WAIT: Duration = Duration::from_secs(1);

/// Waits for the state of the host that runs on the data directory. Returns none if a signal to stop comes first.
pub(super) async fn take_over(config: &Config, start: Start, signals: &mut Signals) -> Result<Option<Start>> {
    let taken = tokio::select! {
        taken = take_over_from(config) => taken?,
        () = signals.stop(|| tracing::info!("SIGHUP: nothing is reloaded because the host is still starting")) => {
            tracing::info!("stopping: the host has not taken over yet");
            return Ok(None);
        }
    };
    Ok(Some(match taken {
        TakeOver::Alone(listeners) if listeners.clients.is_none() => start,
        TakeOver::Alone(listeners) => Start { listeners, ..start },
        TakeOver::From(listeners, inherited) => Start { listeners, inherited: Some(inherited), ..start },
    }))
}

/// Starts a host. Returns none if a signal to stop comes first.
pub(super) async fn start(config: &Config, start: Start, signals: &mut Signals) -> Result<Option<Host>> {
    // By default, the signal SIGXFSZ ends the process when a file exceeds the limit on file sizes (`ulimit -f`). With a handler,
    // the write returns an error instead, as on a full disk. Dropping the stream doesn't remove the handler.
    drop(signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).context("handling SIGXFSZ")?);
    tokio::select! {
        host = Host::start_with(config, start) => Ok(Some(host?)),
        () = signals.stop(|| tracing::info!("SIGHUP: nothing is reloaded because the host is still starting")) => {
            tracing::info!("stopping: the host has not started yet");
            Ok(None)
        }
    }
}

/// Prints the address, and serves until a signal to stop, or until another process has replaced this one. A second signal ends
/// the host at once.
pub(super) async fn serve(mut host: Host, data: &Path, mut signals: Signals, manager: &ServiceManager) -> Result<()> {
    let address = host.address()?;
    if let Some(address) = host.api_address()? {
        tracing::info!("the API listens on http://{address}");
        tracing::info!("the dashboard is at http://{address}/dashboard");
    }
    let replaces = host.take_over(data).await?;
    // From here on, nobody else serves, so the host must begin at once.
    if replaces {
        manager.ready_instead();
    } else {
        manager.ready();
    }
    let (control, config_reload, health) = (host.control(), host.config_reload(), host.health());
    let (asked, reloading) = (Arc::<Notify>::default(), Arc::clone(&config_reload));
    let notified = Arc::clone(&asked);
    let reload_config = async move {
        loop {
            notified.notified().await;
            manager.reloading();
            match reloading.reload(false).await {
                Ok(outcome) => outcome.log(),
                Err(error) => tracing::error!("the configuration is refused, and nothing was changed: {error:#}"),
            }
            manager.ready();
        }
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = async {
        let serving = host.serve(async {
            let _ = stopped.await;
        });
        // The only line on standard output. A program that starts the host waits for it.
        let (served, ()) = tokio::join!(serving, say(format!("Listening on http://{address}")));
        served
    };
    let reload = || {
        if config_reload.is_available() {
            tracing::info!("SIGHUP: reading the configuration and all plugins' files again");
            // Several signals during a reload lead to one more.
            asked.notify_one();
        } else {
            tracing::info!("SIGHUP: reading all plugins' files again");
            manager.reloading();
            manager.ready();
        }
        control.look_anew();
    };
    let ignored = || tracing::info!("SIGHUP: nothing is reloaded because the host is stopping");
    let asked_twice = async {
        let is_by_operator = tokio::select! {
            () = signals.stop(reload) => false,
            () = health.asked_to_stop() => true,
        };
        manager.stopping();
        let _ = stop.send(());
        if is_by_operator {
            // Such as that of a service manager, which doesn't know that the host is stopping already.
            signals.stop(ignored).await;
            tracing::info!("the host is stopping already; another signal ends it at once");
        }
        signals.stop(ignored).await;
    };
    tokio::select! {
        served = serving => Ok(served?),
        never = reload_config => never,
        () = manager.keep_watchdog() => Ok(()),
        () = asked_twice => bail!("stopped at once because of a second signal: unfinished work was cut off"),
    }
}

/// Writes a line to standard output. A failure is only logged, because the host serves even if nobody reads that line.
async fn say(line: String) {
    let failed = match timeout(LINE_WAIT, spawn_blocking(move || terminal::try_line(&line))).await {
        Ok(Ok(Ok(()))) => return,
        Ok(Ok(Err(error))) => error.to_string(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it is not being read".to_owned(),
    };
    tracing::warn!("the address could not be written to standard output: {failed}");
}
