//! Tests of both kinds of topics.

use bennu_guest::prelude::*;

use super::Books;
use super::notes::Notes;
use super::players::{Entered, Shared};
use super::vault::Vault;

#[test]
fn a_book_has_the_wanted_size() {
    let mut member = testing::join::<Books>("shelf:1", json!({})).expect("everyone may join");
    for (from, bytes) in [(0, 1), (1, 32), (2, 33), (3, 88), (4, 257), (5, 258), (6, 65_538), (7, 65_539)] {
        member.push("fill", json!({ "from": from, "entries": 1, "bytes": bytes })).reply();
    }
    let stored: Vec<(String, String)> = member.entries(&RoomMap::new("book/"));
    let texts: Vec<usize> = stored.iter().map(|(_, text)| text.len()).collect();
    assert_eq!(texts, [0, 31, 31, 86, 255, 255, 65_535, 65_534]);
    assert_eq!(stored[3].0, "0000003");
    assert_eq!(member.push("count", json!({})).reply(), ("ok", json!({ "entries": 8 })));
}

#[test]
fn a_changed_book_keeps_its_size() {
    let mut member = testing::join::<Books>("shelf:1", json!({})).expect("everyone may join");
    member.push("fill", json!({ "from": 0, "entries": 1000, "bytes": 88 })).reply();
    member.push("change", json!({ "key": 7 })).reply();
    let stored: Vec<(String, String)> = member.entries(&RoomMap::new("book/0000007"));
    assert_eq!(stored, [(String::new(), format!("b{}", "a".repeat(85)))]);
    assert_eq!(member.push("read", json!({ "key": 7 })).reply(), ("ok", json!({ "bytes": 86 })));
    assert_eq!(member.push("read", json!({ "key": 1000 })).reply(), ("ok", json!({ "bytes": null })));
}

#[test]
fn both_forms_move_the_players_in_the_same_way() {
    let stage = testing::Stage::new().channel::<Entered>("players:*").channel::<Shared>("room:*");
    let places = ["players:1", "room:1"].map(|topic| {
        let mut member = stage.join(topic, json!({})).expect("everyone may join");
        member.push("start", json!({ "players": 100, "ms": 10 }));
        stage.advance(Duration::from_millis(50));
        let place = member.push("where", json!({}));
        member.assert_reply(&place, "ok", json!({ "ticks": 5 }))
    });
    assert_eq!(places[0], places[1]);
}

#[test]
fn members_get_the_notes_that_they_follow() {
    let stage = testing::Stage::new().channel::<Notes>("notes:*");
    let mut alice = stage.join("notes:1", json!({})).expect("everyone may join");
    alice.push("fill", json!({ "from": 0, "entries": 3, "bytes": 4 }));
    alice.push("change", json!({ "key": 1 }));
    alice.push("put", json!({ "0000000": null, "text": { "by": "alice" } }));
    let all = json!({ "note/0000001": "ba", "note/0000002": "aa", "note/text": { "by": "alice" } });
    assert_eq!(alice.room_state(), Some(all));
    let mut bob = stage.join("notes:1", json!({ "follow": ["note/0"] })).expect("everyone may join");
    assert_eq!(bob.room_state(), Some(json!({ "note/0000001": "ba", "note/0000002": "aa" })));
    bob.push("follow", json!({ "prefix": "note/t" }));
    bob.push("unfollow", json!({ "prefix": "note/0" }));
    assert_eq!(bob.room_state(), Some(json!({ "note/text": { "by": "alice" } })));
}

#[test]
fn marks_are_kept_when_everybody_has_left() {
    let stage = testing::Stage::new().channel::<Vault>("vault:*");
    let mut member = stage.join("vault:1", json!({})).expect("everyone may join");
    for marks in 1..=60 {
        let mark = member.push("mark", json!({}));
        member.assert_reply(&mark, "ok", json!({ "marks": marks }));
    }
    member.push("start", json!({ "ms": 10 }));
    stage.advance(Duration::from_millis(50));
    member.leave();
    stage.advance(Duration::from_secs(60));
    let mut member = stage.join("vault:1", json!({})).expect("everyone may join");
    let audit = member.push("audit", json!({}));
    let audit = member.assert_reply(&audit, "ok", json!({ "is_whole": true, "own": 60 }));
    let marks: u64 = audit.field("marks").expect("a number");
    assert!(marks >= 65, "{marks}");
}
