//! Exports a store and imports it again.

use super::*;
use crate::store::{Existing, Imported};

fn some_store(random: &mut Random) -> Store {
    let store = memory();
    for name in ["a", "b", "a b\n\"", "ü"] {
        let mut draft = store.begin(&owner(name));
        for _ in 0..random.below(40) {
            draft.put(&random.key(), random.value()).unwrap();
        }
        if random.one_in(2) {
            draft.set_room("room:ä\0", Some(random.value())).unwrap();
            let former = random.one_in(2).then(|| random.value());
            draft.set_former("room:ä\0", former).unwrap();
        }
        now(store.commit(draft)).unwrap();
    }
    store
}

fn exported(store: &Store) -> String {
    let mut out = Vec::new();
    now(store.export(None, &mut out)).unwrap();
    String::from_utf8(out).unwrap()
}

/// The rows of an export, without its first and last line.
fn rows(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().collect();
    lines[1..lines.len() - 1].to_vec()
}

fn import(store: &Store, text: &str, existing: Existing) -> anyhow::Result<Imported> {
    now(store.import(&mut text.as_bytes(), existing))
}

fn refused(text: &str) -> String {
    format!("{:#}", import(&memory(), text, Existing::Refuse).unwrap_err())
}

#[test]
fn an_import_restores_the_exported_store() {
    for mut random in Random::runs(30) {
        let store = some_store(&mut random);
        let text = exported(&store);
        let limits = StoreLimits {
            writes_per_call: random.pick(&[1, 3, 1000]),
            write_bytes_per_call: random.pick(&[20, 1000]),
            ..StoreLimits::default()
        };
        let other = Store::in_memory(limits).unwrap();
        let imported = import(&other, &text, Existing::Refuse).unwrap();
        assert_eq!(imported.rows as usize, text.lines().count() - 2);
        assert_eq!(imported.plugins as usize, now(store.usages()).unwrap().len());
        assert_eq!(exported(&other), text);
        assert_eq!(now(other.usages()).unwrap(), now(store.usages()).unwrap());
        // Importing the same data again changes nothing. With `Replace`, other data of the same plugins is deleted.
        import(&other, &text, Existing::Merge).unwrap();
        assert_eq!(exported(&other), text);
        let third = some_store(&mut random);
        let before = exported(&third);
        import(&third, &text, Existing::Replace).unwrap();
        for (name, bytes) in now(store.usages()).unwrap() {
            assert_eq!(now(third.usage(&name)).unwrap(), bytes, "{before}");
        }
    }
}

#[test]
fn one_plugin_can_be_exported_alone() {
    let mut random = Random::new(5);
    let store = some_store(&mut random);
    let mut out = Vec::new();
    let rows = now(store.export(Some(&owner("a")), &mut out)).unwrap().rows;
    let other = memory();
    let imported = import(&other, std::str::from_utf8(&out).unwrap(), Existing::Refuse).unwrap();
    assert_eq!(imported, Imported { rows, plugins: 1 });
    assert_eq!(now(other.usages()).unwrap(), [("a".to_owned(), now(store.usage("a")).unwrap())]);
}

#[test]
fn large_stores_are_exported_and_imported_in_pages() {
    let store = memory();
    for page in 0..5 {
        let mut draft = store.begin(&owner("a"));
        (0..500).for_each(|n| draft.put(format!("{page}{n:04}").as_bytes(), vec![b'x'; 3000].into()).unwrap());
        now(store.commit(draft)).unwrap();
    }
    let text = exported(&store);
    let other = memory();
    assert_eq!(import(&other, &text, Existing::Refuse).unwrap().rows, 2500);
    assert_eq!(exported(&other), text);
    // With `Replace`, all of it is deleted again.
    let one = format!("{HEAD}\n{ROW}\n{{\"rows\":1}}\n");
    import(&other, &one, Existing::Replace).unwrap();
    assert_eq!(rows(&exported(&other)), [ROW]);
}

const HEAD: &str = r#"{"format":"bennu-store","version":1}"#;
const ROW: &str = r#"{"plugin":"a","key":"k","value":"v"}"#;

#[test]
fn an_invalid_line_is_refused_with_its_number() {
    for (lines, reason) in [
        (&[][..], "line 1: it is no JSON object"),
        (&[ROW], "line 1: it isn't the first line of an export"),
        (&[HEAD, "{"], "line 2: EOF"),
        (&[HEAD, ROW, "", r#"{"rows":1}"#], "line 3: it is no JSON object"),
        (&[HEAD, ROW, r#"{"plugin":"a","key":"","value":"v"}"#], "line 3: a key in the store has at least one byte"),
        (&[HEAD, r#"{"plugin":"","key":"k","value":"v"}"#], "line 2: a plugin's name has 0 bytes"),
        (&[HEAD, ROW], "it is truncated after 1 rows: its last line, {\"rows\":..}, is missing"),
        (&[HEAD, ROW, r#"{"rows":2}"#], "line 3: it says that the export has 2 rows, but there are 1"),
        (&[HEAD, ROW, r#"{"rows":1}"#, ROW], "line 4: the line before it was the last one"),
        (&[HEAD, HEAD], "line 2: another export begins"),
    ] {
        let text = lines.join("\n");
        assert!(refused(&text).contains(reason), "{}", refused(&text));
    }
    let long = format!("{HEAD}\n{}", "x".repeat(8 << 20));
    assert!(refused(&long).contains("line 2: it has more than"), "{}", refused(&long));
}

#[test]
fn a_plugins_data_is_not_overwritten_by_default() {
    let store = memory();
    let text = format!("{HEAD}\n{ROW}\n{{\"rows\":1}}\n");
    import(&store, &text, Existing::Refuse).unwrap();
    let error = format!("{:#}", import(&store, &text, Existing::Refuse).unwrap_err());
    assert!(error.contains("line 2: the plugin `a` already has 2 bytes in the store: --merge keeps"), "{error}");
}

#[test]
fn an_imported_room_has_its_own_former_state_and_no_other() {
    let room = |before: &str| {
        let room = format!("{HEAD}\n{{\"plugin\":\"a\",\"room\":\"r\",\"value\":\"new\"}}\n{before}");
        format!("{room}{{\"rows\":{}}}\n", room.lines().count() - 1)
    };
    let with_former = room("{\"plugin\":\"a\",\"room_before\":\"r\",\"value\":\"old\"}\n");
    let store = memory();
    import(&store, &with_former, Existing::Refuse).unwrap();
    assert_eq!(rows(&exported(&store)), rows(&with_former));
    import(&store, &room(""), Existing::Merge).unwrap();
    assert_eq!(rows(&exported(&store)), rows(&room("")), "the former state of the replaced room is deleted");
    import(&store, &with_former, Existing::Replace).unwrap();
    import(&store, &room(""), Existing::Replace).unwrap();
    assert_eq!(rows(&exported(&store)), rows(&room("")));
}
