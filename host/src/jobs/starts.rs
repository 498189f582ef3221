//! Tells topics that a generation of their plugin began to serve: those that the route's option `start-topics` names.

use std::collections::HashMap;
use std::sync::Arc;

use crate::channel::Node;
use crate::protocol::Topic;

/// Runs until there is no route table any more. A generation that was replaced before this task saw it is not told.
pub async fn tell_starts(node: Arc<Node>) {
    let mut generations = node.routes.watch();
    let mut told: HashMap<Arc<str>, u32> = HashMap::new();
    loop {
        let mut starts: Vec<Topic> = Vec::new();
        let mut serving = HashMap::new();
        for route in node.routes.current().all() {
            serving.insert(Arc::clone(&route.plugin), route.generation);
            if told.get(&route.plugin) != Some(&route.generation) {
                starts.extend(route.spec.start_topics.iter().cloned());
            }
        }
        // A plugin that was unloaded and is loaded again begins again.
        told = serving;
        for topic in starts {
            // One after another: a plugin with many topics doesn't fill the queues. A failure is in the log.
            node.tell_start(&topic).await;
        }
        if generations.changed().await.is_err() {
            return;
        }
    }
}
