//! What the host does later and by itself: jobs, deliveries, and the webhooks that make some of them.

use std::sync::Arc;

use anyhow::Result;

use super::Config;
use super::vital::Vital;
use crate::channel::Node;
use crate::contract::{Http, NowMs, system_now_ms};
use crate::deliveries::{Courier, Deliveries, DeliveryTotals};
use crate::jobs::{Dispatcher, Jobs};
use crate::store::Store;
use crate::webhooks::{WebhookTask, Webhooks};

/// The tasks, before they run.
pub(super) struct Later {
    dispatcher: Dispatcher,
    courier: Courier,
    tasks: Vec<WebhookTask>,
    webhooks: Webhooks,
    store: Store,
    clock: NowMs,
    totals: Arc<DeliveryTotals>,
}

impl Later {
    /// The tasks for a configuration. A webhook gets all events from now on.
    pub(super) fn new(config: &Config, node: &Arc<Node>, http: Arc<Http>) -> Result<Self> {
        let clock: NowMs = Arc::new(system_now_ms);
        let (store, totals) = (node.store.clone(), Arc::<DeliveryTotals>::default());
        let dispatcher = Dispatcher::new(Arc::clone(node), Arc::clone(&clock), config.cron_lines()?);
        let courier = Courier::new(store.clone(), http, Arc::clone(&clock), Arc::clone(&totals));
        let task = |webhook| WebhookTask::new(webhook, &node.pubsub.events, store.clone(), Arc::clone(&clock));
        let tasks: Vec<WebhookTask> = config.webhooks()?.into_iter().map(task).collect();
        let webhooks = Webhooks::of(&tasks);
        Ok(Self { dispatcher, courier, tasks, webhooks, store, clock, totals })
    }

    /// What the operator sees of jobs.
    pub(super) fn jobs(&self) -> Jobs {
        Jobs::new(self.store.clone(), Arc::clone(&self.clock))
    }

    /// What the operator sees of deliveries.
    pub(super) fn deliveries(&self) -> Deliveries {
        Deliveries::new(self.store.clone(), Arc::clone(&self.clock), Arc::clone(&self.totals))
    }

    /// The webhooks, which work once the tasks run.
    pub(super) fn webhooks(&self) -> Webhooks {
        self.webhooks.clone()
    }

    /// Starts the tasks.
    pub(super) fn spawn(self, vital: &mut Vital) {
        vital.spawn("the task that gives jobs to their topics", self.dispatcher.run());
        vital.spawn("the task that sends deliveries", self.courier.run());
        for webhook in self.tasks {
            vital.spawn("the task that reads the events of a webhook", webhook.run());
        }
    }
}
