//! Builds of a plugin that hosts of a cluster in memory roll out together.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use bennu_cluster::rollout::{
    BuildDigest, ChangeResult, MemoryRegistry, RecordsChange, RegistryFuture, RegistrySnapshot, Report,
};

use super::tests::*;
use super::*;
use crate::server::Host;

/// A build of the plugin `echo`, with a number that tells it from others.
fn build(number: u8) -> Vec<u8> {
    let component = include_bytes!("../../../../tests/compatibility/echo.wasm");
    // A custom section with the number as its name.
    [&component[..], &[0, 2, 1, b'0' + number]].concat()
}

fn file(home: &Path, name: &str) -> PathBuf {
    home.join(format!("plugins-{name}")).join("echo.wasm")
}

/// Gives a node the file of a build, by a rename.
fn put(home: &Path, name: &str, number: u8) -> Result<()> {
    let (beside, file) = (home.join("beside"), file(home, name));
    std::fs::create_dir_all(file.parent().context("a directory")?)?;
    std::fs::write(&beside, build(number))?;
    Ok(std::fs::rename(beside, file)?)
}

/// Compiles builds to the cache of the tests' hosts. The compiler has a low priority, and a rollout waits only a minute for it.
async fn compile(home: &Path, numbers: &[u8]) -> Result<()> {
    let plugins = home.join("compiled");
    std::fs::create_dir_all(&plugins)?;
    for number in numbers {
        std::fs::write(plugins.join(format!("echo-{number}.wasm")), build(*number))?;
    }
    let (data, cache) = (home.join("compiling"), Some(home.join("cache")));
    let config = Config { listen: "127.0.0.1:0".into(), load: vec![plugins], data, cache, ..Config::default() };
    // It has loaded all of them, and serves one.
    Host::start(&config).await.map(drop)
}

async fn status(host: &Running) -> Result<Value> {
    ask(host, "GET /api/plugins/echo", "").await
}

/// Waits until a generation serves at these hosts.
async fn serves(hosts: &[&Running], generation: u64) -> Result<()> {
    for host in hosts {
        let serves = async {
            while status(host).await?["generation"] != generation {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            anyhow::Ok(())
        };
        let shown = timeout(PATIENCE, serves).await;
        if shown.is_err() {
            anyhow::bail!("generation {generation} doesn't serve: {}", status(host).await?);
        }
        shown??;
    }
    Ok(())
}

/// Waits until a host knows what these nodes have loaded. It reads their reports each second.
async fn knows(host: &Running, names: &[&str]) -> Result<()> {
    let known = async {
        loop {
            let nodes = status(host).await?["cluster"]["nodes"].as_array().cloned().unwrap_or_default();
            if nodes.iter().filter_map(|node| node["node"].as_str()).eq(names.iter().copied()) {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, known).await.context("the other nodes aren't known")?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_of_one_host_serves_at_all_and_so_does_what_an_operator_wants() -> Result<()> {
    let (home, table) = (tempfile::tempdir()?, Arc::new(MemoryTable::new()));
    let (home, seams) = (home.path(), seams(&table));
    compile(home, &[1, 2]).await?;
    put(home, "one", 1)?;
    let one = start_with(home, "one", "plugins-one", &seams).await?;
    let two = start_with(home, "two", "plugins-two", &seams).await?;
    // Each serves what the cluster serves from its start on.
    for host in [&one, &two] {
        assert_eq!(status(host).await?["generation"], 1);
    }
    put(home, "two", 2)?;
    serves(&[&one, &two], 2).await?;
    let digests = [status(&one).await?["digest"].clone(), status(&two).await?["digest"].clone()];
    assert_eq!(digests[0], digests[1]);
    // An image with the build from before starts again.
    put(home, "three", 1)?;
    let three = start_with(home, "three", "plugins-three", &seams).await?;
    let shown = status(&three).await?;
    assert_eq!(shown["generation"], 2, "{shown}");
    assert!(shown["last_error"].as_str().is_some_and(|why| why.contains("has served before")), "{shown}");
    knows(&one, &["one", "two", "three"]).await?;
    let back = ask(&three, "POST /api/plugins/echo/rollback", "{}").await?;
    assert_eq!(back["generation"], 1, "{back}");
    serves(&[&one, &two, &three], 1).await?;
    let refused = ask(&one, "POST /api/plugins/echo/rollback", "{}").await?;
    assert_eq!(refused["error"]["code"], "refused", "{refused}");
    ask(&two, "POST /api/plugins/echo/unload", "{}").await?;
    serves(&[&one, &two, &three], 0).await?;
    let again = ask(&two, "POST /api/plugins/echo/reload", "{}").await?;
    assert_eq!(again["generation"], 3, "{again}");
    serves(&[&one, &two, &three], 3).await?;
    let unknown = ask(&one, "POST /api/plugins/nobody/unload", "{}").await?;
    assert_eq!(unknown["error"]["code"], "not_found", "{unknown}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_no_plugin_is_refused_and_the_build_before_serves() -> Result<()> {
    let (home, table) = (tempfile::tempdir()?, Arc::new(MemoryTable::new()));
    let (home, seams) = (home.path(), seams(&table));
    compile(home, &[1]).await?;
    put(home, "one", 1)?;
    let one = start_with(home, "one", "plugins-one", &seams).await?;
    let two = start_with(home, "two", "plugins-two", &seams).await?;
    std::fs::write(file(home, "one"), b"\0asm no component")?;
    let refused = ask(&one, "POST /api/plugins/echo/reload", "{}").await?;
    let message = refused["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("can't load it"), "{refused}");
    serves(&[&one, &two], 1).await?;
    Ok(())
}

/// A registry in which the record of the plugin can't be read at times.
struct OddRegistry {
    registry: MemoryRegistry,
    is_odd: AtomicBool,
}

impl Registry for OddRegistry {
    fn read(&self, _known: Option<u64>) -> RegistryFuture<'_, RegistrySnapshot> {
        Box::pin(async move {
            // As a whole: no revision says that a row has become another one.
            let mut found = self.registry.read(None).await?;
            if self.is_odd.load(Ordering::Relaxed)
                && found.records.as_mut().and_then(|records| records.remove("echo")).is_some()
            {
                found.unread.insert("echo".to_owned(), "it is odd".to_owned());
            }
            Ok(found)
        })
    }

    fn change(&self, me: NodeId, change: RecordsChange) -> RegistryFuture<'_, ChangeResult> {
        self.registry.change(me, change)
    }

    fn report(&self, me: NodeId, reports: Vec<(String, Report)>) -> RegistryFuture<'_, ()> {
        self.registry.report(me, reports)
    }

    fn keep_build(&self, me: NodeId, digest: BuildDigest, bytes: Bytes) -> RegistryFuture<'_, ()> {
        self.registry.keep_build(me, digest, bytes)
    }

    fn build(&self, digest: BuildDigest) -> RegistryFuture<'_, Option<Bytes>> {
        self.registry.build(digest)
    }
}

/// The plugin goes on where it serves, nothing replaces its record, and a node that starts meanwhile isn't ready.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_whose_record_can_not_be_read_stays_as_it_is() -> Result<()> {
    let (home, table) = (tempfile::tempdir()?, Arc::new(MemoryTable::new()));
    let home = home.path();
    let odd = OddRegistry { registry: MemoryRegistry::new(Arc::clone(&table)), is_odd: AtomicBool::new(false) };
    let odd = Arc::new(odd);
    let seams = ClusterSeams { registry: Arc::clone(&odd) as _, ..seams(&table) };
    compile(home, &[1, 2]).await?;
    put(home, "one", 1)?;
    let one = start_with(home, "one", "plugins-one", &seams).await?;
    serves(&[&one], 1).await?;
    odd.is_odd.store(true, Ordering::Relaxed);
    let counted = async {
        while ask(&one, "GET /api/cluster", "").await?["counts"]["rows_unread"] == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, counted).await.context("the row isn't counted")??;
    put(home, "one", 2)?;
    let refused = ask(&one, "POST /api/plugins/echo/reload", "{}").await?;
    let message = refused["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("can't be read") && message.contains("it is odd"), "{refused}");
    assert_eq!(status(&one).await?["generation"], 1);
    let two = start_with(home, "two", "plugins-two", &seams).await?;
    let reasons = ask(&two, "GET /readyz", "").await?["reasons"].to_string();
    assert!(reasons.contains("its record in the database can't be read"), "{reasons}");
    assert_eq!(status(&two).await?["generation"], 0);
    odd.is_odd.store(false, Ordering::Relaxed);
    serves(&[&one, &two], 1).await?;
    let again = ask(&one, "POST /api/plugins/echo/reload", "{}").await?;
    assert_eq!(again["generation"], 2, "{again}");
    serves(&[&one, &two], 2).await?;
    Ok(())
}
