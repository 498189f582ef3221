//! Tests of deliveries.

mod queue;
mod row;

use super::*;
use crate::limits::DeliveryLimits;

fn delivery() -> Delivery {
    Delivery::new("https://a.example/hook".into(), Vec::new(), "{}".into())
}

#[test]
fn options_and_values_are_checked() {
    let set = |name, value| delivery().set([(name, value)]);
    assert_eq!(set("order", "k").unwrap().order.as_deref(), Some("k"));
    assert_eq!(set("on-failure", "e").unwrap().on_failure.as_deref(), Some("e"));
    let push = delivery().set([("push-p256dh", "a"), ("push-auth", "b")]).unwrap().push;
    assert_eq!(push, Some(PushSubscription { p256dh: "a".into(), auth: "b".into() }));
    assert_eq!(set("expires-ms", "250").unwrap().expires_ms, Some(250));
    assert!(set("expires-ms", "x").is_err() && set("timeout-ms", "1").is_err());
    let text = |delivery: Delivery| delivery.check().unwrap_err().to_string();
    assert_eq!(delivery().check(), Ok(()));
    assert!(text(Delivery { expires_ms: Some(0), ..delivery() }).contains("a number from 1"));
    let week = 7 * DELIVERY_EXPIRES_MS;
    assert_eq!(Delivery { expires_ms: Some(week), ..delivery() }.check(), Ok(()));
    assert!(text(Delivery { expires_ms: Some(week + 1), ..delivery() }).starts_with("oversize"));
    assert!(text(Delivery { order: Some("x".repeat(256).into()), ..delivery() }).starts_with("oversize"));
    assert!(text(Delivery { on_failure: Some("x".repeat(256).into()), ..delivery() }).starts_with("oversize"));
    let own = vec![("Webhook-Id".to_owned(), "x".to_owned())];
    assert!(text(Delivery { headers: own, ..delivery() }).contains("made by the host"));
}

#[test]
fn the_server_of_a_url_is_its_start() {
    let origin = |url| Destination::of("p".into(), url).origin.to_string();
    for url in ["https://a.example", "https://a.example/", "https://a.example/x?y", "https://a.example?x/y"] {
        assert_eq!(origin(url), "https://a.example");
    }
    assert_eq!((origin("http://a.example:1/x"), origin("")), ("http://a.example:1".into(), String::new()));
}

#[test]
fn new_deliveries_of_a_batch_are_counted_with_those_that_are_stored() {
    let limits = DeliveryLimits { per_plugin: 3, bytes_per_plugin: 100 };
    let mut queue = DeliveryQueue::default();
    let id = DeliveryId { plugin: "p".into(), id: "1".into() };
    queue.put(id, &DeliveryRow::new(delivery(), "p", None, 0), 40);
    let mut tally = DeliveryTally::default();
    let mut admit = |plugin, count, bytes| tally.admit(&queue, &limits, plugin, DeliveryUsage { count, bytes });
    assert_eq!(admit("p", 1, 61), Err(DeliveriesFull::Bytes { limit: 100 }));
    assert_eq!(admit("p", 1, 50), Ok(()));
    assert_eq!(admit("p", 2, 1), Err(DeliveriesFull::Count { limit: 3 }));
    assert_eq!((admit("p", 1, 10), admit("q", 3, 100)), (Ok(()), Ok(())));
    let text = DeliveriesFull::Count { limit: 3 }.to_string();
    assert_eq!(
        text,
        "a plugin has at most 3 deliveries (`limits.deliveries_per_plugin = 3`); `bennu deliveries` shows them"
    );
}
