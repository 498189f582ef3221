//! What every bus, every table of nodes and every registry of plugins does, tried with each implementation. Those on a server are tried where the server is found.
//! `cargo xtask test postgres` and `cargo xtask test nats` find or install the servers, and run more rounds.

mod bus;
mod memory;
mod nats;
mod postgres;
mod postgres_bus;
mod postgres_registry;
mod postgres_table;
mod registry;
mod table;

/// Defines the tests of a suite for one engine. `$bed` returns what the tests run on, or nothing if the engine isn't here.
macro_rules! suite {
    ($suite:ident, $bed:path: $($test:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() -> anyhow::Result<()> {
                match $bed().await? {
                    Some(bed) => crate::$suite::$test(&bed).await,
                    None => Ok(()),
                }
            }
        )+
    };
}
pub(crate) use suite;

/// Whether an engine is here. If it isn't, the test is skipped.
pub(crate) fn is_there(name: &str, found: bool) -> bool {
    if !found {
        bennu_test_tiers::note_skipped(&format!("no {name} is running: the suite of this engine starts one"));
    }
    found
}
