//! The check of the files in a data directory: what is damaged is found, and nothing is changed.

use std::fs;
use std::path::Path;

use memchr::memmem;

use super::*;
use crate::store::directory::{self, FILE};
use crate::store::engine::Writes;
use crate::store::{CheckedFiles, InUse, check_files};

const CACHE: usize = 1 << 20;

/// The bytes of a header of the log, and of a record before its rows.
const BEFORE_ROWS: usize = 28 + 24;

fn check(directory: &Path) -> Result<CheckedFiles, String> {
    check_files(directory, CACHE).map_err(|error| format!("{error:#}"))
}

/// The names and contents of all files.
fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

/// Flips a bit at all places of a file with this text. Returns how many there are.
fn flip(file: &Path, text: &[u8]) -> usize {
    let mut bytes = fs::read(file).unwrap();
    let places: Vec<usize> = memmem::find_iter(&bytes, text).collect();
    places.iter().for_each(|at| bytes[*at] ^= 1);
    fs::write(file, bytes).unwrap();
    places.len()
}

/// Stores rows as a host does that ends in order.
async fn fill(directory: &Path, rows: usize) {
    let store = Store::open(directory, StoreLimits::default()).await.unwrap();
    for row in 0..rows {
        let mut draft = store.begin(&owner("chat"));
        draft.put(format!("row {row:03}").as_bytes(), vec![7; 2000].into()).unwrap();
        store.commit(draft).await.unwrap();
    }
    store.close().await;
}

#[tokio::test]
async fn a_flipped_bit_in_a_stored_page_is_found_and_the_file_stays_as_it_is() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    fill(&data, 100).await;
    let before = contents(&data);
    let file = data.join(FILE);
    let bytes = fs::metadata(&file).unwrap().len();
    assert_eq!(check(&data), Ok(CheckedFiles { file: file.clone(), bytes, commits: 0 }));
    assert_eq!(contents(&data), before);
    for row in [0, 50, 99] {
        assert!(flip(&file, format!("row {row:03}").as_bytes()) > 0);
        let damaged = contents(&data);
        let error = check(&data).unwrap_err();
        assert!(error.contains("bennu.redb is damaged, or isn't a store of bennu: DB corrupted"), "{error}");
        assert!(error.contains("restore a backup, or import an export if you have no backup"), "{error}");
        assert_eq!(contents(&data), damaged, "nothing is repaired");
        fs::write(&file, &before[FILE]).unwrap();
    }
    assert!(check(&data).is_ok());
}

#[tokio::test]
async fn a_damaged_header_and_a_file_that_is_cut_off_are_found() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    fill(&data, 10).await;
    let file = data.join(FILE);
    let whole = fs::read(&file).unwrap();
    // The name of the format; and the roots, which are in two places, of which one is the current one.
    for places in [&[0][..], &[72, 200]] {
        let mut damaged = whole.clone();
        places.iter().for_each(|at| damaged[*at..at + 9].fill(0xa5));
        fs::write(&file, damaged).unwrap();
        assert!(check(&data).is_err(), "{places:?}");
    }
    for length in [0, 1, 4096, whole.len() - 1] {
        fs::write(&file, &whole[..length]).unwrap();
        assert!(check(&data).is_err(), "{length} bytes");
    }
    fs::remove_file(&file).unwrap();
    assert!(check(&data).unwrap_err().contains("opening"));
    assert!(!file.exists() && check(&place.path().join("none")).unwrap_err().contains("opening the data directory"));
}

#[test]
fn the_log_that_a_crash_leaves_is_checked_too() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let mut engine = directory::open(&data, CACHE, LogLimits::default()).unwrap();
    for key in ["tree", "first", "second", "third"] {
        now(engine.apply(&Writes::from([(Bytes::from(key), Some(Bytes::from("value")))]))).unwrap();
    }
    let error = check_files(&data, CACHE).unwrap_err();
    assert!(error.is::<InUse>(), "{error:#}");
    drop(engine);
    let before = contents(&data);
    assert_eq!(check(&data).map(|checked| checked.commits), Ok(3));
    assert_eq!(contents(&data), before, "the log is still there");
    let log = data.join("bennu.redb-log1");
    let mut bytes = before["bennu.redb-log1"].clone();
    bytes[BEFORE_ROWS] ^= 1;
    fs::write(&log, bytes).unwrap();
    let error = check(&data).unwrap_err();
    assert!(
        error.contains("bennu.redb is undamaged, but its log files are damaged: commit 2 can't be read"),
        "{error}"
    );
}
