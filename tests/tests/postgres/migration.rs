//! A schema of an earlier version: the host brings it to the present one, and serves what is stored in it.

use anyhow::{Result, ensure};
use bennu_tests::{PostgresServer, Setup, check};
use rustix::process::Signal;

use crate::{config, database};

/// The first version of the schema, as the host makes it.
const FIRST: &str = include_str!("../../../host/src/store/postgres/schema/1.sql");

/// What a host of that version has stored for the plugin `ledger`: the balances 5 and 200, a transfer, and how many bytes these rows have.
/// And what it has stored for itself: the format of the rows, the time that no id has reached, and how often a host has begun to write.
const ROWS: &str = r"
    UPDATE bennu.writer SET epoch = 7, batch = 3, host = 'earlier';
    INSERT INTO bennu.data (place, value) VALUES
        ('\x00'::bytea || 'format', int8send(3)),
        ('\x00'::bytea || 'ids', int8send(1700000000000)),
        ('\x00'::bytea || 'usage:ledger', int8send(90)),
        ('\x0106'::bytea || 'ledgeraccount:a', '\x05'),
        ('\x0106'::bytea || 'ledgeraccount:b', '\xccc8'),
        ('\x0106'::bytea || 'ledgerentry:0123456789abcdefghij',
            '\x84a5'::bytea || 'entry' || '\xb4'::bytea || '0123456789abcdefghij' || '\xa4'::bytea || 'from' || '\xa1'::bytea || 'a'
            || '\xa2'::bytea || 'to' || '\xa1'::bytea || 'b' || '\xa1'::bytea || 'n' || '\x02'::bytea)";

/// Whether the counted bytes of the plugin are those of its rows.
const COUNTED: &str = r"
    SELECT (SELECT sum(bennu.weight(place, octet_length(value))) FROM bennu.data) = ('x' || encode(value, 'hex'))::bit(64)::bigint
    FROM bennu.data WHERE place = '\x00'::bytea || 'usage:ledger'";

/// What no later start may change: the identity of the cluster, and the version.
const KEPT: &str = "SELECT id, version FROM bennu.cluster, bennu.version";

/// What the host logs when it changes the schema.
const SAID: &str = "the schema bennu was brought from version";

/// The objects of the schema, as a dump describes them.
fn objects(database: &str) -> Result<Vec<String>> {
    let dump = PostgresServer::shared()?.run("pg_dump", database, &["--schema=bennu", "--schema-only"])?;
    // The commands for `psql` have a random word in each dump.
    let statements = String::from_utf8(dump)?;
    Ok(statements.lines().filter(|line| !line.starts_with('\\')).map(str::to_owned).collect())
}

#[tokio::test]
async fn a_schema_of_the_first_version_is_brought_to_the_present_one_with_its_rows() -> Result<()> {
    let server = PostgresServer::shared()?;
    let (fresh, url) = database()?;
    Setup::new().config(&config(&url)).start().await?.stop().await?;
    let present = server.sql(&fresh, "SELECT version FROM bennu.version")?;
    let (name, url) = database()?;
    server.sql(&name, &format!("CREATE SCHEMA bennu; {} {ROWS}", FIRST.replace("{schema}", "bennu")))?;

    let host = Setup::new().guests(&["ledger"])?.config(&config(&url)).start().await?;
    let expected = format!("{SAID} 1 to version {present}");
    host.log().find(0, "the line about the schema", |line| line.message() == expected).await?;
    ensure!(objects(&name)? == objects(&fresh)?, "it differs from a schema that was made now");
    check(
        &host,
        r#"
        alice > join ledger:1
        alice < ok {}
        alice > audit
        alice < ok {"sum": 205, "accounts": 2, "entries": 1}
        alice > entries {"limit": 10}
        alice < ok {"entries": [{"entry": "0123456789abcdefghij", "from": "a", "to": "b", "n": 2}]}
        alice > deposit {"to": "c", "n": 1}
        alice < ok {"balance": 1}
        "#,
    )
    .await?;
    ensure!(server.sql(&name, COUNTED)? == "t", "the bytes of the plugin are counted wrong");
    ensure!(server.sql(&name, "SELECT epoch FROM bennu.writer")? == "8");

    let (kept, made) = (server.sql(&name, KEPT)?, objects(&name)?);
    let host = host.restart(Signal::TERM).await?;
    check(&host, AUDIT).await?;
    let log = host.stop().await?;
    ensure!(!log.since(0).iter().any(|line| line.message().starts_with(SAID)), "{}", log.tail(20));
    ensure!(server.sql(&name, KEPT)? == kept && objects(&name)? == made, "a second start has changed the schema");

    // The first version knew no nodes.
    let node = format!("{}[cluster]\nname = \"one\"\n", config(&url));
    let node = Setup::new().guests(&["ledger"])?.config(&node).start().await?;
    check(&node, AUDIT).await?;
    node.stop().await?;
    ensure!(server.sql(&name, KEPT)? == kept);
    Ok(())
}

const AUDIT: &str = r#"
    alice > join ledger:2
    alice < ok {}
    alice > audit
    alice < ok {"sum": 206, "accounts": 3, "entries": 1}
"#;
