//! Published entries, and members that read at different speeds, by the rule of the client module.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytestring::ByteString;
use serde_json::{Value, json};

use super::*;
use crate::{merge, read_value};

/// A client, which applies messages as `client/room_state.mjs` does.
#[derive(Default)]
struct Client {
    state: Option<Value>,
    number: u64,
}

impl Client {
    fn take_whole(&mut self, number: u64, state: &str) {
        merge(self.state.insert(json!({})), &parsed(state));
        self.number = number;
    }

    /// A host sends only changes that the client can apply.
    fn take_patch(&mut self, number: u64, patch: &str) {
        assert_eq!(number, self.number + 1, "a gap: the client ignores {patch}");
        merge(self.state.as_mut().expect("the whole state comes first"), &parsed(patch));
        self.number = number;
    }
}

struct Member {
    client: Client,
    shown: Shown,
    /// Whether its outbox has no room.
    is_full: bool,
}

/// A topic, with members whose outboxes are full at times.
struct Published {
    model: Model,
    rules: Arc<EntryRules>,
    views: Views,
    publishing: Publishing,
    members: BTreeMap<u64, Member>,
    last: u64,
    /// The members that got a patch of several changes, and the messages without a difference.
    caught_up: usize,
    empty: u64,
    whole: usize,
}

fn parsed(text: &str) -> Value {
    read_value(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A random JSON value with some fields that come and go.
fn json_value(noise: &mut Noise, depth: usize) -> Value {
    match noise.below(if depth == 0 { 4 } else { 8 }) {
        0 => Value::Null,
        1 => json!(noise.below(3)),
        2 => json!("x\"\u{e9}"),
        3 => json!([noise.below(2), { "a": null }]),
        _ => {
            let fields =
                (0..noise.below(4)).map(|_| ["a", "b", "__proto__"][noise.below(3)].to_owned()).collect::<Vec<_>>();
            Value::Object(fields.into_iter().map(|name| (name, json_value(noise, depth - 1))).collect())
        }
    }
}

impl Published {
    fn new(seed: u64) -> Self {
        let table = if seed.is_multiple_of(2) { EntryTable::complete() } else { EntryTable::cache() };
        let rules = EntryRules { publishes: ["p".into(), "q".into()].into(), ..EntryRules::default() };
        let most = [200, 2000, 1 << 20][Noise::new(seed).below(3)];
        Self {
            model: Model::new(table, seed),
            rules: Arc::new(rules),
            views: Views::default(),
            publishing: Publishing::new(most),
            members: BTreeMap::new(),
            last: 0,
            caught_up: 0,
            empty: 0,
            whole: 0,
        }
    }

    fn below(&mut self, end: usize) -> usize {
        self.model.noise.below(end)
    }

    /// The text of the whole state, read as a host reads it.
    fn whole(&self, followed: Option<&Followed>) -> ByteString {
        let mut text = WholeText::default();
        for (key, (_, value)) in &self.model.committed {
            let is_in = |followed: &Followed| std::str::from_utf8(key).is_ok_and(|key| followed.contains(key));
            if self.rules.is_published(key) && followed.is_none_or(is_in) {
                text.add(key, value);
            }
        }
        text.finish().into()
    }

    /// The state that a client has to have.
    fn expected(&self, followed: Option<&Followed>) -> Value {
        let mut state = json!({});
        merge(&mut state, &parsed(&self.whole(followed)));
        state
    }

    /// A commit of some writes.
    fn commit(&mut self) {
        let mut overlay = Overlay::new(Arc::clone(&self.rules), None);
        for _ in 0..1 + self.below(4) {
            let key = self.model.key();
            let mut value = json_value(&mut self.model.noise, 2);
            if value.is_null() {
                value = json!(false);
            }
            // The text of the plugin may have spaces.
            let text = format!(" {value}\n").into_bytes();
            let is_put = self.below(3) > 0;
            let written = self.model.finish(&mut overlay, |overlay, table| {
                if is_put { overlay.put(table, &key, &text) } else { overlay.delete(table, &key) }
            });
            written.expect("no limit").expect("no upgrade");
            if is_put {
                self.model.committed.insert(key, (0, text));
            } else {
                self.model.committed.remove(&key);
            }
        }
        let Some(changes) = overlay.into_changes() else { return };
        for change in changes.iter() {
            let row = change.new.map(|value| (0, value.to_vec()));
            match row.filter(|_| self.model.is_durable()) {
                Some(row) => drop(self.model.stored.insert(change.key.to_vec(), row)),
                None => drop(self.model.stored.remove(change.key)),
            }
        }
        let mut published = Vec::new();
        self.model.table.apply(changes, true, |change| published.extend(self.rules.published_change(&change)));
        if !published.is_empty() {
            self.publish(&published);
        }
    }

    fn publish(&mut self, changes: &[PublishedChange]) {
        let change = self.publishing.next_change();
        let mut is_missed = false;
        for view in self.views.change(changes) {
            let (number, patch) = (view.number, view.patch());
            for member in self.members.values_mut().filter(|member| member.shown.view() == view.view) {
                let Member { client, shown, is_full } = member;
                is_missed |= shown.change(number, change, |own| {
                    if !*is_full {
                        client.take_patch(own, &patch);
                    }
                    !*is_full
                });
            }
        }
        self.publishing.record(changes, is_missed);
    }

    fn show_whole(&mut self, id: u64) {
        let view = self.members[&id].shown.view();
        let text = self.whole(self.views.followed(view));
        let number = self.views.number(view);
        let member = self.members.get_mut(&id).expect("a member");
        if !member.is_full {
            member.client.take_whole(number, &text);
            member.shown = Shown::Current { view, offset: 0 };
            self.whole += 1;
        }
    }

    /// A member joins. It gets the text that is kept, if there is one.
    fn join(&mut self) {
        self.last += 1;
        let is_full = self.below(4) == 0;
        self.members.insert(self.last, Member { client: Client::default(), shown: Shown::default(), is_full });
        if self.publishing.kept().is_none() {
            let text = self.whole(None);
            self.publishing.keep(text);
        }
        let (text, missed) = self.publishing.kept().expect("it was kept");
        let now = missed.keys().map(|key| self.model.committed.get(key.as_bytes()).map(|(_, value)| &**value));
        let (number, patch) = (self.views.number(ALL), missed.patch(now));
        let member = self.members.get_mut(&self.last).expect("it has joined");
        if is_full {
            return;
        }
        member.client.take_whole(number - u64::from(patch.is_some()), text);
        if let Some(patch) = patch {
            member.client.take_patch(number, &patch);
        }
        member.shown = Shown::Current { view: ALL, offset: 0 };
    }

    /// A member follows other prefixes.
    fn follow(&mut self) {
        let Some(id) = self.any() else { return };
        let prefixes: Vec<String> =
            (0..self.below(4)).map(|_| format!("{}{}", ["p", "q"][self.below(2)], ["", "a"][self.below(2)])).collect();
        let followed = (self.below(4) > 0).then(|| Followed::new(prefixes.iter().map(|prefix| &**prefix)));
        self.views.leave(id, self.members[&id].shown.view());
        let view = self.views.enter(id, followed.as_ref());
        self.members.get_mut(&id).expect("a member").shown = Shown::Nothing { view };
        self.show_whole(id);
    }

    fn any(&mut self) -> Option<u64> {
        let at = self.below(self.members.len().max(1));
        self.members.keys().nth(at).copied()
    }

    /// All members with room in their outboxes get what they have missed.
    fn catch_up(&mut self) {
        let ids: Vec<u64> = self.members.keys().copied().collect();
        for id in ids {
            let behind = match &self.members[&id].shown {
                Shown::Current { .. } => continue,
                Shown::Nothing { .. } => None,
                Shown::Behind(behind) => Some(**behind),
            };
            if self.members[&id].is_full {
                continue;
            }
            if behind.is_none_or(|behind| !self.catch_up_by_patch(id, behind)) {
                self.show_whole(id);
            }
        }
        let since = |member: &Member| if let Shown::Behind(behind) = &member.shown { Some(behind.since) } else { None };
        self.publishing.retain(self.members.values().filter_map(since).collect());
    }

    fn catch_up_by_patch(&mut self, id: u64, behind: Behind) -> bool {
        let view = behind.view;
        let Some(missed) = self.publishing.since(behind.since, self.views.followed(view)) else { return false };
        let now = missed.keys().map(|key| self.model.committed.get(key.as_bytes()).map(|(_, value)| &**value));
        let patch = missed.patch(now);
        let offset = |member: &Member| match member.shown {
            Shown::Current { view: of, offset } if of == view => Some(offset),
            _ => None,
        };
        let in_use = self.members.values().filter_map(offset).collect();
        let Some(plan) = behind.catch_up(self.views.number(view), patch.is_some(), &in_use) else { return false };
        assert!(plan.empty <= 32);
        let member = self.members.get_mut(&id).expect("a member");
        let patches = patch.iter().map(|patch| &**patch).chain((0..plan.empty).map(|_| "{}"));
        for (number, patch) in (plan.first..).zip(patches) {
            member.client.take_patch(number, patch);
        }
        member.shown = Shown::Current { view, offset: plan.offset };
        self.caught_up += 1;
        self.empty += plan.empty;
        true
    }

    fn check(&self) {
        let mut offsets: BTreeMap<ViewId, BTreeSet<u32>> = BTreeMap::new();
        for member in self.members.values() {
            let Shown::Current { view, offset } = member.shown else { continue };
            let expected = self.expected(self.views.followed(view));
            assert_eq!(member.client.state.as_ref(), Some(&expected), "{:?}", member.shown);
            assert_eq!(member.client.number + u64::from(offset), self.views.number(view));
            offsets.entry(view).or_default().insert(offset);
        }
        assert!(offsets.values().all(|offsets| offsets.iter().filter(|offset| **offset > 0).count() <= 8));
        let sums = sums_of(&self.model.committed, &self.rules);
        let text = self.whole(None);
        assert_eq!(sums.published, if text.len() > 2 { text.len() as u64 - 1 } else { 0 });
        assert!(self.publishing.bytes() <= 1 << 21);
    }
}

#[test]
fn members_that_read_at_random_speeds_end_with_the_same_state() {
    let (mut caught_up, mut empty, mut whole) = (0, 0, 0);
    for seed in 0..bennu_test_tiers::rounds("entries::published") as u64 {
        let mut topic = Published::new(seed);
        let steps = 60 + topic.below(100);
        for _ in 0..steps {
            match topic.below(12) {
                0 => topic.join(),
                1 => topic.follow(),
                2 => topic.catch_up(),
                3 if topic.below(3) == 0 => {
                    if let Some(id) = topic.any() {
                        topic.views.leave(id, topic.members[&id].shown.view());
                        topic.members.remove(&id);
                    }
                }
                4 | 5 => {
                    if let Some(id) = topic.any() {
                        let is_full = topic.below(2) == 0;
                        topic.members.get_mut(&id).expect("a member").is_full = is_full;
                    }
                }
                _ => topic.commit(),
            }
            topic.check();
        }
        topic.members.values_mut().for_each(|member| member.is_full = false);
        topic.catch_up();
        assert!(topic.members.values().all(|member| member.shown.is_current()));
        topic.check();
        (caught_up, empty, whole) = (caught_up + topic.caught_up, empty + topic.empty, whole + topic.whole);
    }
    // The test reaches all ways to catch up.
    assert!(caught_up > 0 && empty > 0 && whole > 0, "{caught_up} {empty} {whole}");
}

/// The rules of a topic that publishes everything under `p`.
fn rules() -> Arc<EntryRules> {
    Arc::new(EntryRules { publishes: ["p".into()].into(), ..EntryRules::default() })
}

/// Commits some writes: a key with its value, or none to delete it.
fn written(table: &mut EntryTable, writes: &[(&str, Option<&str>)]) -> Vec<PublishedChange> {
    let rules = rules();
    let mut overlay = Overlay::new(Arc::clone(&rules), Some(EntrySums::default()));
    for (key, value) in writes {
        let done = match value {
            Some(value) => overlay.put(table, key.as_bytes(), value.as_bytes()),
            None => overlay.delete(table, key.as_bytes()),
        };
        done.expect("no limit").done().expect("in memory");
    }
    let mut changes = Vec::new();
    if let Some(written) = overlay.into_changes() {
        table.apply(written, true, |change| changes.extend(rules.published_change(&change)));
    }
    changes
}

fn fields(changes: &[PublishedChange]) -> String {
    object_of(changes.iter().map(PublishedChange::field))
}

#[test]
fn a_change_of_an_entry_is_a_merge_patch() {
    let mut table = EntryTable::complete();
    let mut patch = |writes: &[(&str, Option<&str>)]| fields(&written(&mut table, writes));
    assert_eq!(
        patch(&[("p\"1", Some(r#"{ "a": 1, "b": {"c": 2} }"#)), ("x", Some("1"))]),
        r#"{"p\"1":{ "a": 1, "b": {"c": 2} }}"#
    );
    assert_eq!(patch(&[("p\"1", Some(r#"{"a":1,"b":{"d":3}}"#))]), r#"{"p\"1":{"b":{"c":null,"d":3}}}"#);
    assert_eq!(
        patch(&[("p\"1", Some(r#"{"b":{"d":3},"a":1,"e":null}"#))]),
        "{}",
        "the order and nulls make no difference"
    );
    assert_eq!(patch(&[("p\"1", Some("[1]")), ("p2", Some("2"))]), r#"{"p\"1":[1],"p2":2}"#);
    assert_eq!(patch(&[("p\"1", None), ("p3", None), ("x", None)]), r#"{"p\"1":null}"#);
    assert_eq!(patch(&[("p2", Some("3")), ("p2", Some("2"))]), "{}", "the entry is as before");
}

#[test]
fn a_field_that_is_gone_is_null_in_a_merged_patch() {
    let mut table = EntryTable::complete();
    let mut publishing = Publishing::new(1 << 20);
    let mut write = |publishing: &mut Publishing, is_missed, writes: &[(&str, Option<&str>)]| {
        let changes = written(&mut table, writes);
        publishing.next_change();
        publishing.record(&changes, is_missed);
    };
    write(&mut publishing, false, &[("p1", Some(r#"{"a":1,"b":2}"#)), ("p2", Some("0")), ("p4", Some("4"))]);
    assert_eq!(publishing.bytes(), 0, "nobody has missed a change");
    write(&mut publishing, true, &[("p1", Some(r#"{"a":1,"c":3}"#)), ("p2", None), ("p3", Some("1"))]);
    write(&mut publishing, true, &[("p1", Some(r#"{"a":1,"c":4}"#)), ("p2", Some("5")), ("p3", None)]);
    let now = |key: &str| match key {
        "p1" => Some(&br#"{"a":1,"c":4}"#[..]),
        "p2" => Some(&b"5"[..]),
        "p3" => None,
        other => panic!("{other} has not changed"),
    };
    let patch = |since, followed: Option<&Followed>| {
        let missed = publishing.since(since, followed).expect("kept");
        missed.patch(missed.keys().map(now))
    };
    assert_eq!(patch(1, None).as_deref(), Some(r#"{"p1":{"b":null,"c":4},"p2":5}"#));
    assert_eq!(patch(2, None).as_deref(), Some(r#"{"p1":{"c":4},"p2":5,"p3":null}"#));
    assert_eq!(patch(1, Some(&Followed::new(["p3"]))), None);
    assert!(publishing.since(3, None).is_none() && publishing.since(0, None).is_none());
}

#[test]
fn a_segment_has_each_key_once_and_is_dropped_past_the_bound() {
    let mut table = EntryTable::complete();
    let mut missed = MissedChanges::default();
    for round in 0..100 {
        let value = format!("{:0>100}", round).replace('0', "1");
        let changes = written(&mut table, &[("p1", Some(&value)), ("p2", Some(&value))]);
        if round == 0 {
            missed.begin(0);
        }
        missed.record(&changes, 1 << 20);
    }
    // The entries were absent before.
    assert_eq!(missed.bytes(), 2 * (64 + 2));
    for since in 1..100 {
        missed.begin(since);
        missed.record(&written(&mut table, &[("p1", Some(&since.to_string()))]), 1 << 20);
    }
    assert!(missed.since(0, None).is_none() && missed.since(99, None).is_some(), "at most 64 segments");
    missed.retain(&[50, 99].into());
    assert!(missed.since(98, None).is_none());
    assert_eq!(missed.since(50, None).map(|old| old.keys().len()), Some(1));
    missed.begin(100);
    missed.record(&written(&mut table, &[("p3", Some("1")), ("p4", Some("2"))]), 150);
    assert!(missed.since(50, None).is_none() && missed.since(100, None).is_some());
    missed.retain(&[].into());
    assert!(missed.is_empty() && missed.bytes() == 0);
}

#[test]
fn views_share_frames_and_numbers() {
    let mut views = Views::default();
    let (mine, both) = (Followed::new(["p/1/"]), Followed::new(["p/2/", "p/1/"]));
    let first = views.enter(1, Some(&mine));
    assert_eq!((views.enter(2, Some(&mine)), views.enter(3, None)), (first, ALL));
    let second = views.enter(4, Some(&both));
    let mut table = EntryTable::complete();
    let changed = |views: &mut Views, table: &mut EntryTable, keys: &[&str]| -> Vec<(ViewId, u64, String)> {
        let writes: Vec<_> = keys.iter().map(|key| (*key, Some("1"))).collect();
        let changes = written(table, &writes);
        views.change(&changes).iter().map(|change| (change.view, change.number, change.patch())).collect()
    };
    let found = changed(&mut views, &mut table, &["p/1/a", "p/3/b"]);
    let one = || r#"{"p/1/a":1}"#.to_owned();
    assert_eq!(found, [(ALL, 2, r#"{"p/1/a":1,"p/3/b":1}"#.into()), (first, 2, one()), (second, 2, one())]);
    let found = changed(&mut views, &mut table, &["p/2/c"]);
    assert_eq!(found, [(ALL, 3, r#"{"p/2/c":1}"#.into()), (second, 3, r#"{"p/2/c":1}"#.into())]);
    assert_eq!(changed(&mut views, &mut table, &["p/2/c"]), [], "the same value again");
    assert_eq!(views.members(first).collect::<Vec<_>>(), [1, 2]);
    views.leave(4, second);
    assert_eq!(views.followed(second), None, "a view without members is removed");
    assert_eq!(changed(&mut views, &mut table, &["p/2/d"]).len(), 1);
    assert_ne!(views.enter(4, Some(&both)), ALL);
}

#[test]
fn a_ninth_offset_gets_the_whole_state() {
    let behind = |number| Behind { view: ALL, since: 1, number };
    let none = BTreeSet::new();
    let plan = |first, empty, offset| Some(CatchUp { first, empty, offset });
    assert_eq!(behind(10).catch_up(11, true, &none), plan(11, 0, 0));
    assert_eq!(behind(10).catch_up(43, true, &none), plan(11, 32, 0), "up to 32 empty messages");
    assert_eq!(behind(10).catch_up(44, true, &none), plan(11, 0, 33));
    assert_eq!(behind(10).catch_up(44, true, &[0, 20].into()), plan(11, 13, 20), "another member has this offset");
    assert_eq!(behind(10).catch_up(12, false, &none), plan(11, 2, 0));
    let eight: BTreeSet<u32> = (0..9).map(|offset| offset * 100).collect();
    assert_eq!(behind(10).catch_up(961, true, &eight), None);
    assert_eq!(behind(10).catch_up(821, true, &eight), plan(11, 10, 800));
    let seven: BTreeSet<u32> = (0..8).map(|offset| offset * 100).collect();
    assert_eq!(behind(10).catch_up(961, true, &seven), plan(11, 0, 950));
}
