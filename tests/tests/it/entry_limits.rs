//! Exceeds every limit of entries.

use anyhow::Result;
use bennu_tests::Cast;

use crate::limit_counts::stop_after_hits;
use crate::limits::limited;

/// Asserts that an event in a topic with entries succeeds with the limit `well`, and is a fault with the limit `fault`. The
/// fault changes no entry, and doesn't affect the other member.
async fn divides(key: &str, well: u64, fault: u64, event: &str) -> Result<()> {
    let joins = "bob > join unruly:1\nbob < ok {}\nalice > join unruly:1\nalice < ok {}";
    let neighbor = "bob > entries {\"prefix\": \"\"}\nbob < ok []";
    divides_in(key, [(well, "alice < ok …"), (fault, "alice < phx_error")], [joins, event, neighbor]).await
}

/// Plays an event with two values of a limit, of which the second one is exceeded. `joins` are the lines before the event,
/// and `neighbor` are the lines of the other member after the fault.
async fn divides_in(key: &str, [well, fault]: [(u64, &str); 2], [joins, event, neighbor]: [&str; 3]) -> Result<()> {
    for (value, answer) in [well, fault] {
        let host = limited(key, value).await?;
        let mut cast = Cast::new(&host);
        cast.play(joins).await?;
        cast.play(&format!("alice > {event}\n{answer}")).await?;
        if value == fault.0 {
            cast.play(neighbor).await?;
            host.log().find(0, "the fault", |line| line.field("kind") == "oversize").await?;
        }
        drop(cast);
        stop_after_hits(host, &[key][usize::from(value != fault.0)..]).await?;
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

/// Two members of a topic that publishes entries.
const PUBLIC: &str = "bob > join public:1
bob < ok {}
bob < room_state {\"n\": 1, \"state\": {}}
alice > join public:1
alice < ok {}
alice < room_state {\"n\": 1, \"state\": {}}";

#[tokio::test]
async fn published_bytes() -> Result<()> {
    // A field of the object has the key in quotes, a colon, the value and a comma.
    let sent = "alice < room_diff {\"n\": 2, \"patch\": {\"p/1\": 12}}\nalice < ok {}";
    let answers = [(5 + 1 + 2 + 1, sent), (5 + 1 + 2, "alice < phx_error")];
    divides_in("published_bytes", answers, [PUBLIC, "put {\"p/1\": 12, \"private\": \"text\"}", "bob ~"]).await
}

#[tokio::test]
async fn follows_per_member() -> Result<()> {
    let sent = "alice < ok {}\nalice < room_state {\"n\": 1, \"state\": {}}";
    let event = "follows {\"prefix\": \"p/\", \"count\": 3}";
    divides_in("follows_per_member", [(3, sent), (2, "alice < phx_error")], [PUBLIC, event, "bob ~"]).await
}
