//! The store in the test kit.

#![allow(clippy::unwrap_used)]

use bennu_guest::prelude::*;
use bennu_guest::testing::{ConnectRequest, Member, Setup, Stage, join};

/// A channel whose members write and read as their clients ask.
#[derive(Serialize, Deserialize)]
struct Library;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Book {
    title: String,
    #[serde(default)]
    pages: u32,
}

impl Channel for Library {
    type Room = ();
    const INTERCEPTS: &'static [&'static str] = &["news"];

    fn join(socket: &mut Socket, params: Payload) -> Join<Self> {
        store::put("last", socket.topic());
        if params.field::<Option<bool>>("refuse")?.is_some() {
            return refuse(json!({}));
        }
        Ok(Library)
    }

    fn handle_in(&mut self, _socket: &mut Socket, event: &str, payload: Payload) -> Handled {
        let key = || payload.field::<String>("key");
        match event {
            "put" => store::put(key()?, Book { title: payload.field("title")?, pages: 10 }),
            "delete" => store::delete(key()?),
            "get" => return reply(store::get::<Book>(key()?)?),
            "put_and_fail" => {
                store::put(key()?, 1);
                assert_eq!(store::get::<u32>(key()?), Ok(Some(1)));
                return fail("asked to");
            }
            "put_and_refuse" => {
                store::put(key()?, 1);
                return refuse(json!({}));
            }
            "put_and_reply_error" => {
                store::put(key()?, 1);
                return reply_error(json!({}));
            }
            "long_key" => store::put("k".repeat(1025), 1),
            "no_key" => drop(store::get_bytes("")),
            "long_value" => store::put_bytes("k", vec![0; (1 << 20) + 1]),
            "many" => (0..payload.field("count")?).for_each(|n: u32| store::put(format!("many:{n:05}"), n)),
            "count" => return reply(store::scan("many:").limit(payload.field("limit")?).into_iter().count()),
            "titles" => {
                let range = store::scan("book:").after("book:1").before("book:4").backward();
                let titles = range.values::<Book>().map(|book| Ok(book?.title)).collect::<Result<Vec<_>, Error>>()?;
                return reply(titles);
            }
            _ => return unknown_event(event),
        }
        ok()
    }

    fn handle_message(_topic: &mut Topic, event: &str, _payload: Payload) -> Handled {
        store::put("sent", event);
        no_reply()
    }

    fn handle_out(&self, _recipient: &Recipient, _event: &str, payload: &Payload) -> Decided {
        if payload.field::<Option<bool>>("write")?.is_some() {
            store::put("written", true);
        }
        Ok(Decision::replace(json!({ "last": store::get::<String>("last")? })))
    }

    fn terminate(&mut self, _socket: &mut Socket, ending: Ending) {
        store::put("ended", ending.cause);
    }
}

fn shelf() -> Member<Library> {
    join("shelf", json!({})).unwrap()
}

#[test]
fn a_callback_reads_values_that_an_earlier_callback_stored() {
    let mut shelf = shelf();
    assert_eq!(shelf.stored::<String>("last").unwrap(), "shelf");
    assert_eq!(shelf.push("get", json!({ "key": "book:1" })).reply(), ("ok", json!(null)));
    assert!(shelf.push("put", json!({ "key": "book:1", "title": "Emma" })).fault().is_none());
    assert_eq!(shelf.push("get", json!({ "key": "book:1" })).reply(), ("ok", json!({ "title": "Emma", "pages": 10 })));
    assert!(shelf.push("delete", json!({ "key": "book:1" })).fault().is_none());
    assert_eq!(shelf.stored::<Book>("book:1"), None);
}

#[test]
fn a_callback_that_fails_or_refuses_stores_nothing_but_one_with_an_error_reply_stores_its_writes() {
    let mut shelf = shelf();
    shelf.push("put_and_reply_error", json!({ "key": "kept" })).reply();
    assert_eq!(shelf.stored::<u32>("kept"), Some(1));
    assert_eq!(shelf.push("put_and_refuse", json!({ "key": "refused" })).reply(), ("error", json!({})));
    assert_eq!(shelf.stored::<u32>("refused"), None);
    let stage = Stage::new().channel::<Library>("shelf");
    assert!(stage.join("shelf", json!({ "refuse": true })).is_err());
    assert_eq!(stage.stored::<String>("last"), None);
    let mut alice = stage.join("shelf", json!({})).unwrap();
    alice.push("put_and_fail", json!({ "key": "failed" }));
    alice.assert_error();
    assert_eq!(stage.stored::<u32>("failed"), None);
    assert_eq!(stage.stored::<String>("ended").unwrap(), "fault");
    assert_eq!(stage.send("shelf", "hello", json!({})), Ok(None));
    assert_eq!(stage.stored::<String>("sent").unwrap(), "hello");
}

#[test]
fn exceeding_a_limit_is_a_fault() {
    for (event, says) in [
        ("long_key", "oversize: a key in the store has 1025 bytes; at most 1024 (`limits.store_key_bytes = 1024`)"),
        ("no_key", "oversize: a key in the store has at least one byte"),
        (
            "long_value",
            "oversize: a value in the store has 1048577 bytes; at most 1048576 (`limits.store_value_bytes = 1048576`)",
        ),
        ("many", "oversize: a call writes more than 1024 keys of the store (`limits.store_writes_per_call = 1024`)"),
    ] {
        assert_eq!(shelf().push(event, json!({ "count": 1025 })).fault().unwrap().to_string(), says);
    }
}

#[test]
fn a_scan_reads_further_pages_up_to_its_limit() {
    let mut shelf = shelf();
    // Two and a half pages of the host.
    let mut setup = Setup::new();
    for n in 0..2500 {
        setup = setup.store(format!("many:{n:05}"), n);
    }
    let mut stocked: Member<Library> = setup.join("shelf", json!({})).unwrap();
    let mut count = |limit: u32| stocked.push("count", json!({ "limit": limit })).reply().json();
    assert_eq!([count(0), count(1), count(1500), count(10_000)], [json!(0), json!(1), json!(1500), json!(2500)]);
    for n in 0..6 {
        assert!(shelf.push("put", json!({ "key": format!("book:{n}"), "title": n.to_string() })).fault().is_none());
    }
    assert_eq!(shelf.push("titles", json!({})).reply(), ("ok", json!(["3", "2"])));
}

#[test]
fn the_fault_of_an_unreadable_value_names_the_key() {
    let mut shelf: Member<Library> = Setup::new().store("book:1", "no book").join("shelf", json!({})).unwrap();
    let out = shelf.push("get", json!({ "key": "book:1" }));
    let detail = &out.fault().unwrap().detail;
    assert!(detail.starts_with("the value under \"book:1\" in the store can't be read as a store::Book: "), "{detail}");
}

#[test]
fn handle_out_can_read_but_not_write() {
    let stage = Stage::new().channel::<Library>("shelf");
    let mut alice = stage.join("shelf", json!({})).unwrap();
    stage.store("last", "seeded");
    stage.broadcast("shelf", "news", json!({}));
    alice.assert_push("news", json!({ "last": "seeded" }));
    stage.broadcast("shelf", "news", json!({ "write": true }));
    alice.assert_error();
    let says = "failed: this callback may only read the store";
    assert_eq!((stage.faults()[0].to_string().as_str(), stage.stored::<bool>("written")), (says, None));
}

struct Gate;

impl Gatekeeper for Gate {
    fn connect(request: &Request) -> Connect {
        let key: String = request.params().field("key")?;
        match store::get::<String>(format!("key:{key}"))? {
            Some(user) => Ok(Identity::user(&user)),
            None => Err(Refused::default()),
        }
    }
}

#[test]
fn a_gatekeeper_reads_the_store() {
    let request =
        |key: &str| ConnectRequest::new().store("key:1", "alice").store("key:2", 2).params(json!({ "key": key }));
    assert_eq!(request("1").connect::<Gate>(), Ok(Identity::user("alice")));
    assert_eq!(request("0").connect::<Gate>(), Err(Refused::default()));
    assert_eq!(request("2").connect::<Gate>(), Err(Refused::new(500, "")));
}
