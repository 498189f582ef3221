//! A node of a cluster as the database knows it: its connection, its batches, and the answers, without any code of the host.

use std::fmt::Display;

use anyhow::{Context, Result};
use bennu::store::PostgresPlace;
use tokio_postgres::{Client, NoTls};

use crate::cluster::SPEAKS;
use crate::database;

/// The plugin that nodes write for.
pub(crate) const PLUGIN: &str = "p";

/// A node, with a connection of its own.
pub(crate) struct Node {
    pub(crate) client: Client,
    pub(crate) epoch: i64,
    pub(crate) incarnation: Vec<u8>,
    /// The number of the last batch.
    pub(crate) number: i64,
    /// The epoch of the last host without a cluster.
    pub(crate) opening: i64,
}

/// A draft, as the database gets it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draft {
    pub(crate) seen: i64,
    pub(crate) generation: Option<i64>,
    pub(crate) quota: Option<i64>,
    pub(crate) reads: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) writes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// What the database answers to a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) revision: i64,
    pub(crate) results: Vec<i32>,
    pub(crate) sizes: Vec<i64>,
}

pub(crate) const STORED: i32 = 0;
pub(crate) const CONFLICT: i32 = 1;
pub(crate) const OVER_QUOTA: i32 = 2;
pub(crate) const OTHER_GENERATION: i32 = 3;

/// Makes a database with the schema. Returns its name and its URL.
pub(crate) async fn prepared() -> Result<(String, String)> {
    let (name, url) = database()?;
    PostgresPlace::new(&url, None, "bennu")?.make_schema_for_node(SPEAKS).await?;
    Ok((name, url))
}

pub(crate) async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// The place of a row of the plugin: its kind, and its key.
pub(crate) fn place_of(kind: u8, key: &str) -> Vec<u8> {
    [&[kind, 1], PLUGIN.as_bytes(), key.as_bytes()].concat()
}

/// The place of a key.
pub(crate) fn at(key: &str) -> Vec<u8> {
    place_of(1, key)
}

impl Node {
    /// Adds a node to the table.
    pub(crate) async fn start(url: &str, name: &str) -> Result<Self> {
        let client = connect(url).await?;
        let incarnation = vec![name.len() as u8; 16];
        let hello = "SELECT epoch FROM bennu.node_hello($1, '1', $2, 1, 1, 10000, 'postgres', NULL)";
        let epoch = client.query_one(hello, &[&name, &incarnation]).await?.get(0);
        let opening = client.query_one("SELECT epoch FROM bennu.writer", &[]).await?.get(0);
        Ok(Self { client, epoch, incarnation, number: 0, opening })
    }

    /// The same node, with another connection.
    pub(crate) async fn again(&self, url: &str) -> Result<Self> {
        let client = connect(url).await?;
        let Self { epoch, number, opening, .. } = *self;
        Ok(Self { client, epoch, incarnation: self.incarnation.clone(), number, opening })
    }

    /// Commits drafts as the next batch.
    pub(crate) async fn commit(&mut self, drafts: &[Draft]) -> Result<Answer, tokio_postgres::Error> {
        self.number += 1;
        self.commit_as(self.number, drafts).await
    }

    pub(crate) async fn commit_as(&self, number: i64, drafts: &[Draft]) -> Result<Answer, tokio_postgres::Error> {
        let seen: Vec<i64> = drafts.iter().map(|draft| draft.seen).collect();
        let generations: Vec<Option<i64>> = drafts.iter().map(|draft| draft.generation).collect();
        let quotas: Vec<Option<i64>> = drafts.iter().map(|draft| draft.quota).collect();
        let numbered = || (1_i32..).zip(drafts);
        let reads = || numbered().flat_map(|(number, draft)| draft.reads.iter().map(move |read| (number, read)));
        let span_drafts: Vec<i32> = reads().map(|(number, _)| number).collect();
        let (froms, untils): (Vec<&[u8]>, Vec<&[u8]>) = reads().map(|(_, read)| (&*read.0, &*read.1)).unzip();
        let writes = || numbered().flat_map(|(number, draft)| draft.writes.iter().map(move |write| (number, write)));
        let write_drafts: Vec<i32> = writes().map(|(number, _)| number).collect();
        let places: Vec<&[u8]> = writes().map(|(_, write)| &*write.0).collect();
        let contents: Vec<Option<&[u8]>> = writes().map(|(_, write)| write.1.as_deref()).collect();
        let query = "SELECT * FROM bennu.commit_drafts($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
        let row = self
            .client
            .query_one(
                query,
                &[
                    &self.epoch,
                    &self.incarnation,
                    &self.opening,
                    &PLUGIN,
                    &number,
                    &seen,
                    &generations,
                    &quotas,
                    &span_drafts,
                    &froms,
                    &untils,
                    &write_drafts,
                    &places,
                    &contents,
                ],
            )
            .await?;
        Ok(Answer { revision: row.get(0), results: row.get(1), sizes: row.get(2) })
    }

    /// Asks for the answer of a batch. None: it is refused from now on.
    pub(crate) async fn settle(&self, number: i64) -> Result<Option<Answer>, tokio_postgres::Error> {
        let query = "SELECT * FROM bennu.settle_drafts($1, $2, $3, $4)";
        let row = self.client.query_one(query, &[&self.epoch, &self.incarnation, &PLUGIN, &number]).await?;
        let results: Option<Vec<i32>> = row.get(1);
        Ok(results.map(|results| Answer { revision: row.get(0), results, sizes: row.get(2) }))
    }

    /// Whether spans are as they were.
    pub(crate) async fn is_current(&self, since: i64, spans: &[(Vec<u8>, Vec<u8>)]) -> Result<bool> {
        let (froms, untils): (Vec<&[u8]>, Vec<&[u8]>) = spans.iter().map(|span| (&*span.0, &*span.1)).unzip();
        let query = "SELECT is_current FROM bennu.look($1, $2, $3, $4)";
        Ok(self.client.query_one(query, &[&PLUGIN, &since, &froms, &untils]).await?.get(0))
    }

    /// The revision of the plugin.
    pub(crate) async fn revision(&self) -> Result<i64> {
        let query = "SELECT coalesce(max(rev), 0) FROM bennu.head WHERE plugin = $1";
        Ok(self.client.query_one(query, &[&PLUGIN]).await?.get(0))
    }

    /// The process of the server that serves it.
    pub(crate) async fn process(&self) -> Result<i32> {
        Ok(self.client.query_one("SELECT pg_backend_pid()", &[]).await?.get(0))
    }
}

impl Draft {
    pub(crate) fn seen(seen: i64) -> Self {
        Self { seen, ..Self::default() }
    }

    /// It has read a key.
    pub(crate) fn read(mut self, key: &str) -> Self {
        self.reads.push((at(key), [at(key), vec![0]].concat()));
        self
    }

    /// It has read the keys from one to before another.
    pub(crate) fn scan(mut self, from: &str, until: &str) -> Self {
        self.reads.push((at(from), at(until)));
        self
    }

    pub(crate) fn put(mut self, key: &str, value: impl Display + Copy) -> Self {
        self.writes.push((at(key), Some(value.to_string().into_bytes())));
        self
    }

    pub(crate) fn delete(mut self, key: &str) -> Self {
        self.writes.push((at(key), None));
        self
    }

    pub(crate) fn quota(self, bytes: i64) -> Self {
        Self { quota: Some(bytes), ..self }
    }

    pub(crate) fn of(self, generation: i64) -> Self {
        Self { generation: Some(generation), ..self }
    }
}

/// The code of an error of the database's functions.
pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, tokio_postgres::Error>) -> Result<String> {
    let error = result.err().context("it isn't refused")?;
    Ok(error.as_db_error().context("it isn't an error of the database")?.code().code().to_owned())
}

/// Waits until this many sessions wait for a lock.
pub(crate) async fn waiting(client: &Client, count: i64) -> Result<()> {
    bennu_tests::eventually("sessions wait for a lock", async || {
        let query =
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
        let found: i64 = client.query_one(query, &[]).await?.get(0);
        Ok((found == count).then_some(()))
    })
    .await
}
