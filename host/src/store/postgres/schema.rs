//! The tables and functions in the database, and how an earlier version of them becomes the present one.

use bennu_cluster::Speaks;
use bennu_cluster::postgres::{REGISTRY_STEP, SCHEMA_STEP};
use tokio_postgres::{Client, Transaction};

use super::connection::Unusable;

/// The version of the schema that this host makes and knows.
const VERSION: i32 = 2;

/// The first key of the locks that hosts take in the database: the bytes "benn".
pub(super) const LOCKS: i32 = i32::from_be_bytes(*b"benn");

/// The steps from each version to the next one. A step that was released isn't changed any more.
const STEPS: [&[&str]; VERSION as usize] =
    [&[include_str!("schema/1.sql")], &[SCHEMA_STEP, include_str!("schema/2.sql"), REGISTRY_STEP]];

/// Makes the schema, or brings it to the present version. One host does it at a time, in one transaction. `speaks` are the versions of the
/// protocol that a node of a cluster understands.
///
/// # Errors
/// If the role may not, the schema is of a later version, or it is of an earlier one and a living node has no version of the protocol in
/// common with this one. Then nothing is changed.
pub(super) async fn migrate(client: &mut Client, schema: &str, speaks: Option<Speaks>) -> Result<(), Unusable> {
    let transaction = client.transaction().await?;
    let lock = lock_key(&format!("{schema} schema"));
    transaction.execute("SELECT pg_advisory_xact_lock($1, $2)", &[&LOCKS, &lock]).await?;
    let table = format!("{schema}.version");
    let is_there: bool = transaction.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table]).await?.get(0);
    let found = if is_there {
        transaction.query_one(&format!("SELECT version FROM {table}"), &[]).await?.get(0)
    } else {
        // Not `IF NOT EXISTS` alone: that needs the right to create a schema even if it is there.
        let query = "SELECT to_regnamespace($1) IS NOT NULL";
        let has_schema: bool = transaction.query_one(query, &[&schema]).await?.get(0);
        if !has_schema {
            transaction.batch_execute(&format!("CREATE SCHEMA {schema}")).await?;
        }
        0
    };
    if !(0..=VERSION).contains(&found) {
        return Err(Unusable::Unfit(format!(
            "the schema {schema} has version {found}, and this version of bennu knows version {VERSION}: use the version of \
             bennu that made it, or a later one"
        )));
    }
    if let Some(speaks) = speaks.filter(|_| found < VERSION) {
        check_nodes(&transaction, schema, speaks).await?;
    }
    for step in STEPS.iter().skip(usize::try_from(found).unwrap_or(usize::MAX)) {
        for part in *step {
            transaction.batch_execute(&filled(part, schema)).await?;
        }
    }
    transaction.commit().await?;
    if found < VERSION {
        tracing::info!("the schema {schema} was brought from version {found} to version {VERSION}");
    }
    Ok(())
}

/// Checks that a node can talk to all living ones. Without that, it would be refused when it enters its cluster, which is after the
/// schema was changed. A node that starts at the same time is found there.
async fn check_nodes(transaction: &Transaction<'_>, schema: &str, speaks: Speaks) -> Result<(), Unusable> {
    let table = format!("{schema}.node");
    // The first version of the schema has none.
    if !transaction.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table]).await?.try_get::<_, bool>(0)? {
        return Ok(());
    }
    let query = format!(
        "SELECT left(name, 256), left(version, 256), speaks_from, speaks_to FROM {table} \
         WHERE NOT is_dead AND (speaks_to < $1 OR speaks_from > $2) ORDER BY epoch LIMIT 1"
    );
    let found = transaction.query_opt(&query, &[&i32::from(speaks.from), &i32::from(speaks.to)]).await?;
    let Some(row) = found else { return Ok(()) };
    let (name, version): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
    let (from, to): (i32, i32) = (row.try_get(2)?, row.try_get(3)?);
    Err(Unusable::Unfit(format!(
        "the schema {schema} has to be changed, and the node {name} of the cluster runs {version} and understands the versions {from} \
         to {to} of the protocol, of which this node understands none: nothing was changed; start a version between the two first, \
         or stop all nodes"
    )))
}

/// Returns the second key of a lock, from its name. Other applications can use the same key, and then one of both would wait.
pub(super) fn lock_key(name: &str) -> i32 {
    crc32fast::hash(name.as_bytes()).cast_signed()
}

/// Returns the name of the lock that a host has which writes.
pub(super) fn writer_lock(schema: &str) -> String {
    format!("{schema} writer")
}

fn filled(step: &str, schema: &str) -> String {
    let lock = format!("{LOCKS}, {}", lock_key(&writer_lock(schema)));
    step.replace("{schema}", schema).replace("{writer_lock}", &lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_in_the_statements_has_the_schema() {
        let made: String = STEPS.iter().flat_map(|step| *step).map(|part| filled(part, "other")).collect();
        assert!(!made.contains('{') && !made.contains("bennu."), "{made}");
        for object in ["TABLE", "FUNCTION", "VIEW"] {
            let create = format!("CREATE {object} ");
            assert!(made.split(&create).skip(1).all(|rest| rest.starts_with("other.")), "{object}");
        }
    }
}
