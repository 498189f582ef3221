//! Backups: an export while commits go on, and a restore.

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::path::Path;

use super::engines::SMALL;
use super::*;
use crate::store::space::{Kind, entry_name};
use crate::store::{Checked, Existing, ExportReader, Exporter, Exporting, Imported, InUse};

/// Writes the same number under several keys, in a room, and in an entry of another topic.
fn count(store: &Store, number: u64) {
    let value = || Bytes::from(number.to_string());
    let mut draft = store.begin(&owner("chat"));
    for key in ["first", "middle", "za"] {
        draft.put(key.as_bytes(), value()).unwrap();
    }
    draft.set_room("room:1", Some(value())).unwrap();
    draft.set_entry_row(
        Kind::Entries,
        &entry_name("room:2", b"k").unwrap(),
        Some([&[0; 4], &value()[..]].concat().into()),
    );
    now(store.commit(draft)).unwrap();
}

/// Fills a store with rows between those of [`count`], so that an export has many parts.
fn fill(store: &Store) {
    for page in 0..20 {
        let mut draft = store.begin(&owner("chat"));
        for n in 0..100 {
            draft.put(format!("m{page:02}{n:02}").as_bytes(), vec![b'x'; 1000].into()).unwrap();
        }
        now(store.commit(draft)).unwrap();
    }
}

fn whole(exporter: &mut Exporter) -> String {
    let mut text = Vec::new();
    while let Some(part) = now(exporter.next()).unwrap() {
        text.extend(part);
    }
    String::from_utf8(text).unwrap()
}

fn checked(text: &str) -> Checked {
    ExportReader::of_any_host(text.as_bytes()).check().unwrap()
}

/// Between two parts, other calls commit. The small log begins a checkpoint every few commits.
#[tokio::test]
async fn an_export_shows_one_moment_while_commits_and_checkpoints_go_on() {
    let disk = Disk::default();
    let limits = LogLimits { table_bytes: 20_000, batch_bytes: 4096, ..SMALL };
    let engine = logged_with(&disk, 1 << 20, limits).unwrap();
    let store = Store::over(Box::new(engine), StoreLimits::default()).await.unwrap();
    let commit = async |number: u64| {
        let value = Bytes::from(number.to_string());
        let mut draft = store.begin(&owner("chat"));
        ["first", "middle", "za"].into_iter().for_each(|key| draft.put(key.as_bytes(), value.clone()).unwrap());
        draft.set_room("room:1", Some(value)).unwrap();
        store.commit(draft).await.unwrap();
    };
    let mut draft = store.begin(&owner("chat"));
    (0..3000).for_each(|n| draft.set_former(&format!("m{n:04}"), Some(vec![b'x'; 300].into())).unwrap());
    store.commit(draft).await.unwrap();
    let mut number = 0;
    let checkpoints = store.log_counts().checkpoints();
    for round in 0..5 {
        number += 1;
        commit(number).await;
        let (expected, mut exporter) = (number, store.exporter(None));
        let (mut text, mut parts) = (Vec::new(), 0);
        while let Some(part) = exporter.next().await.unwrap() {
            text.extend(part);
            parts += 1;
            for _ in 0..10 {
                number += 1;
                commit(number).await;
            }
        }
        let text = String::from_utf8(text).unwrap();
        assert_eq!((checked(&text).rows, parts > 3), (3004, true), "{parts} parts in round {round}");
        let value = format!("\"value\":\"{expected}\"}}");
        assert_eq!(text.lines().filter(|line| line.ends_with(&value)).count(), 4, "round {round}: {expected}");
    }
    assert!(store.log_counts().checkpoints() > checkpoints + 5, "the test must cause checkpoints");
    store.close().await;
}

/// Returns a file with this text.
fn file(text: &str) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.rewind().unwrap();
    file
}

async fn restore(text: &str, directory: &Path) -> anyhow::Result<Imported> {
    Store::restore(&file(text), directory, StoreLimits::default(), |_, _, _| ()).await
}

#[tokio::test]
async fn a_restored_store_has_the_same_export_and_the_directory_no_other_file() {
    let store = memory();
    fill(&store);
    count(&store, 7);
    let text = whole(&mut store.exporter(None));
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("new").join("data");
    let restored = restore(&text, &directory).await.unwrap();
    assert_eq!(restored, Imported { rows: 2005, plugins: 1 });
    let names: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["bennu.redb"]);
    let opened = Store::open(&directory, StoreLimits::default()).await.unwrap();
    let mut again = opened.exporter(None);
    let mut found = Vec::new();
    while let Some(part) = again.next().await.unwrap() {
        found.extend(part);
    }
    assert_eq!(String::from_utf8(found).unwrap(), text);
    assert_eq!(opened.usages().await.unwrap(), now(store.usages()).unwrap());
    opened.close().await;
}

#[tokio::test]
async fn a_damaged_backup_and_a_directory_in_use_are_refused_and_nothing_is_left() {
    let store = memory();
    count(&store, 7);
    let text = whole(&mut store.exporter(None));
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("data");
    let refused = async |text: &str| format!("{:#}", restore(text, &directory).await.unwrap_err());
    let damaged = refused(&text.replace("\"za\"", "\"zb\"")).await;
    assert!(damaged.starts_with("the backup is invalid: line 7: its `sha256` isn't"), "{damaged}");
    assert!(refused(&text[..text.len() / 2]).await.contains("the backup is invalid"));
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    // What an interrupted restore has left, and what a file system has.
    fs::create_dir(directory.join("restore.partial")).unwrap();
    fs::write(directory.join("restore.partial/bennu.redb"), "half").unwrap();
    fs::create_dir(directory.join("lost+found")).unwrap();
    restore(&text, &directory).await.unwrap();
    let full = refused(&text).await;
    assert!(full.contains("isn't empty: it has bennu.redb; a backup is restored into an empty directory"), "{full}");
    let opened = Store::open(&directory, StoreLimits::default()).await.unwrap();
    let error = restore(&text, &directory).await.unwrap_err();
    assert!(error.is::<InUse>(), "{error:#}");
    opened.close().await;
}

/// The limits of the host that restores are lower than those of the host that made the backup.
#[tokio::test]
async fn a_backup_is_restored_whatever_the_limits_are() {
    let large = StoreLimits { value_bytes: 20 << 20, write_bytes_per_call: 20 << 20, ..StoreLimits::default() };
    let store = Store::in_memory(large).unwrap();
    let mut draft = store.begin(&owner("chat"));
    draft.put(b"large", vec![0; 10 << 20].into()).unwrap();
    now(store.commit(draft)).unwrap();
    let place = tempfile::tempdir().unwrap();
    let text = whole(&mut store.exporter(None));
    assert_eq!(restore(&text, place.path()).await.unwrap().rows, 1);
}

#[test]
fn an_export_can_be_read_as_bytes() {
    let store = memory();
    fill(&store);
    let mut text = String::new();
    store.exporter(Some(&owner("chat"))).into_read().read_to_string(&mut text).unwrap();
    assert_eq!((checked(&text).rows, text), (2000, whole(&mut store.exporter(Some(&owner("chat"))))));
    let mut none = String::new();
    store.exporter(Some(&owner("other"))).into_read().read_to_string(&mut none).unwrap();
    assert_eq!(checked(&none).rows, 0);
    assert_eq!(now(memory().import(&mut none.as_bytes(), Existing::Refuse)).unwrap(), Imported::default());
}

#[tokio::test]
async fn a_host_makes_one_export_at_a_time_and_it_ends_with_its_reader() {
    let store = memory();
    fill(&store);
    let mut first = store.export_stream(None).unwrap().unwrap();
    assert_eq!(store.export_stream(None).unwrap().err(), Some(Exporting));
    let begun = first.recv().await.unwrap();
    assert!(begun.starts_with(b"{\"format\""));
    drop(first);
    // The thread ends at its next part, and then another export is possible.
    let place = store.exporting().acquire().await.unwrap();
    drop(place);
    let (mut second, mut text) = (store.export_stream(None).unwrap().unwrap(), Vec::new());
    while let Some(part) = second.recv().await {
        text.extend(part);
    }
    assert_eq!(checked(std::str::from_utf8(&text).unwrap()).rows, 2000);
}
