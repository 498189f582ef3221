//! The queue against a list that is searched.

use std::sync::Arc;

use bennu_test_tiers::Noise;

use super::*;

/// A delivery in the plain model.
#[derive(Clone, Debug)]
struct Item {
    id: DeliveryId,
    row: DeliveryRow,
    bytes: u64,
    is_sending: bool,
}

/// What is stored, and what is being sent.
#[derive(Default)]
struct Model {
    items: Vec<Item>,
    sending: Vec<(DeliveryId, Destination)>,
    failing: Vec<Destination>,
}

fn destination(item: &Item) -> Destination {
    Destination::of(Arc::clone(&item.id.plugin), &item.row.url)
}

impl Model {
    /// Whether an earlier one of the same order waits, or any is being sent.
    fn is_behind(&self, item: &Item) -> bool {
        let same = |other: &&Item| {
            item.row.order.is_some() && other.row.order == item.row.order && other.id.plugin == item.id.plugin
        };
        let mut others = self.items.iter().filter(same).filter(|other| other.id != item.id);
        others.any(|other| other.is_sending || (other.row.next_ms.is_some() && other.id < item.id))
    }

    fn has_place(&self, item: &Item) -> bool {
        let to = destination(item);
        let of_plugin = self.sending.iter().filter(|(id, _)| id.plugin == item.id.plugin).count();
        let to_origin = self.sending.iter().filter(|(_, other)| *other == to).count();
        let most = if self.failing.contains(&to) { 1 } else { SENDING_MAX_TO_ORIGIN };
        self.sending.len() < SENDING_MAX && of_plugin < SENDING_MAX_OF_PLUGIN && to_origin < most
    }

    /// The time of the delivery that is sent next.
    fn due(&self, now_ms: u64) -> Option<u64> {
        let waiting = self.items.iter().filter(|item| !item.is_sending && !self.is_behind(item));
        let free = waiting.filter(|item| self.has_place(item));
        free.filter_map(|item| item.row.next_ms).filter(|next_ms| *next_ms <= now_ms).min()
    }

    fn usage(&self, plugin: &str) -> DeliveryUsage {
        let of_plugin = self.items.iter().filter(|item| *item.id.plugin == *plugin);
        of_plugin.fold(DeliveryUsage::default(), |sum, item| sum.plus(DeliveryUsage { count: 1, bytes: item.bytes }))
    }

    fn check(&self, queue: &DeliveryQueue) {
        let given_up = self.items.iter().filter(|item| item.row.next_ms.is_none() && !item.is_sending).count();
        let expected = DeliveryCounts { all: self.items.len(), sending: self.sending.len(), given_up };
        assert_eq!(queue.counts(), expected);
        for plugin in ["a", "b"] {
            assert_eq!(queue.usage(plugin), self.usage(plugin));
        }
    }
}

fn random_row(noise: &mut Noise, now_ms: u64) -> DeliveryRow {
    let (origin, order) = (noise.below(3), noise.below(4));
    let url = format!("https://{origin}.example/x");
    let delivery = Delivery { url, order: (order < 2).then(|| order.to_string().into()), ..delivery() };
    let row = DeliveryRow::new(delivery, "p", None, now_ms);
    DeliveryRow { next_ms: (noise.below(8) > 0).then_some(now_ms + noise.below(40) as u64), ..row }
}

#[test]
fn the_next_delivery_is_that_of_a_search() {
    for seed in 0..bennu_test_tiers::rounds("deliveries::queue") as u64 {
        let (mut noise, mut queue, mut model) = (Noise::new(seed), DeliveryQueue::default(), Model::default());
        let mut now_ms = 100;
        for _ in 0..400 {
            now_ms += noise.below(6) as u64;
            step(&mut noise, &mut queue, &mut model, now_ms);
            model.check(&queue);
        }
    }
}

fn step(noise: &mut Noise, queue: &mut DeliveryQueue, model: &mut Model, now_ms: u64) {
    match noise.below(6) {
        0 | 1 => {
            let id = DeliveryId {
                plugin: if noise.below(3) > 0 { "a" } else { "b" }.into(),
                id: format!("{:03}", noise.below(60)).into(),
            };
            let (bytes, found) = (noise.below(100) as u64, model.items.iter().position(|item| item.id == id));
            let mut row = random_row(noise, now_ms);
            // Neither the URL nor the order of a stored delivery changes.
            if let Some(at) = found {
                (row.url, row.order) = (model.items[at].row.url.clone(), model.items[at].row.order.clone());
            }
            queue.put(id.clone(), &row, bytes);
            let is_sending = found.is_some_and(|at| model.items[at].is_sending);
            let item = Item { id, row, bytes, is_sending };
            match found {
                Some(at) => model.items[at] = item,
                None => model.items.push(item),
            }
        }
        2 if !model.items.is_empty() => {
            let at = noise.below(model.items.len());
            let item = model.items.swap_remove(at);
            queue.remove(&item.id);
            let to = destination(&item);
            let is_gone = model.items.iter().all(|other| destination(other) != to);
            if is_gone && model.sending.iter().all(|(_, other)| *other != to) {
                model.failing.retain(|other| *other != to);
            }
        }
        3 | 4 => {
            let expected = model.due(now_ms);
            let taken = queue.take_due(now_ms);
            assert_eq!(expected.is_some(), taken.is_some(), "{:?}", model.items);
            let Some((id, to)) = taken else { return };
            let item = model.items.iter().find(|item| item.id == *id).unwrap().clone();
            assert!(!item.is_sending && !model.is_behind(&item) && model.has_place(&item));
            assert_eq!((item.row.next_ms, destination(&item)), (expected, (*to).clone()));
            model.items.iter_mut().filter(|other| other.id == *id).for_each(|other| other.is_sending = true);
            model.sending.push(((*id).clone(), (*to).clone()));
        }
        _ if !model.sending.is_empty() => {
            let at = noise.below(model.sending.len());
            let (id, to) = model.sending.swap_remove(at);
            let has_failed = noise.below(2) > 0;
            queue.ended(&id, &Arc::new(to.clone()), has_failed, now_ms + 5);
            model.failing.retain(|other| *other != to);
            let is_known = model.items.iter().any(|item| destination(item) == to)
                || model.sending.iter().any(|(_, other)| *other == to);
            if has_failed && is_known {
                model.failing.push(to);
            }
            for item in model.items.iter_mut().filter(|item| item.id == id && item.is_sending) {
                item.is_sending = false;
                item.row.next_ms = item.row.next_ms.map(|next_ms| next_ms.max(now_ms + 5));
            }
        }
        _ => {}
    }
}

/// A receiver that hangs holds neither another receiver nor another plugin.
#[test]
fn a_receiver_that_hangs_holds_no_others() {
    let mut queue = DeliveryQueue::default();
    let mut add = |plugin: &str, id: usize, host: &str| {
        let url = format!("https://{host}.example/");
        let row = DeliveryRow::new(Delivery { url, ..delivery() }, plugin, None, 0);
        queue.put(DeliveryId { plugin: plugin.into(), id: format!("{id:05}").into() }, &row, 1);
    };
    (0..1_000).for_each(|id| add("a", id, "hangs"));
    add("a", 2_000, "works");
    add("b", 0, "works");
    let mut taken = Vec::new();
    while let Some((id, to)) = queue.take_due(0) {
        taken.push((id.plugin.to_string(), to.origin.to_string()));
    }
    let to_hanging = taken.iter().filter(|(_, origin)| origin == "https://hangs.example").count();
    assert_eq!((to_hanging, taken.len()), (SENDING_MAX_TO_ORIGIN, SENDING_MAX_TO_ORIGIN + 2));
}
