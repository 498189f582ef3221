//! Builds of a plugin that hosts of a cluster in memory roll out together.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use bennu_cluster::rollout::{
    Build, BuildDigest, BuildPhase, ChangeResult, MemoryRegistry, PluginRecord, Records, RecordsChange, RegistryFuture,
    RegistrySnapshot, Report, ServingBuild,
};
use bennu_cluster::{Hello, Incarnation, NewNode, NodeSettings};

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
    put_at(home, &file(home, name), number)
}

fn put_at(home: &Path, file: &Path, number: u8) -> Result<()> {
    put_bytes(home, file, &build(number))
}

fn put_bytes(home: &Path, file: &Path, bytes: &[u8]) -> Result<()> {
    let beside = home.join("beside");
    std::fs::create_dir_all(file.parent().context("a directory")?)?;
    std::fs::write(&beside, bytes)?;
    Ok(std::fs::rename(beside, file)?)
}

/// Compiles builds to the cache of the tests' hosts. The compiler has a low priority, and a rollout waits only a minute for it.
async fn compile(home: &Path, numbers: &[u8]) -> Result<()> {
    compile_all(home, numbers.iter().map(|number| (format!("echo-{number}.wasm"), build(*number)))).await
}

/// The same with builds of any plugins, in files with these names.
async fn compile_all(home: &Path, builds: impl Iterator<Item = (String, Vec<u8>)>) -> Result<()> {
    let plugins = home.join("compiled");
    std::fs::create_dir_all(&plugins)?;
    for (name, build) in builds {
        std::fs::write(plugins.join(name), build)?;
    }
    let (data, cache) = (home.join("compiling"), Some(home.join("cache")));
    let listen = "127.0.0.1:0".to_owned();
    let config = Config { listen, load: vec![plugins], data, cache, limits: few_instances(), ..Config::default() };
    // It has loaded all of them, and serves one of those with the same topics.
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

/// How many reports can't be read of a plugin whose record can't be read. None of them is named.
const ODD_REPORTS: usize = 40;

/// A registry in which the record of a plugin can't be read at times, and which can keep the bytes of builds back.
struct OddRegistry {
    registry: MemoryRegistry,
    plugin: &'static str,
    is_odd: AtomicBool,
    holds_builds: AtomicBool,
    /// Whether the record can't be read from when the plugin is switched to its next build.
    hides_switch: AtomicBool,
}

impl OddRegistry {
    fn new(table: &Arc<MemoryTable>, plugin: &'static str) -> Arc<Self> {
        let registry = MemoryRegistry::new(Arc::clone(table));
        let [is_odd, holds_builds, hides_switch] = [const { AtomicBool::new(false) }; 3];
        Arc::new(Self { registry, plugin, is_odd, holds_builds, hides_switch })
    }

    /// The record can't be read from now on. Who has changed it has raised the revision.
    async fn become_odd(&self, table: &MemoryTable) -> Result<()> {
        self.is_odd.store(true, Ordering::Relaxed);
        let me = table.list().await?.iter().find(|row| !row.is_dead).context("a node")?.id;
        loop {
            let former = self.registry.read(None).await?.revision;
            let change = RecordsChange { former, keeps_all_builds: true, ..RecordsChange::default() };
            if self.registry.change(me, change).await? == ChangeResult::Done {
                return Ok(());
            }
        }
    }

    /// Somebody has repaired the record by hand, and has raised no revision.
    fn repair(&self) {
        self.is_odd.store(false, Ordering::Relaxed);
    }
}

impl Registry for OddRegistry {
    fn read(&self, known: Option<u64>) -> RegistryFuture<'_, RegistrySnapshot> {
        Box::pin(async move {
            let mut found = self.registry.read(known).await?;
            if self.is_odd.load(Ordering::Relaxed)
                && found.records.as_mut().and_then(|records| records.remove(self.plugin)).is_some()
            {
                found.unread.insert(self.plugin.to_owned(), "it is odd".to_owned());
                found.unread_report_count = ODD_REPORTS;
            }
            Ok(found)
        })
    }

    fn change(&self, me: NodeId, change: RecordsChange) -> RegistryFuture<'_, ChangeResult> {
        self.registry.change(me, change)
    }

    fn report(&self, me: NodeId, reports: Vec<(String, Report)>) -> RegistryFuture<'_, ()> {
        let is_prepared = reports.iter().any(|(plugin, report)| plugin == self.plugin && report.prepared.is_some());
        // The records are read again when they have changed, and what changes them next is the switch.
        if is_prepared && self.hides_switch.swap(false, Ordering::Relaxed) {
            self.is_odd.store(true, Ordering::Relaxed);
        }
        self.registry.report(me, reports)
    }

    fn keep_build(&self, me: NodeId, digest: BuildDigest, bytes: Bytes) -> RegistryFuture<'_, ()> {
        self.registry.keep_build(me, digest, bytes)
    }

    fn build(&self, digest: BuildDigest) -> RegistryFuture<'_, Option<Bytes>> {
        Box::pin(async move {
            while self.holds_builds.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            self.registry.build(digest).await
        })
    }
}

/// Waits for a condition.
async fn until(what: &'static str, is_met: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let met = async {
        while !is_met().await? {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, met).await.context(what)?
}

/// How many rows a host couldn't read, at all reads together.
async fn unreadable(host: &Running) -> Result<u64> {
    ask(host, "GET /api/cluster", "").await?["counts"]["rows_unreadable"].as_u64().context("a count")
}

/// Waits until a host has noticed that a record can't be read.
async fn has_noticed(host: &Running) -> Result<()> {
    until("the row isn't counted", async || Ok(unreadable(host).await? > 0)).await
}

/// Asks for the build of a file, which must be refused with these words.
async fn is_refused(host: &Running, plugin: &str, words: &str) -> Result<()> {
    let refused = ask(host, &format!("POST /api/plugins/{plugin}/reload"), "{}").await?;
    let message = refused["error"]["message"].as_str().unwrap_or_default();
    anyhow::ensure!(message.contains(words), "{refused}");
    Ok(())
}

/// The plugin goes on where it serves, nothing replaces its record, and a node that starts meanwhile isn't ready. The file that was refused
/// is rolled out later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_whose_record_can_not_be_read_stays_as_it_is() -> Result<()> {
    let (home, table) = (tempfile::tempdir()?, Arc::new(MemoryTable::new()));
    let (home, odd) = (home.path(), OddRegistry::new(&table, "echo"));
    let seams = ClusterSeams { registry: Arc::clone(&odd) as _, ..seams(&table) };
    compile(home, &[1, 2]).await?;
    put(home, "one", 1)?;
    let one = start_with(home, "one", "plugins-one", &seams).await?;
    serves(&[&one], 1).await?;
    odd.become_odd(&table).await?;
    has_noticed(&one).await?;
    assert_eq!(unreadable(&one).await? % (ODD_REPORTS as u64 + 1), 0, "a row isn't counted at each read");
    put(home, "one", 2)?;
    is_refused(&one, "echo", "can't be read, so nothing replaces it: it is odd").await?;
    assert_eq!(status(&one).await?["generation"], 1);
    let two = start_with(home, "two", "plugins-two", &seams).await?;
    let reasons = ask(&two, "GET /readyz", "").await?["reasons"].to_string();
    assert!(
        reasons.contains("isn't served here as in the cluster: its record in the database can't be read"),
        "{reasons}"
    );
    assert_eq!(status(&two).await?["generation"], 0);
    // It may have been a gatekeeper.
    assert_eq!((&*connect(&one).await?, &*connect(&two).await?), ("101", "503"));
    odd.repair();
    serves(&[&one, &two], 2).await?;
    assert_eq!(connect(&two).await?, "101");
    Ok(())
}

/// What may be its own goes to no other plugin: neither its topics nor the name of its data.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_whose_record_can_not_be_read_keeps_its_topics_and_its_data() -> Result<()> {
    let (home, table) = (tempfile::tempdir()?, Arc::new(MemoryTable::new()));
    let (home, odd) = (home.path(), OddRegistry::new(&table, "echo"));
    let seams = ClusterSeams { registry: Arc::clone(&odd) as _, ..seams(&table) };
    compile(home, &[1, 2]).await?;
    put(home, "one", 1)?;
    let one = start_with(home, "one", "plugins-one", &seams).await?;
    serves(&[&one], 1).await?;
    // It has a record from then on, and never serves.
    put_at(home, &file(home, "one").with_file_name("known.wasm"), 2)?;
    is_refused(&one, "known", "already belongs to the plugin `echo`").await?;
    odd.become_odd(&table).await?;
    has_noticed(&one).await?;
    is_refused(&one, "known", "already belongs to the plugin `echo`, whose record in the database can't be read")
        .await?;
    put_at(home, &file(home, "one").with_file_name("new.wasm"), 2)?;
    is_refused(&one, "new", "nobody knows whether both would share data or topics").await?;
    assert_eq!(status(&one).await?["generation"], 1);
    odd.repair();
    let offered = async {
        loop {
            let shown = ask(&one, "GET /api/plugins/new", "").await?["last_error"].clone();
            if shown.as_str().is_some_and(|why| why.contains("already belongs to the plugin `echo`; give one")) {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, offered).await.context("the file isn't offered again")?
}

/// An operator's rollback gives no topic to a plugin that the unread one may have, also at a node that doesn't serve that one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_is_not_rolled_back_to_topics_that_an_unread_plugin_may_have() -> Result<()> {
    let (home, table) = (tempfile::tempdir()?, Arc::new(MemoryTable::new()));
    let (home, odd) = (home.path(), OddRegistry::new(&table, "gate"));
    let seams = ClusterSeams { registry: Arc::clone(&odd) as _, ..seams(&table) };
    let before = include_bytes!("../../../../tests/compatibility/ledger.wasm");
    let gate = include_bytes!("../../../../tests/compatibility/reference-gate.wasm");
    let all = [("before.wasm", before.to_vec()), ("after.wasm", build(1)), ("gate.wasm", gate.to_vec())];
    compile_all(home, all.into_iter().map(|(name, bytes)| (name.to_owned(), bytes))).await?;
    let moved = file(home, "one").with_file_name("moved.wasm");
    put_bytes(home, &moved, before)?;
    put_bytes(home, &moved.with_file_name("gate.wasm"), gate)?;
    let one = start_with(home, "one", "plugins-one", &seams).await?;
    put_bytes(home, &moved, &build(1))?;
    let generation = async || anyhow::Ok(ask(&one, "GET /api/plugins/moved", "").await?["generation"].clone());
    until("the next build doesn't serve", async || Ok(generation().await? == 2)).await?;
    odd.become_odd(&table).await?;
    has_noticed(&one).await?;
    let refused = ask(&one, "POST /api/plugins/moved/rollback", "{}").await?;
    let why = refused["error"]["message"].as_str().unwrap_or_default();
    assert!(why.contains("nobody knows whether that one has the topics which only the build before has"), "{refused}");
    odd.repair();
    let rolled_back = async || {
        let answer = ask(&one, "POST /api/plugins/moved/rollback", "{}").await?;
        Ok(answer["generation"] == 1)
    };
    until("the plugin isn't rolled back when all can be read", rolled_back).await
}

/// Writes the record of the gatekeeper `gate`, whose bytes are damaged, as a node that has left.
async fn remember_gate(odd: &OddRegistry, table: &MemoryTable) -> Result<()> {
    let incarnation = Incarnation([9; 16]);
    let settings = NodeSettings { lease: Duration::from_secs(30), bus: String::new(), secret_mark: None };
    let (name, version) = ("writer".to_owned(), String::new());
    let hello = table.hello(&NewNode { name, version, incarnation, speaks: SPEAKS, settings }).await?;
    let Hello::Welcome(epoch) = hello else { anyhow::bail!("the writer is refused") };
    let (me, digest) = (NodeId { epoch, incarnation }, BuildDigest([7; 32]));
    odd.registry.keep_build(me, digest, Bytes::from_static(b"damaged")).await?;
    let build = Build { generation: 1, digest, topics: Vec::new(), is_gatekeeper: true };
    let serving = Some(ServingBuild { build, phase: BuildPhase::Passed });
    let store = "gate".to_owned();
    let gate = PluginRecord { store, last: 1, serving, is_gatekeeper: true, ..PluginRecord::default() };
    let records = Records::from([("gate".to_owned(), gate)]);
    let written = odd.registry.change(me, RecordsChange::between(0, &Records::new(), &records)).await?;
    anyhow::ensure!(written == ChangeResult::Done, "{written:?}");
    Ok(table.leave(me).await?)
}

/// Waits for a condition. Until it is met, and then, the mount lets nobody in.
async fn closed_until(host: &Running, is_met: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let met = async {
        loop {
            let is_over = is_met().await?;
            let answer = connect(host).await?;
            anyhow::ensure!(answer == "503", "the mount answers {answer}");
            if is_over {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, met).await.context("the condition isn't met")?
}

/// From the start of the node on: while the record can't be read, while the build is being read, and when it can't be loaded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mounts_are_closed_until_a_gatekeeper_serves_whose_record_could_not_be_read() -> Result<()> {
    let (home, table) = (tempfile::tempdir()?, Arc::new(MemoryTable::new()));
    let odd = OddRegistry::new(&table, "gate");
    let seams = ClusterSeams { registry: Arc::clone(&odd) as _, ..seams(&table) };
    remember_gate(&odd, &table).await?;
    odd.is_odd.store(true, Ordering::Relaxed);
    odd.holds_builds.store(true, Ordering::Relaxed);
    let one = start(home.path(), "one", &seams).await?;
    closed_until(&one, async || Ok(true)).await?;
    odd.repair();
    closed_until(&one, async || {
        let shown = ask(&one, "GET /api/plugins/gate", "").await?;
        Ok(shown["cluster"]["serving"]["generation"] == 1)
    })
    .await?;
    odd.holds_builds.store(false, Ordering::Relaxed);
    closed_until(&one, async || {
        Ok(ask(&one, "GET /readyz", "").await?["reasons"].to_string().contains("can't load it: its bytes"))
    })
    .await?;
    // Only an operator opens them.
    for command in ["unload", "forget"] {
        ask(&one, &format!("POST /api/plugins/gate/{command}"), "{}").await?;
    }
    until("the mount stays closed", async || Ok(connect(&one).await? == "101")).await
}

/// A node that runs has prepared the first gatekeeper, and can't read that it serves now. At the other nodes, it decides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mount_is_closed_while_a_node_can_not_read_whether_a_prepared_gatekeeper_serves() -> Result<()> {
    let (home, table) = (tempfile::tempdir()?, Arc::new(MemoryTable::new()));
    let (home, odd) = (home.path(), OddRegistry::new(&table, "gate"));
    let seams = ClusterSeams { registry: Arc::clone(&odd) as _, ..seams(&table) };
    let gate = include_bytes!("../../../../tests/compatibility/reference-gate.wasm");
    compile_all(home, std::iter::once(("gate.wasm".to_owned(), gate.to_vec()))).await?;
    let one = start_with(home, "one", "plugins-one", &seams).await?;
    assert_eq!(connect(&one).await?, "101");
    odd.hides_switch.store(true, Ordering::Relaxed);
    put_bytes(home, &file(home, "one").with_file_name("gate.wasm"), gate)?;
    has_noticed(&one).await?;
    until("the mount is open", async || Ok(connect(&one).await? == "503")).await?;
    let generation = async || anyhow::Ok(ask(&one, "GET /api/plugins/gate", "").await?["generation"].clone());
    assert_eq!(generation().await?, 0);
    odd.repair();
    until("the gatekeeper doesn't serve", async || Ok(generation().await? == 1)).await?;
    // It lets clients in that say nothing about themselves.
    assert_eq!(connect(&one).await?, "101");
    Ok(())
}
