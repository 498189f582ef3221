//! The texts of the statements. They are prepared once for each connection.

use tokio_postgres::{Client, Error, Statement};

/// The statements of a connection that reads.
pub(super) struct Reading {
    /// The value of a place.
    pub(super) get: Statement,
    /// The values of some places.
    pub(super) get_many: Statement,
    pub(super) scan_forward: Statement,
    pub(super) scan_backward: Statement,
    /// Those of a node of a cluster.
    pub(super) shared: Option<SharedReading>,
}

/// The statements of a connection that reads for a node of a cluster. Each result has the revision of the plugin at that moment.
pub(super) struct SharedReading {
    pub(super) get: Statement,
    pub(super) scan_forward: Statement,
    pub(super) scan_backward: Statement,
    /// Whether spans are as they were at a revision.
    pub(super) look: Statement,
}

/// The statements of a connection on which a node of a cluster commits.
pub(super) struct Committing {
    pub(super) commit: Statement,
    pub(super) settle: Statement,
    pub(super) prune: Statement,
    /// Sets a number of the metadata, unless a greater one is there: they have their most significant byte first.
    pub(super) raise: Statement,
}

/// The statements of the connection that writes.
pub(super) struct Writing {
    pub(super) commit: Statement,
    pub(super) settle: Statement,
}

/// The first rows of a span, in an order, with the number of those that there are within the limit of rows.
fn scan(schema: &str, order: &str) -> String {
    // The database adds up the sizes without reading large values: those have their length outside of them.
    format!(
        "SELECT place, value, found FROM (\
             SELECT place, value, count(*) OVER () AS found, row_number() OVER w AS at, \
                    sum(octet_length(place) + octet_length(value)) OVER (w ROWS UNBOUNDED PRECEDING) AS size \
             FROM (SELECT place, value FROM {schema}.data WHERE place >= $1 AND place < $2 ORDER BY place {order} LIMIT $3) \
                  AS first_ones \
             WINDOW w AS (ORDER BY place {order})\
         ) AS sized WHERE at = 1 OR size <= $4 ORDER BY place {order}"
    )
}

impl Reading {
    pub(super) async fn prepare(client: &Client, schema: &str) -> Result<Self, Error> {
        let get = format!("SELECT value FROM {schema}.data WHERE place = $1");
        let get_many = format!("SELECT place, value FROM {schema}.data WHERE place = ANY ($1)");
        let (forward, backward) = (scan(schema, "ASC"), scan(schema, "DESC"));
        let (get, get_many, scan_forward, scan_backward) = tokio::try_join!(
            client.prepare(&get),
            client.prepare(&get_many),
            client.prepare(&forward),
            client.prepare(&backward)
        )?;
        Ok(Self { get, get_many, scan_forward, scan_backward, shared: None })
    }
}

impl SharedReading {
    pub(super) async fn prepare(client: &Client, schema: &str) -> Result<Self, Error> {
        // A plugin that nothing was written for has no head. One statement sees one moment.
        let revision =
            |plugin: &str| format!("coalesce((SELECT rev FROM {schema}.head WHERE plugin = {plugin}), 0) AS rev");
        let get = format!("SELECT (SELECT value FROM {schema}.data WHERE place = $2), {}", revision("$1"));
        let scan = |order: &str| {
            format!(
                "SELECT place, value, found, rev FROM (SELECT {}) AS head LEFT JOIN ({}) AS rows ON true ORDER BY place {order}",
                revision("$5"),
                scan(schema, order)
            )
        };
        let (forward, backward) = (scan("ASC"), scan("DESC"));
        let look = format!("SELECT is_current FROM {schema}.look($1, $2, $3, $4)");
        let (get, scan_forward, scan_backward, look) = tokio::try_join!(
            client.prepare(&get),
            client.prepare(&forward),
            client.prepare(&backward),
            client.prepare(&look)
        )?;
        Ok(Self { get, scan_forward, scan_backward, look })
    }
}

impl Committing {
    pub(super) async fn prepare(client: &Client, schema: &str) -> Result<Self, Error> {
        let answer = "revision, verdicts, sizes";
        let commit = format!(
            "SELECT {answer} FROM {schema}.commit_drafts($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
        );
        let settle = format!("SELECT {answer} FROM {schema}.settle_drafts($1, $2, $3, $4)");
        let prune = format!("SELECT {schema}.prune_log($1, $2, $3)");
        let raise = format!(
            "INSERT INTO {schema}.data (place, value) VALUES ($1, $2) \
             ON CONFLICT (place) DO UPDATE SET value = greatest(data.value, excluded.value) RETURNING 1"
        );
        let (commit, settle, prune, raise) = tokio::try_join!(
            client.prepare(&commit),
            client.prepare(&settle),
            client.prepare(&prune),
            client.prepare(&raise)
        )?;
        Ok(Self { commit, settle, prune, raise })
    }
}

impl Writing {
    pub(super) async fn prepare(client: &Client, schema: &str) -> Result<Self, Error> {
        let commit = format!("SELECT {schema}.commit_batch($1, $2, $3, $4, $5)");
        let settle = format!("SELECT {schema}.settle_batch($1, $2)");
        let (commit, settle) = tokio::try_join!(client.prepare(&commit), client.prepare(&settle))?;
        Ok(Self { commit, settle })
    }
}
