//! The life of one delivery.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::Payload;

fn row() -> DeliveryRow {
    DeliveryRow::new(delivery(), "shop", Some(&"order:7".into()), 1_000)
}

fn answered(status: u16) -> Attempt {
    Attempt::Answered { status, retry_after_ms: None }
}

#[test]
fn a_row_survives_its_stored_form() {
    let headers = vec![("content-type".into(), "text/plain".into()), ("x".into(), String::new())];
    let push = Some(PushSubscription { p256dh: "p".into(), auth: "a".into() });
    let (body, order) = (vec![0, 255].into(), Some("".into()));
    let full = Delivery { headers, body, order, expires_ms: Some(9), push, on_failure: Some("e".into()), ..delivery() };
    let full = DeliveryRow { failures: 3, failure: "status 503".into(), ..DeliveryRow::new(full, "p", None, 5) };
    for row in [row(), DeliveryRow { next_ms: None, ..full.clone() }, full] {
        let stored = row.encode();
        assert_eq!(DeliveryRow::decode(stored.clone()), Some(row.clone()));
        let head = stored.len() - row.body.len();
        for length in 0..head {
            assert_eq!(DeliveryRow::decode(stored.slice(..length)), None, "{length}");
        }
    }
}

/// Only the end of a delivery that has asked for it is told.
#[test]
fn a_topic_is_told_of_what_was_refused_or_given_up() {
    let asking = DeliveryRow { on_failure: Some("e".into()), ..row() };
    let told = |row: &DeliveryRow, attempt: &Attempt, now_ms| {
        let step = row.after(attempt, now_ms, None);
        let job = row.failure_job("id", attempt, &step, now_ms)?;
        assert_eq!((&*job.event, job.next_ms), ("e", Some(now_ms)));
        let Payload::Json(text) = job.payload else { panic!("the payload is binary") };
        Some(text.to_string())
    };
    let late = asking.expires_ms;
    let url = &*asking.url;
    let read: Value = serde_json::from_str(&told(&asking, &answered(410), 5).unwrap()).unwrap();
    assert_eq!(read, json!({ "delivery": "id", "url": url, "status": 410, "reason": "status 410" }));
    assert!(told(&asking, &answered(503), late).unwrap().contains(r#""status":503"#));
    let failed = Attempt::Failed("timeout: ".to_owned() + &"ö".repeat(500));
    let text = told(&asking, &failed, late).unwrap();
    assert!(text.contains(r#""status":null"#) && text.contains("timeout: ö") && text.len() < 500, "{text}");
    for attempt in [answered(204), answered(404), answered(503), failed] {
        assert_eq!(told(&asking, &attempt, 5), None);
    }
    assert_eq!((told(&row(), &answered(410), 5), told(&row(), &answered(503), late)), (None, None));
}

/// A push service answers 404 to a subscription that has ended. Any other server may be about to have the page.
#[test]
fn a_push_message_is_also_refused_by_404() {
    let push = DeliveryRow { push: Some(PushSubscription::default()), ..row() };
    assert_eq!(push.after(&answered(404), 5, None), NextStep::Refused);
    assert!(matches!(row().after(&answered(404), 5, None), NextStep::Retry(_)));
}

#[test]
fn the_status_decides() {
    let step = |status| row().after(&answered(status), 1_000, None);
    for status in [200, 202, 204, 299] {
        assert_eq!(step(status), NextStep::Accepted);
    }
    assert_eq!(step(410), NextStep::Refused);
    for status in [100, 301, 307, 400, 404, 429, 500, 503] {
        let NextStep::Retry(retried) = step(status) else { panic!("{status}") };
        assert_eq!(
            (retried.failures, retried.next_ms, &*retried.failure),
            (1, Some(2_000), &*format!("status {status}"))
        );
    }
}

#[test]
fn the_delays_grow_up_to_a_limit_and_are_spread() {
    let seconds = |failures| delivery_delay(failures, None).as_secs();
    assert_eq!([1, 2, 3, 4, 10, 11, 12, u32::MAX].map(seconds), [1, 2, 4, 8, 512, 600, 600, 600]);
    for failures in [1, 5, 40] {
        let nominal = delivery_delay(failures, None);
        for random in [0, 1, 12_345, u64::MAX] {
            let spread = delivery_delay(failures, Some(random));
            assert!(spread >= nominal * 3 / 4 && spread <= nominal * 5 / 4, "{failures} {spread:?}");
        }
    }
}

#[test]
fn a_server_may_ask_for_a_longer_delay_within_a_limit() {
    let next = |retry_after_ms| {
        let attempt = Attempt::Answered { status: 503, retry_after_ms: Some(retry_after_ms) };
        match row().after(&attempt, 1_000, None) {
            NextStep::Retry(row) => row.next_ms,
            _ => None,
        }
    };
    assert_eq!(next(500), Some(2_000));
    assert_eq!(next(90_000), Some(91_000));
    assert_eq!(next(u64::MAX), Some(1_000 + 3_600_000));
    assert_eq!(read_retry_after(" 120 "), Some(120_000));
    assert_eq!((read_retry_after("Fri, 31 Dec 1999 23:59:59 GMT"), read_retry_after("-1")), (None, None));
}

#[test]
fn it_is_given_up_once_its_time_is_over_and_an_operator_can_send_it_again() {
    let (mut row, mut now_ms, mut attempts) = (row(), 1_000, 0);
    let given_up = loop {
        attempts += 1;
        match row.after(&Attempt::Failed("timeout".into()), now_ms, None) {
            NextStep::Retry(next) => (row, now_ms) = (*next.clone(), next.next_ms.unwrap()),
            NextStep::GivenUp(row) => break row,
            other => panic!("{other:?}"),
        }
    };
    let day = Duration::from_millis(DELIVERY_EXPIRES_MS);
    assert!(now_ms < 1_000 + DELIVERY_EXPIRES_MS && Duration::from_millis(now_ms) + DELIVERY_RETRY_LONGEST > day);
    assert_eq!((given_up.next_ms, given_up.failures, attempts), (None, attempts, attempts));
    let again = given_up.retried(now_ms + 5);
    assert_eq!((again.next_ms, again.failures), (Some(now_ms + 5), 0));
    assert_eq!(again.expires_ms, now_ms + 5 + DELIVERY_EXPIRES_MS);
}

#[test]
fn a_long_description_of_a_failure_is_shortened() {
    let NextStep::Retry(next) = row().after(&Attempt::Failed("ö".repeat(500)), 0, None) else { panic!() };
    assert_eq!(next.failure.len(), 200);
}
