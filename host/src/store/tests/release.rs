//! A store whose files are given up for another process.

use anyhow::Result;
use bytes::Bytes;

use super::super::{CommitError, Owner, Store, StoreLimits};

async fn put(store: &Store, value: &'static str) -> Result<(), CommitError> {
    let owner = Owner::new("game", u64::MAX).expect("a name");
    let mut draft = store.begin(&owner);
    draft.set_room("room:1", Some(Bytes::from_static(value.as_bytes()))).expect("it is small");
    store.commit(draft).await.map(drop)
}

async fn get(store: &Store) -> Option<Bytes> {
    let owner = Owner::new("game", u64::MAX).expect("a name");
    store.begin(&owner).room("room:1").await.expect("it can be read")
}

#[tokio::test(flavor = "multi_thread")]
async fn another_store_can_open_released_files_and_its_commits_are_seen_after_a_reclaim() -> Result<()> {
    let place = tempfile::tempdir()?;
    let first = Store::open(place.path(), StoreLimits::default()).await?;
    first.keep_ids().await?;
    let before = first.unique_id();
    put(&first, "one").await?;
    assert!(Store::open(place.path(), StoreLimits::default()).await.is_err(), "it is in use");
    first.release().await?;
    assert!(put(&first, "lost").await.is_err_and(|error| error.to_string().contains("handed over")));
    assert_eq!(first.trouble(), None);

    let second = Store::open(place.path(), StoreLimits::default()).await?;
    second.keep_ids().await?;
    assert_eq!(get(&second).await.as_deref(), Some(&b"one"[..]));
    let between = second.unique_id();
    put(&second, "two").await?;
    let refusal = first.reclaim().await.expect_err("the second store has the files").to_string();
    assert!(refusal.contains("in use"), "{refusal}");
    second.close().await;

    first.reclaim().await?;
    assert_eq!(get(&first).await.as_deref(), Some(&b"two"[..]));
    let after = first.unique_id();
    assert!(before < between && between < after, "{before} {between} {after}");
    put(&first, "three").await?;
    first.close().await;
    let third = Store::open(place.path(), StoreLimits::default()).await?;
    assert_eq!(get(&third).await.as_deref(), Some(&b"three"[..]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_killed_after_a_reclaim_loses_nothing() -> Result<()> {
    let place = tempfile::tempdir()?;
    let first = Store::open(place.path(), StoreLimits::default()).await?;
    first.release().await?;
    first.reclaim().await?;
    put(&first, "one").await?;
    let copy = tempfile::tempdir()?;
    for entry in std::fs::read_dir(place.path())? {
        let entry = entry?;
        std::fs::copy(entry.path(), copy.path().join(entry.file_name()))?;
    }
    let second = Store::open(copy.path(), StoreLimits::default()).await?;
    assert_eq!(get(&second).await.as_deref(), Some(&b"one"[..]));
    Ok(())
}
