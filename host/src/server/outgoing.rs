//! What the host sends to other programs by itself: deliveries, and the webhooks that make some of them.

use std::sync::Arc;

use anyhow::Result;

use super::Config;
use super::vital::Vital;
use crate::channel::Node;
use crate::contract::{Http, NowMs};
use crate::deliveries::{Courier, Deliveries, DeliveryTotals};
use crate::store::Store;
use crate::webhooks::WebhookTask;

/// The tasks that send, before they run.
pub(super) struct Outgoing {
    courier: Courier,
    webhooks: Vec<WebhookTask>,
    store: Store,
    clock: NowMs,
    totals: Arc<DeliveryTotals>,
}

impl Outgoing {
    /// The tasks for a configuration. A webhook gets all events from now on.
    pub(super) fn new(config: &Config, node: &Arc<Node>, http: Arc<Http>, clock: &NowMs) -> Result<Self> {
        let (store, totals) = (node.store.clone(), Arc::<DeliveryTotals>::default());
        let courier = Courier::new(store.clone(), http, Arc::clone(clock), Arc::clone(&totals));
        let task = |webhook| WebhookTask::new(webhook, &node.pubsub.events, store.clone(), Arc::clone(clock));
        let webhooks = config.webhooks()?.into_iter().map(task).collect();
        Ok(Self { courier, webhooks, store, clock: Arc::clone(clock), totals })
    }

    /// What the operator sees of deliveries.
    pub(super) fn deliveries(&self) -> Deliveries {
        Deliveries::new(self.store.clone(), Arc::clone(&self.clock), Arc::clone(&self.totals))
    }

    /// Starts the tasks.
    pub(super) fn spawn(self, vital: &mut Vital) {
        vital.spawn("the task that sends deliveries", self.courier.run());
        for webhook in self.webhooks {
            vital.spawn("the task that reads the events of a webhook", webhook.run());
        }
    }
}
