//! What one reader of JSON takes, the others can read: a table of texts that readers disagree about, and random damage to them.

#[path = "../../guest/tests/nasty/mod.rs"]
mod nasty;

use std::sync::Arc;

use bennu::auth::{Secret, Tokens};
use bennu::channel::{Node, NodeLimits};
use bennu::contract::{Admission, CallLimits, Identity, MemberUsage, PublishedState, Record, Surroundings};
use bennu::presence::{Pace, Presence};
use bennu::protocol::{Incoming, Payload, Serializer, Topic, read_object, read_value};
use bennu::pubsub::PubSub;
use bennu::routes::RouteTable;
use bennu::server::HostSurroundings;
use bennu::store::{Store, StoreLimits};
use nasty::{Degree, texts};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The most bytes of what is tracked or claimed: those limits are tested elsewhere.
const SHORT: usize = 4 << 10;

/// `serde_json` itself takes this name of a field for something else than a name.
const PRIVATE: &str = "$serde_json::private";

fn record() -> Record {
    let mut record = Record::new(CallLimits::default());
    record.open(MemberUsage::default(), None);
    record
}

/// What is a value to each reader of what is only passed on; they must agree. Whether it is one.
fn is_passed_on(text: &str) -> bool {
    let payload = Payload::Json(text.into());
    let is_json = payload.check_value().is_ok();
    assert_eq!(serde_json::from_str::<&RawValue>(text).is_ok(), is_json, "{text}");
    let is_object = text.trim_ascii_start().starts_with('{');
    assert_eq!(payload.check_object().is_ok(), is_json && is_object, "{text}");
    assert_eq!(record().push("e".into(), payload.clone()).is_ok(), is_json && is_object, "{text}");
    assert_eq!(record().send_self("e".into(), payload.clone()).is_ok(), is_json, "{text}");
    for (serializer, frame) in [
        (Serializer::V2, format!("[null,\"1\",\"t\",\"e\",{text}]")),
        (Serializer::V1, format!("{{\"ref\":null,\"topic\":\"t\",\"event\":\"e\",\"payload\":{text}}}")),
    ] {
        let decoded = serializer.decode(&Incoming::Text(frame.clone().into()));
        // What isn't one value may still make a frame with what stands around it.
        if is_json {
            assert_eq!(decoded.map(|message| message.payload).ok(), Some(Payload::Json(text.trim_ascii().into())));
        }
    }
    is_json
}

/// What is an object to each reader of what the host reads itself; they must agree. Whether it is one.
fn is_read(text: &str) -> bool {
    let is_object = read_object(text).is_ok();
    assert_eq!(read_value(text).is_ok_and(|value| value.is_object()), is_object, "{text}");
    if !text.contains(PRIVATE) && !text.contains("\\u") {
        assert_eq!(serde_json::from_str::<Map<String, Value>>(text).ok(), read_object(text).ok(), "{text}");
    }
    assert_eq!(PublishedState::read(text.into()).is_ok(), is_object, "{text}");
    assert_eq!(record().publish_state(text.into()).is_ok(), is_object, "{text}");
    if text.len() <= SHORT {
        assert_eq!(record().track("key".into(), text.into()).is_ok(), is_object, "{text}");
        let identity = Identity { claims: text.into(), ..Identity::default() };
        assert_eq!(Admission::Granted(identity).checked().is_ok(), is_object, "{text}");
    }
    is_object
}

#[test]
fn every_reader_takes_what_the_table_says_and_refuses_the_rest() {
    for (text, degree) in texts() {
        assert_eq!(is_passed_on(&text), degree >= Degree::Passed, "{text:.200}");
        assert_eq!(is_read(&text), degree == Degree::Readable, "{text:.200}");
    }
}

/// Numbers that look random, from a fixed seed.
struct Noise(u64);

impl Noise {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or_default() % end
    }
}

#[test]
fn every_reader_agrees_about_damaged_texts() {
    const SHARP: [&str; 20] = [
        "\"", "\\", "[", "]", "{", "}", ",", ":", "0", "9", "-", ".", "e", "e99", "\\ud83d", "\\ude00", "u", " ",
        "\u{1}", "é",
    ];
    let texts: Vec<_> = texts().into_iter().filter(|(text, _)| text.len() <= SHORT).collect();
    let (mut noise, mut passed, mut read) = (Noise(18), 0, 0);
    for _ in 0..20_000 {
        let mut parts: Vec<_> = texts[noise.below(texts.len())].0.chars().map(String::from).collect();
        for _ in 0..noise.below(4) {
            let (at, sharp) = (noise.below(parts.len() + 1), SHARP[noise.below(SHARP.len())].to_owned());
            match noise.below(4) {
                0 if at < parts.len() => drop(parts.remove(at)),
                1 if at < parts.len() => parts[at] = sharp,
                _ => parts.insert(at, sharp),
            }
        }
        let text = parts.concat();
        let (is_passed_on, is_read) = (is_passed_on(&text), is_read(&text));
        assert!(is_passed_on || !is_read, "{text}");
        passed += usize::from(is_passed_on);
        read += usize::from(is_read);
    }
    assert!(read > 2_000 && passed - read > 500 && passed < 18_000, "{passed} are JSON, and {read} can be read");
}

/// Whatever was tracked, the list of all is JSON, and each meta can be read alone.
#[test]
fn whatever_is_tracked_can_be_read_in_the_list_of_all() {
    let presence = Presence::new(&Arc::new(PubSub::new()), "here", 0, Pace { burst: u32::MAX, ..Pace::default() });
    let topic = Topic::new("t");
    let mut count = 0;
    for (text, _) in texts() {
        if text.len() <= SHORT && record().track("key".into(), (&*text).into()).is_ok() {
            presence.track(&topic, count, &format!("key {count}"), &text).expect("nobody is tracked under that key");
            count += 1;
        }
    }
    assert!(count > 10, "the table has {count} metas that can be read");
    let Payload::Json(list) = presence.state(&topic) else { panic!("the list is JSON") };
    let list: Map<String, Value> = read_keys(&list);
    assert_eq!(list.len() as u64, count);
}

/// The keys of a list of presences, each with its metas, every one of which must be readable.
fn read_keys(list: &str) -> Map<String, Value> {
    let keys: std::collections::BTreeMap<String, std::collections::BTreeMap<String, Vec<Box<RawValue>>>> =
        serde_json::from_str(list).expect("the list is JSON");
    keys.into_iter()
        .map(|(key, entry)| {
            let metas = entry["metas"].iter().map(|meta| read_value(meta.get()).expect("each meta can be read"));
            (key, metas.collect())
        })
        .collect()
}

#[tokio::test]
async fn what_is_signed_is_what_is_verified() {
    let store = Store::in_memory(StoreLimits::default()).expect("a store in memory");
    let node = Node::new(Arc::new(RouteTable::default()), NodeLimits::default(), Pace::default(), store);
    let tokens = Tokens::new(Secret::new(b"a secret of more than twenty bytes")).expect("it is long enough");
    let host = HostSurroundings::new(&node).with_tokens(Some(Arc::new(tokens)));
    for (text, degree) in texts() {
        let Ok(token) = host.sign("salt", &text, None) else {
            let nests_deep = degree == Degree::Readable && text.contains("[[[[");
            assert!(degree < Degree::Readable || nests_deep, "{text:.200}");
            continue;
        };
        assert_eq!(degree, Degree::Readable, "{text:.200}");
        let verified = host.verify("salt", &token, None).expect("there is a secret").expect("the token is good");
        // As texts: a term says a number in its own way.
        let [verified, signed] = [&verified, &text].map(|text| read_value(text).map(|value| value.to_string()).ok());
        assert_eq!(verified, signed, "{text:.200}");
    }
}
