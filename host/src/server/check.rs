//! Checks a configuration without starting a host. No address is bound, and the data directory isn't touched.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::net::lookup_host;

use super::config::ClusterBus;
use super::findings::{Finding, findings};
use super::logging::check_filter;
use super::mounts::{authenticator, tokens};
use super::parts::{check_apart, files, loader};
use super::{Config, MountTable};
use crate::contract::{Http, NoHost};
use crate::plugin::{Builds, Library, LibraryOptions, PluginStatus, PluginStatuses};
use crate::routes::RouteTable;
use crate::store::Store;

/// The result of a check.
#[derive(Debug)]
pub struct Checked {
    /// The plugins, by name.
    pub plugins: BTreeMap<String, PluginStatus>,
    /// Settings that are probably mistakes.
    pub findings: Vec<Finding>,
}

/// Reads everything that a host reads at its start: secrets, keys, directories, and all plugins.
///
/// # Errors
/// Returns the error with which a host wouldn't start.
pub async fn check(config: &Config) -> Result<Checked> {
    check_filter(&config.log)?;
    files(config)?;
    check_apart(config)?;
    for address in [&config.listen].into_iter().chain(&config.api.listen) {
        let _ = lookup_host(address).await.with_context(|| format!("`{address}` is not an address to listen on"))?;
    }
    config.api_key()?;
    config.store_place()?;
    if let Some(cluster) = &config.cluster {
        cluster.node_name()?;
        cluster.secret(&config.beside)?;
        if let ClusterBus::Nats(nats) = &cluster.bus {
            nats.place(&config.beside)?;
        }
    }
    let tokens = tokens(config)?;
    for (path, mount) in config.mounts() {
        authenticator(config, &path, &mount, tokens.as_ref(), None)?;
    }
    // Without sending anything: the secrets must exist.
    config.http_access(true)?;
    let (sources, settings) = (config.sources()?, config.settings()?);
    let store = Store::in_memory(config.limits.store())?;
    let loader = loader(config, Arc::new(NoHost), store, Http::none(), config.limits.instances)?;
    let options = LibraryOptions { settings, probation: (&config.reload).into() };
    let (routes, statuses) = (Arc::new(RouteTable::default()), Arc::new(PluginStatuses::default()));
    let mut library =
        Library::new(loader, sources.clone(), options, Builds::default(), (Arc::clone(&routes), Arc::clone(&statuses)));
    library.start().await;
    let plugins = statuses.all();
    let mut findings = findings(config, &sources, &plugins)?;
    let gatekeepers = plugins.values().filter(|plugin| plugin.kind == "gatekeeper" && plugin.generation > 0).count();
    if gatekeepers > 1 && config.mounts().values().any(MountTable::relies_on_the_only_gatekeeper) {
        let text = format!(
            "there are {gatekeepers} gatekeepers, so no client can connect at the mounts that name none; set `gatekeeper` of each"
        );
        findings.push(Finding { is_mistake: true, text });
    }
    Ok(Checked { plugins, findings })
}
