//! Plugins: calls, faults, instances and builds.

use std::collections::BTreeMap;
use std::fmt;

use super::Page;
use crate::api::Api;
use crate::contract::{FaultKind, fault_counts};
use crate::plugin::{CALL_BOUNDS, CallKind, PluginStatus, UsageCounts};

/// A plugin with its counts of now.
struct Counted {
    name: String,
    status: PluginStatus,
    usage: UsageCounts,
}

pub(super) fn write(api: &Api, page: &mut Page<'_>) -> fmt::Result {
    let plugins: Vec<Counted> = api.statuses.all().into_iter().map(Counted::new).collect();
    calls(&plugins, page)?;
    faults(&plugins, page)?;
    instances(&plugins, page)?;
    builds(&plugins, page)
}

impl Counted {
    fn new((name, status): (String, PluginStatus)) -> Self {
        let usage = status.usage.counts();
        Self { name, status, usage }
    }

    fn label(&self) -> [(&'static str, &str); 1] {
        [("plugin", &self.name)]
    }
}

fn calls(plugins: &[Counted], page: &mut Page<'_>) -> fmt::Result {
    let mut family = page.counters("bennu_plugin_calls", "Calls of plugins that have ended.")?;
    for Counted { name, usage, .. } in plugins {
        // Most plugins have a few of the callbacks.
        for (kind, calls) in CallKind::ALL.iter().zip(usage.calls).filter(|(_, calls)| *calls > 0) {
            family.counter(&[("plugin", name.as_str()), ("callback", kind.as_str())], calls)?;
        }
    }
    let help = "How long calls took, including waits. Of short calls, only some are timed, and count for the others.";
    let mut family = page.histograms("bennu_plugin_call_duration_seconds", help)?;
    for plugin in plugins {
        family.histogram(&plugin.label(), &CALL_BOUNDS, &plugin.usage.durations)?;
    }
    let mut family = page.counters("bennu_plugin_cpu_seconds", "CPU time of calls, sampled each millisecond.")?;
    plugins.iter().try_for_each(|plugin| family.counter(&plugin.label(), plugin.usage.cpu.as_secs_f64()))
}

fn faults(plugins: &[Counted], page: &mut Page<'_>) -> fmt::Result {
    let mut faults = fault_counts();
    // A count that first appears with the value 1 has no increase for Prometheus. So all plugins have all kinds.
    let rows: BTreeMap<&str, _> = plugins
        .iter()
        .map(|plugin| (plugin.name.as_str(), faults.remove(plugin.name.as_str()).unwrap_or_default()))
        .collect();
    let mut family = page.counters("bennu_plugin_faults", "Faults of plugins.")?;
    for (plugin, counts) in rows {
        for (kind, count) in FaultKind::ALL.iter().zip(counts) {
            family.counter(&[("plugin", plugin), ("kind", kind.as_str())], count)?;
        }
    }
    Ok(())
}

fn instances(plugins: &[Counted], page: &mut Page<'_>) -> fmt::Result {
    let mut family = page.gauges("bennu_plugin_instances", "Instances of plugins.")?;
    for Counted { name, usage, .. } in plugins {
        for (state, count) in [("busy", usage.instances - usage.idle), ("idle", usage.idle)] {
            family.gauge(&[("plugin", name.as_str()), ("state", state)], count)?;
        }
    }
    let mut family = page.gauges("bennu_plugin_memory_bytes", "Linear memory of the instances.")?;
    plugins.iter().try_for_each(|plugin| family.gauge(&plugin.label(), plugin.usage.memory_bytes))?;
    let mut family = page.counters("bennu_plugin_instance_waits", "Calls that had to wait for an instance.")?;
    plugins.iter().try_for_each(|plugin| family.counter(&plugin.label(), plugin.usage.waits))?;
    let mut family = page.counters("bennu_plugin_instance_wait_seconds", "How long these calls waited.")?;
    plugins.iter().try_for_each(|plugin| family.counter(&plugin.label(), plugin.usage.waited.as_secs_f64()))
}

fn builds(plugins: &[Counted], page: &mut Page<'_>) -> fmt::Result {
    let mut family = page.gauges("bennu_plugin_generation", "The generation that serves; 0 if none does.")?;
    plugins.iter().try_for_each(|plugin| family.gauge(&plugin.label(), plugin.status.generation))?;
    let help = "Whether the generation that serves is on probation.";
    let mut family = page.gauges("bennu_plugin_on_probation", help)?;
    for plugin in plugins {
        family.gauge(&plugin.label(), u64::from(plugin.status.probation.is_some()))?;
    }
    let mut family = page.counters("bennu_plugin_loads", "Builds that began to serve, or were refused.")?;
    for Counted { name, status, .. } in plugins {
        for (result, count) in [("published", status.loads.published), ("refused", status.loads.refused)] {
            family.counter(&[("plugin", name.as_str()), ("result", result)], count)?;
        }
    }
    let mut family = page.counters("bennu_plugin_rollbacks", "Builds that were rolled back.")?;
    for Counted { name, status, .. } in plugins {
        for (by, count) in [("host", status.loads.taken_back), ("operator", status.loads.rolled_back)] {
            family.counter(&[("plugin", name.as_str()), ("by", by)], count)?;
        }
    }
    Ok(())
}
