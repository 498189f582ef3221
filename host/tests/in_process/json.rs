//! All readers of JSON in the host accept the same texts. The tests use a table of texts on which JSON parsers often
//! disagree, and random damage to these texts.

#[path = "../../../guest/tests/nasty/mod.rs"]
mod nasty;

use std::sync::Arc;

use self::nasty::{Degree, texts};
use bennu::auth::{Secret, Tokens};
use bennu::channel::{Node, NodeLimits};
use bennu::contract::{Admission, CallLimits, Effect, Identity, MemberUsage, Record, Surroundings};
use bennu::presence::{Pace, Presence};
use bennu::protocol::{Incoming, Payload, Serializer, Topic, read_object, read_value};
use bennu::pubsub::PubSub;
use bennu::routes::RouteTable;
use bennu::server::HostSurroundings;
use bennu::store::{Store, StoreLimits};
use bennu_test_tiers::Noise;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The maximum length of texts that are used as a meta or as claims. Other tests cover the limits on their length.
const SHORT: usize = 4 << 10;

/// `serde_json` gives this field name a special meaning.
const PRIVATE: &str = "$serde_json::private";

/// Whether a call of a member may have this effect.
fn asks(effect: Effect) -> bool {
    let mut record = Record::new(CallLimits::default());
    record.open(MemberUsage::default(), None);
    record.ask(effect).is_ok()
}

/// Whether the text is a JSON value for the readers of payloads that are only passed on. All these readers must agree.
fn is_passed_on(text: &str) -> bool {
    let payload = Payload::Json(text.into());
    let is_json = payload.check_value().is_ok();
    assert_eq!(serde_json::from_str::<&RawValue>(text).is_ok(), is_json, "{text}");
    let is_object = text.trim_ascii_start().starts_with('{');
    assert_eq!(payload.check_object().is_ok(), is_json && is_object, "{text}");
    assert_eq!(asks(Effect::Push { event: "e".into(), payload: payload.clone() }), is_json && is_object, "{text}");
    assert_eq!(asks(Effect::SendSelf { event: "e".into(), payload: payload.clone() }), is_json, "{text}");
    for (serializer, frame) in [
        (Serializer::V2, format!("[null,\"1\",\"t\",\"e\",{text}]")),
        (Serializer::V1, format!("{{\"ref\":null,\"topic\":\"t\",\"event\":\"e\",\"payload\":{text}}}")),
    ] {
        let decoded = serializer.decode(&Incoming::Text(frame.clone().into()));
        // A text that isn't a value may still complete a valid frame, so only values are checked.
        if is_json {
            assert_eq!(decoded.map(|message| message.payload).ok(), Some(Payload::Json(text.trim_ascii().into())));
        }
    }
    is_json
}

/// Whether the text is an object for the readers of JSON that the host itself reads. All these readers must agree.
fn is_read(text: &str) -> bool {
    let is_object = read_object(text).is_ok();
    assert_eq!(read_value(text).is_ok_and(|value| value.is_object()), is_object, "{text}");
    if !text.contains(PRIVATE) && !text.contains("\\u") {
        assert_eq!(serde_json::from_str::<Map<String, Value>>(text).ok(), read_object(text).ok(), "{text}");
    }
    assert_eq!(asks(Effect::PublishState { state: text.into() }), is_object, "{text}");
    if text.len() <= SHORT {
        assert_eq!(asks(Effect::Track { key: "key".into(), meta: text.into() }), is_object, "{text}");
        let identity = Identity { claims: text.into(), ..Identity::default() };
        assert_eq!(Admission::Granted(identity).checked().is_ok(), is_object, "{text}");
    }
    is_object
}

#[test]
fn every_reader_accepts_the_texts_that_the_table_gives() {
    for (text, degree) in texts() {
        assert_eq!(is_passed_on(&text), degree >= Degree::Passed, "{text:.200}");
        assert_eq!(is_read(&text), degree == Degree::Readable, "{text:.200}");
    }
}

#[test]
fn every_reader_agrees_about_damaged_texts() {
    const SHARP: [&str; 20] = [
        "\"", "\\", "[", "]", "{", "}", ",", ":", "0", "9", "-", ".", "e", "e99", "\\ud83d", "\\ude00", "u", " ",
        "\u{1}", "é",
    ];
    let texts: Vec<_> = texts().into_iter().filter(|(text, _)| text.len() <= SHORT).collect();
    let (mut noise, mut passed, mut read) = (Noise::new(18), 0, 0);
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

/// The list of presences is valid JSON, and each meta in it can be read separately.
#[test]
fn every_accepted_meta_can_be_read_in_the_list_of_presences() {
    let presence = Presence::new(&Arc::new(PubSub::new()), "here", 0, Pace { burst: u32::MAX, ..Pace::default() });
    let topic = Topic::new("t");
    let mut count = 0;
    for (text, _) in texts() {
        if text.len() <= SHORT && asks(Effect::Track { key: "key".into(), meta: (&*text).into() }) {
            presence.track(&topic, count, &format!("key {count}"), &text).expect("nobody is tracked under that key");
            count += 1;
        }
    }
    assert!(count > 10, "the table has {count} metas that can be read");
    let Payload::Json(list) = presence.state(&topic) else { panic!("the list is JSON") };
    let list: Map<String, Value> = read_keys(&list);
    assert_eq!(list.len() as u64, count);
}

/// Returns the keys of a list of presences with their metas. Each meta must be readable.
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
async fn verified_data_equals_the_signed_data() {
    let store = Store::in_memory(StoreLimits::default()).expect("a store in memory");
    let node =
        Node::new(Arc::new(RouteTable::default()), NodeLimits::default(), Pace::default(), store, Arc::default());
    let tokens = Tokens::new(Secret::new(b"a secret of more than twenty bytes")).expect("the secret is long enough");
    let host = HostSurroundings::new(&node).with_tokens(Some(Arc::new(tokens)));
    for (text, degree) in texts() {
        let Ok(token) = host.sign("salt", &text, None) else {
            let nests_deep = degree == Degree::Readable && text.contains("[[[[");
            assert!(degree < Degree::Readable || nests_deep, "{text:.200}");
            continue;
        };
        assert_eq!(degree, Degree::Readable, "{text:.200}");
        let verified = host.verify("salt", &token, None).expect("there is a secret").expect("the token is valid");
        // Compared as text, because a term may change the notation of a number.
        let [verified, signed] = [&verified, &text].map(|text| read_value(text).map(|value| value.to_string()).ok());
        assert_eq!(verified, signed, "{text:.200}");
    }
}
