//! A warning about mounts that let everybody in.

use std::net::SocketAddr;

use super::{Config, MountTable};
use crate::routes::{GatekeeperChoice, RouteTable};

/// Logs the mounts without authentication, if other machines can reach the address. The plugins must have been loaded, because
/// the result depends on whether there is a gatekeeper.
pub(super) fn log_open_mounts(config: &Config, routes: &RouteTable, address: SocketAddr) {
    let mounts = config.mounts();
    let paths = |is_open: &dyn Fn(&MountTable) -> bool| {
        let open = mounts.iter().filter(|(_, mount)| is_open(mount)).map(|(path, _)| path.as_str());
        open.collect::<Vec<_>>().join(", ")
    };
    if address.ip().to_canonical().is_loopback() {
        return;
    }
    let has_no_gatekeeper = matches!(routes.current().gatekeepers().only(), GatekeeperChoice::Open);
    let by_default = paths(&|mount| has_no_gatekeeper && mount.relies_on_the_only_gatekeeper());
    if !by_default.is_empty() {
        tracing::warn!(
            "other machines can connect at {address}, and there is no authentication at {by_default}, because there is no \
             gatekeeper; set `token`, `jwt` or `gatekeeper` of the mount, or `auth = \"none\"` if this is intended"
        );
    }
    let on_purpose = paths(&|mount| mount.auth.is_some());
    if !on_purpose.is_empty() {
        tracing::info!("other machines can connect at {address}, and there is no authentication at {on_purpose}");
    }
}
