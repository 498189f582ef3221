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
}

/// The statements of the connection that writes.
pub(super) struct Writing {
    pub(super) commit: Statement,
    pub(super) settle: Statement,
}

impl Reading {
    pub(super) async fn prepare(client: &Client, schema: &str) -> Result<Self, Error> {
        let scan = |order: &str| {
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
        };
        let get = format!("SELECT value FROM {schema}.data WHERE place = $1");
        let get_many = format!("SELECT place, value FROM {schema}.data WHERE place = ANY ($1)");
        let (forward, backward) = (scan("ASC"), scan("DESC"));
        let (get, get_many, scan_forward, scan_backward) = tokio::try_join!(
            client.prepare(&get),
            client.prepare(&get_many),
            client.prepare(&forward),
            client.prepare(&backward)
        )?;
        Ok(Self { get, get_many, scan_forward, scan_backward })
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
