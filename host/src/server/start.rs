//! What a host starts with.

use super::cluster::ClusterSeams;
use super::handing_over::Relaunch;
use super::listeners::Listeners;
use super::taking_over::Inherited;

/// What a host starts with, beside its configuration.
#[derive(Default)]
pub struct Start {
    /// The sockets that were passed to the process.
    pub listeners: Listeners,
    /// The work of the host that it replaces.
    pub inherited: Option<Box<Inherited>>,
    /// How to start a process like this one.
    pub relaunch: Option<Relaunch>,
    /// What it needs as a node of a cluster, in place of what the configuration names. For tests.
    pub seams: Option<ClusterSeams>,
}
