//! Tests of maps: reads by pages, changes, and faults.

use crate::Entries;
use crate::prelude::*;
use crate::testing::Member;

const NUMBERS: RoomMap<u32> = RoomMap::new("n/");
const TEXTS: RoomMap<String> = RoomMap::new("n/");

/// Calls a function of the test in a callback. The function has no environment, so its place in this list is its name.
const STEPS: [fn() -> Result<Value, Error>; 9] =
    [fill, backward, some, update, update_all, clear, wrong_type, nothing_twice, get_many];

#[derive(Serialize, Deserialize)]
struct Numbered;

impl Channel for Numbered {
    type Room = ();
    const ENTRIES: bool = true;

    fn join(_socket: &mut Socket, _params: Payload) -> Join<Self> {
        Ok(Numbered)
    }

    fn handle_in(&mut self, _socket: &mut Socket, _event: &str, payload: Payload) -> Handled {
        reply(STEPS[payload.parse::<usize>()?]()?)
    }
}

/// The same without entries.
#[derive(Serialize, Deserialize)]
struct Bare;

impl Channel for Bare {
    type Room = ();

    fn join(_socket: &mut Socket, _params: Payload) -> Join<Self> {
        Ok(Bare)
    }

    fn handle_in(&mut self, _socket: &mut Socket, _event: &str, _payload: Payload) -> Handled {
        reply(NUMBERS.contains("1"))
    }
}

fn numbered() -> Member<Numbered> {
    testing::join::<Numbered>("numbers:1", json!({})).expect("everyone may join")
}

impl Member<Numbered> {
    #[track_caller]
    fn take_step(&mut self, step: fn() -> Result<Value, Error>) -> Value {
        self.push("step", at(step)).reply().json()
    }
}

fn at(step: fn() -> Result<Value, Error>) -> usize {
    STEPS.iter().position(|other| std::ptr::fn_addr_eq(*other, step)).expect("the step is in the list")
}

fn fill() -> Result<Value, Error> {
    NUMBERS.insert_many((0..2500).map(|n| (format!("{n:04}"), n)));
    Ok(json!(NUMBERS.iter().count()))
}

fn backward() -> Result<Value, Error> {
    let all = NUMBERS.iter().backward().collect::<Result<Vec<_>, _>>()?;
    let is_backward = all.iter().rev().map(|(_, n)| *n).eq(0..2500);
    Ok(json!([is_backward, NUMBERS.iter().limit(1001).count(), NUMBERS.iter().limit(0).count()]))
}

fn some() -> Result<Value, Error> {
    let names = |entries: Entries<u32>| entries.map(|entry| Ok(entry?.1)).collect::<Result<Vec<_>, Error>>();
    Ok(json!([
        names(NUMBERS.range("0002".."0004"))?,
        names(NUMBERS.range("2498"..))?,
        names(NUMBERS.range(.."0001"))?,
        names(NUMBERS.range("0007"..="0008").backward())?,
        names(NUMBERS.range("9".."1"))?,
    ]))
}

fn update() -> Result<Value, Error> {
    let absent = NUMBERS.update("absent", |n| *n)?;
    let new = NUMBERS.update("new", |n| {
        *n += 1;
        *n
    })?;
    Ok(json!([absent, new, NUMBERS.contains("absent"), NUMBERS.get("new")?]))
}

/// Writes all of the 4,096 entries that a callback may write, so only ten of the 2,500 may be written here.
fn update_all() -> Result<Value, Error> {
    RoomMap::<u32>::new("other/").insert_many((0..4086).map(|n| (n.to_string(), n)));
    let mut names = Vec::new();
    NUMBERS.update_all(|name, n| {
        names.push(name.to_owned());
        if *n % 250 == 0 {
            *n += 1;
        }
    })?;
    let is_in_order = names.is_sorted() && names.len() == 2500;
    Ok(json!([is_in_order, NUMBERS.get("0250")?, NUMBERS.get("0251")?]))
}

fn clear() -> Result<Value, Error> {
    let cleared = [NUMBERS.clear(0), NUMBERS.clear(1), NUMBERS.clear(1500), NUMBERS.clear(usize::MAX)];
    Ok(json!([cleared, NUMBERS.iter().count()]))
}

fn wrong_type() -> Result<Value, Error> {
    TEXTS.insert("0", &"text".to_owned());
    Ok(json!(NUMBERS.get("0")?))
}

fn nothing_twice() -> Result<Value, Error> {
    NUMBERS.remove("absent");
    NUMBERS.remove("absent");
    NUMBERS.insert_many(Vec::<(String, u32)>::new());
    Ok(json!(NUMBERS.get("absent")?))
}

fn get_many() -> Result<Value, Error> {
    Ok(json!(NUMBERS.get_many(["0003", "absent", "0001", "0003"])?))
}

#[test]
fn a_map_is_read_page_by_page_in_both_orders() {
    let mut member = numbered();
    assert_eq!(member.take_step(fill), json!(2500));
    assert_eq!(member.take_step(backward), json!([true, 1001, 0]));
    assert_eq!(member.take_step(some), json!([[2, 3], [2498, 2499], [0], [8, 7], []]));
    assert_eq!(member.take_step(get_many), json!([3, null, 1, 3]));
    assert_eq!(member.entries(&NUMBERS).len(), 2500);
}

#[test]
fn an_update_writes_only_a_changed_value() {
    let mut member = numbered();
    assert_eq!(member.take_step(update), json!([0, 1, false, 1]));
    assert_eq!(member.take_step(nothing_twice), json!(null));
    assert_eq!(member.entries(&NUMBERS), [("new".to_owned(), 1)]);
}

#[test]
fn an_update_of_all_values_writes_only_those_that_change() {
    let mut member = numbered();
    member.take_step(fill);
    assert_eq!(member.take_step(update_all), json!([true, 251, 251]));
}

#[test]
fn a_map_is_cleared_in_parts() {
    let mut member = numbered();
    member.take_step(fill);
    assert_eq!(member.take_step(clear), json!([[0, 1, 1500, 999], 0]));
}

#[test]
fn a_value_of_another_type_is_a_fault_that_names_the_key() {
    let mut member = numbered();
    let fault = member.push("step", at(wrong_type)).fault().cloned().expect("a fault");
    let text = "the entry \"n/0\" can't be read as a u32: ";
    assert!(fault.detail.starts_with(text), "{fault}");
    assert_eq!(fault.kind, "failed");
}

#[test]
fn a_channel_without_entries_can_t_use_a_map() {
    let mut member = testing::join::<Bare>("bare:1", json!({})).expect("everyone may join");
    let fault = member.push("look", json!({})).fault().cloned().expect("a fault");
    assert!(fault.detail.starts_with("this call has no entries: only callbacks that get a room have them"), "{fault}");
}

/// The text of a note, and in the second build a structure.
const TEXT_NOTES: RoomMap<String> = RoomMap::published("note/");
const NOTES: RoomMap<Note> = RoomMap::published("note/");

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    text: String,
}

#[derive(Serialize, Deserialize)]
struct First;

impl Channel for First {
    type Room = ();
    const ENTRIES: bool = true;
    const PUBLISHES: &'static [&'static str] = &["note/"];

    fn join(_socket: &mut Socket, _params: Payload) -> Join<Self> {
        TEXT_NOTES.insert("1", &"hi".to_owned());
        Ok(First)
    }
}

#[derive(Serialize, Deserialize)]
struct Second;

impl Channel for Second {
    type Room = ();
    const ENTRIES: bool = true;
    const ENTRIES_VERSION: u32 = 1;
    const PUBLISHES: &'static [&'static str] = &["note/"];

    fn join(_socket: &mut Socket, _params: Payload) -> Join<Self> {
        Ok(Second)
    }

    fn handle_in(&mut self, _socket: &mut Socket, event: &str, _payload: Payload) -> Handled {
        reply(NOTES.get(event)?)
    }

    fn upgrade_entry(old: &OldEntry) -> UpgradedEntry {
        match NOTES.name_of(old) {
            Some("2") => fail("it refuses this one"),
            Some(_) => NOTES.upgraded(&Note { text: old.read()? }),
            None => old.as_it_is(),
        }
    }
}

#[test]
fn a_published_entry_is_upgraded_as_json_and_its_change_is_published() {
    let stage = testing::Stage::new().channel::<First>("notes:*");
    let mut alice = stage.join("notes:1", json!({})).expect("everybody may join");
    assert_eq!(alice.room_state(), Some(json!({ "note/1": "hi" })));
    stage.reload::<Second>("notes:*");
    let read = alice.push("1", json!({}));
    alice.assert_reply(&read, "ok", json!({ "text": "hi" }));
    assert_eq!(alice.room_state(), Some(json!({ "note/1": { "text": "hi" } })));
    let note: Note = testing::upgrade_entry::<Second, _>("note/1", 0, "hi").expect("an upgrade");
    assert_eq!(note, Note { text: "hi".into() });
    let refused = testing::upgrade_entry::<Second, Note>("note/2", 0, "hi").expect_err("a refusal");
    let text = "failed: the plugin refused the upgrade of the entry \"note/2\" of version 0: it refuses this one";
    assert_eq!(refused.to_string(), text);
}
