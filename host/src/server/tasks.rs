//! The tasks that run until the host stops.

use std::sync::Arc;
use std::time::Duration;

use super::vital::Vital;
use crate::channel::Node;
use crate::contract::system_now_ms;
use crate::counts::HighWater;
use crate::jobs::tell_starts;

/// Starts the tasks that run until the host stops, except those of [`super::later::Later`] and those that load plugins and accept connections.
pub(super) fn spawn_tasks(vital: &mut Vital, node: &Arc<Node>) {
    vital.spawn("the task that ends members without a plugin", sweep(Arc::clone(node)));
    vital.spawn("the task that drops old broadcasts", Arc::clone(&node.pubsub).keep_sweeping_histories());
    vital.spawn("the task that forgets clients", Arc::clone(&node.clients).keep_sweeping());
    vital.spawn("the task that begins the minutes of the metrics", begin_minutes());
    // A separate task, so that `sweep` doesn't have to wait for any number of stored rooms.
    let rooms = Arc::clone(node);
    vital.spawn("the task that settles stored rooms", async move { rooms.keep_stored_rooms_settled().await });
    let store = node.store.clone();
    vital.spawn("the task that removes expired keys", async move { store.keep_swept(system_now_ms).await });
    vital.spawn("the task that tells topics of starts", tell_starts(Arc::clone(node)));
}

/// Ends members whose topic now belongs to another plugin or to none, or whose build was rolled back automatically. Runs after
/// each change of the route table's owners.
async fn sweep(node: Arc<Node>) {
    let mut owners = node.routes.watch_owners();
    while owners.changed().await.is_ok() {
        node.sweep().await;
    }
}

/// The largest values in the metrics are those of the last one to two of these times.
const MINUTE: Duration = Duration::from_secs(60);

async fn begin_minutes() {
    loop {
        tokio::time::sleep(MINUTE).await;
        HighWater::next_minute();
    }
}
