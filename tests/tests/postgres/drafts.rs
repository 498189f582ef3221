//! The functions by which nodes of a cluster commit, called directly: results, quotas, lost answers, the fence, and the horizon.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bennu_test_tiers::{Noise, rounds};
use bennu_tests::{eventually, within};
use tokio::task::JoinSet;
use tokio_postgres::Client;

use crate::node::{
    Answer, CONFLICT, Draft, Node, OTHER_GENERATION, OVER_QUOTA, PLUGIN, STORED, at, code, connect, place_of, prepared,
    waiting,
};

/// The value of a key.
async fn value(client: &Client, key: &str) -> Result<Option<String>> {
    let row = client.query_opt("SELECT value FROM bennu.data WHERE place = $1", &[&at(key)]).await?;
    Ok(row.map(|row| String::from_utf8_lossy(row.get(0)).into_owned()))
}

/// The bytes that the database has counted for the plugin, and those of its keys.
async fn usage(client: &Client) -> Result<(i64, i64)> {
    let counted =
        "SELECT ('x' || encode(value, 'hex'))::bit(64)::bigint FROM bennu.data WHERE place = '\\x0075736167653a70'";
    let found = "SELECT coalesce(sum(octet_length(key) + octet_length(value)), 0)::bigint FROM bennu.content WHERE kind = 'key'";
    let counted = client.query_opt(counted, &[]).await?;
    Ok((counted.map_or(0, |row| row.get(0)), client.query_one(found, &[]).await?.get(0)))
}

#[tokio::test]
async fn a_draft_is_refused_exactly_if_what_it_has_read_was_written_since() -> Result<()> {
    let (_, url) = prepared().await?;
    let (mut one, mut other) = (Node::start(&url, "one").await?, Node::start(&url, "other").await?);
    let first = one.commit(&[Draft::seen(0).put("a", 1).put("c", 1).put("e", 1)]).await?;
    ensure!(first == Answer { revision: 1, results: vec![STORED], sizes: vec![0] }, "{first:?}");
    // A key that is deleted, one that is made, and one that was never there but is deleted.
    let second = Draft::seen(1).delete("a").put("b", 2).delete("never");
    ensure!(one.commit(&[second]).await?.revision == 2);
    let cases = [
        (Draft::seen(1).read("a"), CONFLICT),
        (Draft::seen(1).read("b"), CONFLICT),
        (Draft::seen(1).read("never"), CONFLICT),
        (Draft::seen(1).read("c"), STORED),
        (Draft::seen(1).read("d"), STORED),
        (Draft::seen(1).scan("c", "z"), CONFLICT),
        (Draft::seen(1).scan("c", "n"), STORED),
        (Draft::seen(1).scan("", "b"), CONFLICT),
        (Draft::seen(2).scan("", "z"), STORED),
        (Draft::seen(0), STORED),
        // Of several reads, the last one counts too.
        (Draft::seen(1).read("c").read("d").scan("a", "b"), CONFLICT),
    ];
    let drafts: Vec<Draft> = cases.iter().map(|(draft, _)| draft.clone()).collect();
    for (at, (draft, expected)) in cases.iter().enumerate() {
        // The check without a lock has the same result.
        ensure!(one.is_current(draft.seen, &draft.reads).await? == (*expected == STORED), "{draft:?}");
        let written = draft.clone().put(&format!("z{at}"), 1);
        ensure!(other.commit(&[written]).await?.results == [*expected], "{draft:?}");
    }
    // Together, and without writes: nothing is written, so the revision stays.
    let revision = one.revision().await?;
    let answer = other.commit(&drafts).await?;
    let expected: Vec<i32> = cases.iter().map(|(_, expected)| *expected).collect();
    ensure!(answer.revision == revision && answer.results == expected, "{answer:?}");
    ensure!(usage(&one.client).await? == (21, 21), "{:?}", usage(&one.client).await?);
    Ok(())
}

#[tokio::test]
async fn a_quota_counts_what_is_stored_and_what_the_batch_replaces() -> Result<()> {
    let (_, url) = prepared().await?;
    let mut node = Node::start(&url, "one").await?;
    let put = |key: &str, bytes: usize| Draft::seen(0).put(key, &*"x".repeat(bytes)).quota(100);
    // 91 bytes, and 10 or 11 more would be too many. Then fewer, and 39 more, of which one is replaced.
    let answer =
        node.commit(&[put("a", 90), put("b", 9), put("b", 10), put("a", 50), put("c", 38), put("c", 39)]).await?;
    ensure!(answer.results == [STORED, OVER_QUOTA, OVER_QUOTA, STORED, STORED, STORED], "{answer:?}");
    ensure!(answer.sizes == [0, 101, 102, 0, 0, 0] && usage(&node.client).await? == (91, 91), "{answer:?}");
    // A later write to the same place replaces what a refused one would have replaced.
    let answer = node.commit(&[put("a", 90), put("a", 51)]).await?;
    ensure!(answer.results == [OVER_QUOTA, STORED] && usage(&node.client).await? == (92, 92), "{answer:?}");
    // Past a lower quota it may still become smaller, but not larger.
    let lower = |draft: Draft| draft.quota(10);
    let answer = node.commit(&[lower(put("a", 40)), lower(put("d", 1)), lower(Draft::seen(0).delete("c"))]).await?;
    ensure!(answer.results == [STORED, OVER_QUOTA, STORED], "{answer:?}");
    ensure!(usage(&node.client).await? == (41, 41));
    let all = Draft::seen(0).delete("a").delete("b").delete("c");
    ensure!(node.commit(&[all]).await?.results == [STORED] && usage(&node.client).await? == (0, 0));
    Ok(())
}

#[tokio::test]
async fn the_last_of_several_writes_to_a_place_counts() -> Result<()> {
    let (_, url) = prepared().await?;
    let mut node = Node::start(&url, "one").await?;
    let drafts = [
        Draft::seen(0).put("a", 1).put("b", 1),
        Draft::seen(0).put("a", 2).delete("b"),
        Draft::seen(0).put("b", 3).put("c", 3).of(7),
    ];
    ensure!(node.commit(&drafts).await?.results == [STORED, STORED, OTHER_GENERATION]);
    let client = &node.client;
    ensure!(value(client, "a").await?.as_deref() == Some("2"));
    ensure!(value(client, "b").await?.is_none() && value(client, "c").await?.is_none());
    ensure!(usage(client).await? == (2, 2));
    Ok(())
}

#[tokio::test]
async fn what_nodes_may_not_write_is_refused_as_a_whole() -> Result<()> {
    let (_, url) = prepared().await?;
    let mut node = Node::start(&url, "one").await?;
    let other_plugin = [&[1, 1][..], b"qkey"].concat();
    let longer_plugin = [&[1, 2][..], b"pkey"].concat();
    let rooms = [2, 3, 4, 5, 6, 7, 11].map(|kind| place_of(kind, "x"));
    for place in rooms.into_iter().chain([other_plugin, longer_plugin, vec![0, 1], vec![12, 1, b'p']]) {
        let mut draft = Draft::seen(0).put("a", 1);
        draft.writes.push((place.clone(), Some(Vec::new())));
        ensure!(code(node.commit(&[Draft::seen(0).put("b", 1), draft]).await)? == "BN004", "{place:?}");
    }
    ensure!(value(&node.client, "a").await?.is_none() && value(&node.client, "b").await?.is_none());
    // Rows that count nothing, and of which only some are read by drafts.
    let mut draft = Draft::seen(0).put("a", 1);
    draft.writes.extend([8, 9, 10].map(|kind| (place_of(kind, "x"), Some(b"12345".to_vec()))));
    ensure!(node.commit(&[draft]).await?.results == [STORED]);
    let logged = node.client.query_one("SELECT count(*) FROM bennu.log", &[]).await?.get::<_, i64>(0);
    ensure!(logged == 2 && usage(&node.client).await?.0 == 2 + 6, "{logged} {:?}", usage(&node.client).await?);
    node.client.batch_execute("SET default_transaction_isolation = 'repeatable read'").await?;
    ensure!(code(node.commit(&[Draft::seen(0).put("a", 1)]).await)? == "BN001");
    Ok(())
}

#[tokio::test]
async fn a_batch_is_stored_once_and_its_answer_can_be_asked_for() -> Result<()> {
    let (_, url) = prepared().await?;
    let mut node = Node::start(&url, "one").await?;
    let draft = [Draft::seen(0).put("a", 1), Draft::seen(0).put("b", "xx").quota(1)];
    let answer = node.commit(&draft).await?;
    ensure!(node.settle(1).await? == Some(answer.clone()) && node.settle(1).await? == Some(answer), "the answer");
    ensure!(code(node.commit_as(1, &draft).await)? == "BN003");
    ensure!(node.settle(2).await?.is_none() && node.settle(2).await?.is_none(), "it isn't there");
    ensure!(code(node.commit_as(2, &draft).await)? == "BN003" && code(node.settle(1).await)? == "BN003");
    ensure!(node.commit_as(3, &draft).await?.results == [STORED, OVER_QUOTA]);
    // The numbers are those of the node.
    let other = Node::start(&url, "other").await?;
    ensure!(other.commit_as(1, &draft).await?.results == [STORED, OVER_QUOTA]);
    Ok(())
}

/// Lets two statements wait for the lock of the plugin, one after the other, and then releases it.
async fn one_after_another<A, B>(
    url: &str,
    first: impl Future<Output = A>,
    second: impl Future<Output = B>,
) -> Result<(A, B)> {
    let (mut holder, watching) = (connect(url).await?, connect(url).await?);
    let held = holder.transaction().await?;
    held.query("SELECT FROM bennu.lock_head($1)", &[&PLUGIN]).await?;
    let later = async {
        waiting(&watching, 1).await?;
        let releasing = async {
            waiting(&watching, 2).await?;
            anyhow::Ok(held.rollback().await?)
        };
        let (second, released) = tokio::join!(second, releasing);
        released.map(|()| second)
    };
    let (first, second) = within("two statements", async { tokio::join!(first, later) }).await?;
    Ok((first, second?))
}

/// A batch waits for the lock of its plugin, and meanwhile its node asks what became of it.
#[tokio::test]
async fn a_question_about_a_batch_that_waits_gets_its_answer_or_refuses_it() -> Result<()> {
    let (_, url) = prepared().await?;
    let mut node = Node::start(&url, "one").await?;
    let asking = node.again(&url).await?;
    // Whoever waits for a row that is there gets it in order.
    node.commit(&[Draft::seen(0).put("count", 0)]).await?;
    for count in 1..=3 {
        let draft = [Draft::seen(node.revision().await?).read("count").put("count", count)];
        let number = node.number + 1;
        let (answer, settled) = one_after_another(&url, node.commit(&draft), asking.settle(number)).await?;
        let answer = answer?;
        ensure!(answer.results == [STORED] && settled? == Some(answer), "the batch was first");
        let number = node.number + 1;
        let (settled, refused) = one_after_another(&url, asking.settle(number), node.commit(&draft)).await?;
        ensure!(settled?.is_none() && code(refused)? == "BN003", "the question was first");
        ensure!(value(&node.client, "count").await? == Some(count.to_string()));
    }
    Ok(())
}

#[tokio::test]
async fn a_node_is_declared_dead_after_its_batch_under_way_and_stores_nothing_later() -> Result<()> {
    let (_, url) = prepared().await?;
    let mut node = Node::start(&url, "one").await?;
    let mut other = Node::start(&url, "other").await?;
    let (asking, declaring) = (node.again(&url).await?, connect(&url).await?);
    let (draft, epoch, number) = ([Draft::seen(0).put("a", 1)], node.epoch, 1);
    // Declaring it dead waits for the batch, which waits for the lock of the plugin.
    let declared = async { declaring.query_one("SELECT bennu.node_declare_dead($1, 0)", &[&epoch]).await };
    let (committed, is_dead) = one_after_another(&url, node.commit(&draft), declared).await?;
    ensure!(committed?.results == [STORED] && is_dead?.get::<_, bool>(0));
    // Its answer can still be asked for. A later batch is refused, and nobody knows anything about one.
    ensure!(asking.settle(number).await?.is_some_and(|answer| answer.results == [STORED]));
    ensure!(code(asking.commit_as(number + 1, &draft).await)? == "BN010");
    ensure!(code(asking.settle(number + 1).await)? == "BN010");
    let stranger = Node { incarnation: vec![9; 16], ..other.again(&url).await? };
    ensure!(code(stranger.commit_as(1, &draft).await)? == "BN010", "another incarnation");
    ensure!(other.commit(&draft).await?.results == [STORED]);
    // What a dead node was answered is forgotten with its writes.
    other.client.query_one("SELECT bennu.prune_log($1, 0, 10)", &[&PLUGIN]).await?;
    ensure!(code(asking.settle(number).await)? == "BN010");
    ensure!(other.settle(other.number).await?.is_some());
    Ok(())
}

#[tokio::test]
async fn a_host_without_a_cluster_and_nodes_never_write_at_the_same_time() -> Result<()> {
    let (_, url) = prepared().await?;
    let mut node = Node::start(&url, "one").await?;
    let place = bennu::store::PostgresPlace::new(&url, None, "bennu")?;
    let alone = bennu::store::Postgres::open(&place, 1 << 20).await?;
    ensure!(code(node.commit(&[Draft::seen(0).put("a", 1)]).await)? == "BN002");
    drop(alone);
    // It is gone, but it may have written: what the node has read isn't in the log.
    eventually("the lock is free", async || {
        ensure!(code(node.commit(&[Draft::seen(0).put("a", 1)]).await)? == "BN002");
        let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' \
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        Ok((node.client.query_one(locks, &[]).await?.get::<_, i64>(0) == 0).then_some(()))
    })
    .await?;
    let mut later = Node::start(&url, "later").await?;
    ensure!(later.opening == node.opening + 1);
    ensure!(later.commit(&[Draft::seen(0).put("a", 1)]).await?.results == [STORED]);
    ensure!(code(node.commit(&[Draft::seen(0).put("a", 1)]).await)? == "BN002");
    Ok(())
}

#[tokio::test]
async fn a_read_from_before_the_horizon_is_a_conflict() -> Result<()> {
    let (_, url) = prepared().await?;
    let mut node = Node::start(&url, "one").await?;
    for number in 1..=5 {
        node.commit(&[Draft::seen(number - 1).put(&format!("k{number}"), number).put("hot", number)]).await?;
    }
    let prune = async |up_to: i64, most: i32| -> Result<i64> {
        let row =
            connect(&url).await?.query_one("SELECT bennu.prune_log($1, $2, $3)", &[&PLUGIN, &up_to, &most]).await?;
        Ok(row.get(0))
    };
    // In parts; the horizon is there at once.
    ensure!(prune(3, 2).await? == 2);
    ensure!(!node.is_current(2, &Draft::seen(0).read("nothing").reads).await?);
    ensure!(node.is_current(2, &[]).await?, "it has read nothing");
    ensure!(node.is_current(3, &Draft::seen(0).read("nothing").reads).await?);
    ensure!(prune(3, 2).await? == 1 && prune(3, 2).await? == 0);
    // An earlier one doesn't move it back, and none is later than the revision.
    ensure!(prune(1, 10).await? == 0 && !node.is_current(2, &Draft::seen(0).read("nothing").reads).await?);
    let drafts = [2, 3].map(|seen| Draft::seen(seen).read("nothing").put("x", 1));
    ensure!(node.commit(&drafts[..1]).await?.results == [CONFLICT]);
    ensure!(node.commit(&drafts[1..]).await?.results == [STORED]);
    ensure!(node.commit(&[Draft::seen(3).read("hot").put("x", 1)]).await?.results == [CONFLICT]);
    ensure!(prune(1000, 10).await? == 4, "k4, k5, hot and x");
    let revision = node.revision().await?;
    ensure!(node.commit(&[Draft::seen(revision).read("hot").put("x", 2)]).await?.results == [STORED]);
    Ok(())
}

/// Counters with their total, and keys that come and go. Each draft keeps the total right, by keys or by a range.
#[derive(Clone, Debug)]
struct State {
    revision: i64,
    counters: BTreeMap<String, i64>,
    total: i64,
}

/// Reads everything in one statement, which sees one moment.
async fn state(client: &Client) -> Result<State> {
    let query = "SELECT head.rev, convert_from(substring(place FROM 4), 'UTF8'), convert_from(value, 'UTF8')::bigint \
                 FROM (SELECT coalesce((SELECT rev FROM bennu.head WHERE plugin = $1), 0) AS rev) AS head \
                 LEFT JOIN (SELECT place, value FROM bennu.data WHERE place >= $2 AND place < $3) AS rows ON true";
    let rows = client.query(query, &[&PLUGIN, &at(""), &at("\u{7f}")]).await?;
    let revision = rows.first().context("no row")?.get(0);
    let mut counters: BTreeMap<String, i64> =
        rows.iter().filter_map(|row| Some((row.get::<_, Option<String>>(1)?, row.get(2)))).collect();
    let total = counters.remove("total").unwrap_or(0);
    counters.remove("sum");
    Ok(State { revision, counters, total })
}

/// A draft that keeps the invariant, if its reads are of one moment.
fn change(state: &State, noise: &mut Noise) -> Draft {
    let State { revision, counters, total } = state;
    let draft = Draft::seen(*revision);
    match noise.below(10) {
        0..5 => {
            let key = format!("c{}", noise.below(4));
            let value = counters.get(&key).copied().unwrap_or(0);
            draft.read(&key).read("total").put(&key, value + 1).put("total", total + 1)
        }
        5..7 => draft.scan("c", "d").put("sum", counters.values().sum::<i64>()),
        7 => {
            // All counters of a range are removed, each as a write of its own.
            let removed: i64 = counters.range("cx".to_owned()..).map(|(_, value)| value).sum();
            let mut draft = draft.scan("cx", "d").read("total").put("total", total - removed);
            for (key, _) in counters.range("cx".to_owned()..) {
                draft = draft.delete(key);
            }
            draft
        }
        _ => {
            let key = format!("cx{}", noise.below(5));
            match counters.get(&key) {
                None => draft.read(&key).read("total").put(&key, 1).put("total", total + 1),
                Some(value) => draft.read(&key).read("total").delete(&key).put("total", total - value),
            }
        }
    }
}

/// Whether a later draft has read what an earlier one writes.
fn overtakes(batch: &[Draft], draft: &Draft) -> bool {
    let mut places = batch.iter().flat_map(|earlier| &earlier.writes).map(|(place, _)| place);
    places.any(|place| draft.reads.iter().any(|(from, until)| from <= place && place < until))
}

/// A node commits batches on the same few keys as others. Returns how many drafts were stored, and how many were refused.
async fn commit_beside_others(url: String, name: &'static str, seed: u64) -> Result<(usize, usize)> {
    let mut node = Node::start(&url, name).await?;
    let mut noise = Noise::new(seed + name.len() as u64);
    let (mut stored, mut refused) = (0, 0);
    for round in 0..40 {
        let mut batch = Vec::new();
        for _ in 0..=noise.below(3) {
            let state = state(&node.client).await?;
            ensure!(state.counters.values().sum::<i64>() == state.total, "{state:?}");
            let draft = change(&state, &mut noise);
            if !overtakes(&batch, &draft) {
                batch.push(draft);
            }
        }
        let answer = node.commit(&batch).await?;
        let of = |what: i32| answer.results.iter().filter(|result| **result == what).count();
        ensure!(of(STORED) + of(CONFLICT) == batch.len(), "{answer:?}");
        (stored, refused) = (stored + of(STORED), refused + of(CONFLICT));
        if round % 20 == 19 {
            let up_to = node.revision().await? - 3;
            node.client.query_one("SELECT bennu.prune_log($1, $2, 3)", &[&PLUGIN, &up_to]).await?;
        }
    }
    Ok((stored, refused))
}

/// Every state that any of three nodes reads is right, and so is the last one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_lose_no_write_and_see_no_half_of_one() -> Result<()> {
    let (mut stored, mut refused) = (0, 0);
    for seed in 0..rounds("postgres::drafts") as u64 {
        let (_, url) = prepared().await?;
        let mut committers = JoinSet::new();
        for name in ["a", "bb", "ccc"] {
            committers.spawn(commit_beside_others(url.clone(), name, seed));
        }
        while let Some(ended) = within("the committers end", committers.join_next()).await? {
            let (more, others) = ended?.with_context(|| format!("seed {seed}"))?;
            (stored, refused) = (stored + more, refused + others);
        }
        let client = connect(&url).await?;
        let last = state(&client).await?;
        ensure!(last.counters.values().sum::<i64>() == last.total, "seed {seed}: {last:?}");
        let (counted, found) = usage(&client).await?;
        ensure!(counted == found, "seed {seed}: {counted} and {found}");
    }
    ensure!(stored > 0 && refused > 0, "{stored} stored, {refused} refused");
    Ok(())
}

/// When the connection of a batch is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// While the batch waits for the lock of the plugin.
    Waiting,
    /// After it is stored, before its answer is read.
    Stored,
    /// At any moment.
    Anywhen,
}

/// Commits, and loses the connection. Returns the answer, if there was one.
async fn commit_and_lose(
    url: &str,
    node: &mut Node,
    draft: &[Draft],
    loss: Loss,
    wait: Duration,
) -> Result<Option<Answer>> {
    let (mut holder, watching) = (connect(url).await?, connect(url).await?);
    let process = node.process().await?;
    let kill = async { watching.execute("SELECT pg_terminate_backend($1)", &[&process]).await };
    match loss {
        Loss::Waiting => {
            let held = holder.transaction().await?;
            held.query("SELECT FROM bennu.lock_head($1)", &[&PLUGIN]).await?;
            let killing = async {
                waiting(&watching, 1).await?;
                anyhow::Ok(kill.await?)
            };
            let (answer, killed) = tokio::join!(node.commit(draft), killing);
            killed?;
            held.rollback().await?;
            Ok(answer.ok())
        }
        Loss::Stored => {
            let revision = node.revision().await?;
            let stored = async {
                let query = "SELECT rev FROM bennu.head WHERE plugin = $1";
                eventually("it is stored", async || {
                    let found = watching.query_opt(query, &[&PLUGIN]).await?;
                    Ok(found.filter(|row| row.get::<_, i64>(0) > revision).map(drop))
                })
                .await
            };
            // Nobody looks at the answer.
            let (_, stored) = tokio::join!(node.commit(draft), stored);
            stored?;
            kill.await?;
            Ok(None)
        }
        Loss::Anywhen => {
            let killing = async {
                tokio::time::sleep(wait).await;
                kill.await
            };
            let (answer, killed) = tokio::join!(node.commit(draft), killing);
            killed?;
            Ok(answer.ok())
        }
    }
}

/// What the node is told, by the answer or by its question, is what is stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_whose_process_is_killed_is_stored_once_or_not_at_all() -> Result<()> {
    let (_, url) = prepared().await?;
    let mut node = Node::start(&url, "one").await?;
    let mut noise = Noise::new(3);
    let mut count = 0_i64;
    for round in 0..rounds("postgres::settle") {
        let loss = [Loss::Waiting, Loss::Stored, Loss::Anywhen][round % 3];
        let draft = Draft::seen(node.revision().await?).read("count").put("count", count + 1);
        let draft = [draft.put(&format!("op{count:06}"), &*"x".repeat(2000))];
        let wait = Duration::from_micros(noise.below(3000) as u64);
        let answer = commit_and_lose(&url, &mut node, &draft, loss, wait).await?;
        node = node.again(&url).await?;
        let settled = within("the outcome", node.settle(node.number)).await??;
        ensure!(answer.is_none() || settled == answer, "{loss:?}: {answer:?} and {settled:?}");
        ensure!(loss != Loss::Waiting || settled.is_none(), "{settled:?}");
        ensure!(loss != Loss::Stored || settled.is_some(), "it was stored");
        if let Some(settled) = settled {
            ensure!(settled.results == [STORED], "{settled:?}");
            count += 1;
        }
        let found = value(&node.client, "count").await?;
        ensure!(found.as_deref().unwrap_or("0") == count.to_string(), "{found:?} and {count}");
    }
    let operations = "SELECT count(*) FROM bennu.content WHERE convert_from(key, 'UTF8') LIKE 'op%'";
    let operations = node.client.query_one(operations, &[]).await?;
    ensure!(operations.get::<_, i64>(0) == count);
    Ok(())
}
