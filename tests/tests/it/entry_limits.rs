//! Exceeds every limit of entries.

use anyhow::Result;
use bennu_tests::Cast;

use crate::limits::limited;

/// Asserts that an event in a topic with entries succeeds with the limit `well`, and is a fault with the limit `fault`. The
/// fault changes no entry, and doesn't affect the other member.
async fn divides(key: &str, well: u64, fault: u64, event: &str) -> Result<()> {
    for (value, is_well) in [(well, true), (fault, false)] {
        let host = limited(key, value).await?;
        let mut cast = Cast::new(&host);
        cast.play("bob > join unruly:1\nbob < ok {}\nalice > join unruly:1\nalice < ok {}").await?;
        let answer = if is_well { "ok …" } else { "phx_error" };
        cast.play(&format!("alice > {event}\nalice < {answer}")).await?;
        if !is_well {
            cast.play("bob > entries {\"prefix\": \"\"}\nbob < ok []").await?;
            host.log().find(0, "the fault", |line| line.field("kind") == "oversize").await?;
        }
        drop(cast);
        host.stop().await?;
    }
    Ok(())
}

/// With its key, it has 13 bytes. Its value is a text of ten letters in MessagePack.
const ENTRY: &str = r#"entry_put {"key": "k1", "value": "0123456789"}"#;

#[tokio::test]
async fn entry_bytes() -> Result<()> {
    divides("entry_bytes", 11, 10, ENTRY).await
}

#[tokio::test]
async fn entry_writes_per_call() -> Result<()> {
    divides("entry_writes_per_call", 4097, 4096, "entries_many").await
}

#[tokio::test]
async fn entry_write_bytes_per_call() -> Result<()> {
    divides("entry_write_bytes_per_call", 13, 12, ENTRY).await
}

#[tokio::test]
async fn entries_bytes_per_topic() -> Result<()> {
    divides("entries_bytes_per_topic", 13, 12, ENTRY).await
}

#[tokio::test]
async fn entries_memory_bytes() -> Result<()> {
    divides("entries_memory_bytes", 64 + 13, 64 + 12, ENTRY).await
}
