//! Builds of a plugin that are rolled out at all nodes of a cluster: prepared, switched to, judged and rolled back together.

use anyhow::{Context, Result, bail, ensure};
use bennu_tests::{Loading, PostgresServer, Relay, Setup, TestClient, TestHost, Way, bennu, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::database;
use crate::plan::{Plan, knows};

pub(crate) const FILE: &str = "tally.js";

/// A build with a number. Its event `fail` fails if `fails` says so.
pub(crate) fn build(number: u32, fails: bool) -> String {
    let fail = if fails { "throw new Error('it fails')" } else { "return {}" };
    format!(
        r#"import {{ channel, plugin, store }} from "bennu";
        export default plugin({{ "tally:*": channel({{ onFault: "keep", on: {{
            build: () => ({{ build: {number} }}),
            fail: () => {{ {fail}; }},
            add: () => {{
                const sums = store.get("sums") ?? {{}};
                sums["{number}"] = (sums["{number}"] ?? 0) + 1;
                store.put("sums", sums);
                return {{ build: {number}, sum: sums["{number}"] }};
            }},
        }} }}) }});"#
    )
}

pub(crate) fn setup(plan: &Plan, name: &str, file: &str) -> Result<Setup> {
    Ok(plan.setup(name)?.file(&format!("plugins/{FILE}"), file.into()))
}

/// Three nodes. Only the first one has the plugin's file.
async fn three(plan: &Plan) -> Result<[TestHost; 3]> {
    let one = setup(plan, "one", &build(1, false))?.start().await?;
    Ok([one, plan.start("two").await?, plan.start("three").await?])
}

/// The state of the plugin, as a node shows it.
async fn shown(host: &TestHost) -> Result<Value> {
    Ok(host.inspect().await?["plugins"]["tally"].clone())
}

/// Waits until a generation serves at these nodes.
pub(crate) async fn serves<'a>(hosts: impl IntoIterator<Item = &'a TestHost>, generation: u64) -> Result<()> {
    for host in hosts {
        let is_it = |shown: &Value| shown["plugins"]["tally"]["generation"] == generation;
        host.shows(&format!("generation {generation} serves"), is_it).await?;
    }
    Ok(())
}

/// Which build answers a client.
async fn answers(client: &mut TestClient) -> Result<u64> {
    client.call("tally:1", "build", &json!({})).await?["build"].as_u64().context("a number")
}

/// Which build answers a new client.
async fn first_answer(host: &TestHost) -> Result<u64> {
    let mut client = host.connect().await?;
    client.join("tally:1", &json!({})).await?;
    answers(&mut client).await
}

async fn members(hosts: &[TestHost]) -> Result<Vec<TestClient>> {
    let mut clients = Vec::new();
    for host in hosts {
        let mut client = host.connect().await?;
        client.join("tally:1", &json!({})).await?;
        clients.push(client);
    }
    Ok(clients)
}

async fn stop(hosts: impl IntoIterator<Item = TestHost>) -> Result<()> {
    for host in hosts {
        host.stop().await?;
    }
    Ok(())
}

/// Calls of the former build that store something run again on the new one: each call is counted once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_of_one_node_serves_at_all_nodes_and_no_call_is_lost() -> Result<()> {
    let (_, url) = database()?;
    let plan = Plan::on(&url).guests(&[]);
    let hosts = three(&plan).await?;
    serves(&hosts, 1).await?;
    let mut clients = members(&hosts).await?;
    for client in &mut clients {
        ensure!(answers(client).await? == 1);
    }
    let writers = clients.into_iter().map(|mut client| {
        tokio::spawn(async move {
            let mut calls = 0;
            // Until the new build answers, and a few times more.
            let mut left = None;
            while left != Some(0) {
                let answer = client.call("tally:1", "add", &json!({})).await?;
                calls += 1;
                if answer["build"] == 2 {
                    left = Some(left.unwrap_or(5) - 1);
                }
            }
            anyhow::Ok((client, calls))
        })
    });
    let writers: Vec<_> = writers.collect();
    // A node that has had no file of the plugin gets the next build.
    let loading = hosts[1].put_file(FILE, build(2, false).as_bytes()).await?;
    ensure!(loading == Loading::Done(2), "{loading:?}");
    let (mut calls, mut clients) = (0, Vec::new());
    for writer in writers {
        let (client, made) = writer.await??;
        calls += made;
        clients.push(client);
    }
    serves(&hosts, 2).await?;
    let sums = clients[0].call("tally:1", "add", &json!({})).await?;
    ensure!(sums["build"] == 2, "{sums}");
    let stored =
        bennu(hosts[0].home(), &["store", "get", "tally", "sums", "--raw", "--host", &hosts[0].address().to_string()])?;
    let stored: Value = serde_json::from_str(&stored.output).with_context(|| format!("{stored:?}"))?;
    let sum: u64 = stored.as_object().into_iter().flatten().filter_map(|(_, sum)| sum.as_u64()).sum();
    ensure!(sum == calls + 1, "{stored} after {calls} calls");
    // A node that joins has another file, with the build from before. What the cluster serves wins.
    let four = setup(&plan, "four", &build(1, false))?.start().await?;
    ensure!(shown(&four).await?["generation"] == 2, "{}", shown(&four).await?);
    four.log().find(0, "the file is outdated", |line| line.message().contains("has served before")).await?;
    drop(clients);
    stop(hosts.into_iter().chain([four])).await
}

/// The topics of the second build have turns. The first node may not serve such topics, and the second may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_that_one_node_can_not_load_serves_nowhere() -> Result<()> {
    let (_, url) = database()?;
    let plan = Plan::on(&url).guests(&[]);
    let one = setup(&plan, "one", &build(1, false))?.start().await?;
    let two = plan.clone().key("sticky = [\"tally:*\"]").start("two").await?;
    serves([&one, &two], 1).await?;
    let with_turns = build(2, false).replace("onFault:", "turns: \"topic\", onFault:");
    let Loading::Refused(why) = two.put_file(FILE, with_turns.as_bytes()).await? else { bail!("it serves") };
    ensure!(why.contains("the node one can't load it"), "{why}");
    serves([&one, &two], 1).await?;
    let refusal = shown(&one).await?["cluster"]["last_refusal"].clone();
    ensure!(refusal.as_str().is_some_and(|refusal| refusal.contains("the node one can't load it")), "{refusal}");
    stop([one, two]).await
}

/// Two calls fail at one node and two at another, so no node alone has too many faults.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_several_nodes_roll_a_build_back_at_all_of_them() -> Result<()> {
    let (_, url) = database()?;
    let plan = Plan::on(&url).guests(&[]);
    let hosts = three(&plan).await?;
    serves(&hosts, 1).await?;
    let mut clients = members(&hosts).await?;
    // The first build has passed with its first answered call.
    for client in &mut clients {
        client.call("tally:1", "fail", &json!({})).await?;
    }
    let is_passed = |shown: &Value| shown["plugins"]["tally"]["standing"] == "proved";
    hosts[0].shows("it has passed", is_passed).await?;
    ensure!(hosts[0].put_file(FILE, build(2, true).as_bytes()).await? == Loading::Done(2));
    serves(&hosts, 2).await?;
    for client in &mut clients[..2] {
        for _ in 0..2 {
            // The build before answers.
            ensure!(client.call("tally:1", "fail", &json!({})).await? == json!({}));
        }
    }
    serves(&hosts, 1).await?;
    for (host, client) in hosts.iter().zip(&mut clients) {
        ensure!(answers(client).await? == 1);
        let shown = shown(host).await?;
        ensure!(shown["taken_back"]["faults"] == 4 && shown["taken_back"]["generation"] == 2, "{shown}");
    }
    // Another node has a file with the rejected build, and yet another one starts with it.
    let Loading::Refused(why) = hosts[2].put_file(FILE, build(2, true).as_bytes()).await? else { bail!("it serves") };
    ensure!(why.contains("rolled back automatically after 4 faults"), "{why}");
    let four = setup(&plan, "four", &build(2, true))?.start().await?;
    ensure!(shown(&four).await?["generation"] == 1, "{}", shown(&four).await?);
    drop(clients);
    stop(hosts.into_iter().chain([four])).await
}

/// The files of two nodes get two builds at the same moment. The rollouts are in an order: in the end, the later one serves at all nodes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_builds_that_come_at_once_the_later_one_serves_at_all_nodes() -> Result<()> {
    let (_, url) = database()?;
    let plan = Plan::on(&url).guests(&[]);
    let hosts = three(&plan).await?;
    serves(&hosts, 1).await?;
    let mut clients = members(&hosts).await?;
    let [second, third] = [build(2, false), build(3, false)];
    let put = tokio::join!(hosts[0].put_file(FILE, second.as_bytes()), hosts[1].put_file(FILE, third.as_bytes()));
    for loading in [put.0?, put.1?] {
        // Its own build, or that of the other node, which came earlier or later.
        let is_expected = match &loading {
            Loading::Done(generation) => [2, 3].contains(generation),
            Loading::Refused(why) => why.contains("another build or command came meanwhile"),
        };
        ensure!(is_expected, "{loading:?}");
    }
    let has_ended = |shown: &Value| {
        let tally = &shown["plugins"]["tally"];
        tally["generation"] == 3 && tally["cluster"]["rollout"].is_null()
    };
    for host in &hosts {
        host.shows("the later build serves, and no rollout is under way", has_ended).await?;
    }
    let last = answers(&mut clients[0]).await?;
    ensure!([2, 3].contains(&last), "the build {last} answers");
    for client in &mut clients {
        ensure!(answers(client).await? == last, "two nodes serve two builds");
    }
    drop(clients);
    stop(hosts).await
}

/// A build is rolled back while one node can't reach the database. That node serves the rejected build until it is back, and then the one that
/// the cluster serves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_during_a_rollback_follows_it_when_it_is_back() -> Result<()> {
    let (name, url) = database()?;
    let relay = Relay::start(&[PostgresServer::shared()?.port()]).await?;
    // Nobody counts as dead meanwhile.
    let lease = "lease_ms = 600000";
    let plan = Plan::on(&url).guests(&[]).key(lease);
    let cut_off = format!("postgres://postgres@127.0.0.1:{}/{name}", relay.port());
    let one = setup(&plan, "one", &build(1, false))?.start().await?;
    let two = plan.start("two").await?;
    let hosts = [one, two, Plan::on(&cut_off).guests(&[]).key(lease).start("three").await?];
    serves(&hosts, 1).await?;
    let mut clients = members(&hosts).await?;
    for client in &mut clients {
        client.call("tally:1", "fail", &json!({})).await?;
    }
    let has_passed = |shown: &Value| shown["plugins"]["tally"]["standing"] == "proved";
    hosts[0].shows("it has passed", has_passed).await?;
    ensure!(hosts[0].put_file(FILE, build(2, true).as_bytes()).await? == Loading::Done(2));
    serves(&hosts, 2).await?;
    relay.set(Way::Silent);
    for client in &mut clients[..2] {
        for _ in 0..2 {
            ensure!(client.call("tally:1", "fail", &json!({})).await? == json!({}));
        }
    }
    serves(&hosts[..2], 1).await?;
    ensure!(shown(&hosts[2]).await?["generation"] == 2, "{}", shown(&hosts[2]).await?);
    ensure!(answers(&mut clients[2]).await? == 2);
    relay.set(Way::Open);
    serves(&hosts, 1).await?;
    let rejected = shown(&hosts[2]).await?["taken_back"].clone();
    ensure!(rejected["generation"] == 2 && rejected["faults"] == 4, "{rejected}");
    // On a slow machine, messages may be lost meanwhile. Then members are told to join again.
    eventually("the build from before answers at each node", async || {
        let mut builds = Vec::new();
        for host in &hosts {
            builds.extend(first_answer(host).await);
        }
        Ok((builds == [1, 1, 1]).then_some(()))
    })
    .await?;
    drop(clients);
    stop(hosts).await
}

/// The node with the file is killed while the others wait for a node that never answers. They go on without both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_others_go_on_with_the_rollout_of_a_node_that_is_killed() -> Result<()> {
    let (name, url) = database()?;
    let plan = Plan::on(&url).guests(&[]).key("lease_ms = 4000");
    let [one, two, three] = three(&plan).await?;
    serves([&one, &two, &three], 1).await?;
    let server = PostgresServer::shared()?;
    // A node that has only just started, and hangs.
    server.sql(
        &name,
        "SELECT count(*) FROM bennu.node, bennu.node_hello('ghost', node.version, decode(repeat('00', 16), 'hex'), node.speaks_from, \
         node.speaks_to, node.lease_ms, node.bus, node.secret_mark) WHERE node.name = 'one'",
    )?;
    std::fs::write(one.home().join("plugins").join(FILE), build(2, false))?;
    eventually("the rollout has begun", async || {
        let begun = server.sql(&name, "SELECT record->>'last' FROM bennu.plugin")?;
        Ok((begun == "2").then_some(()))
    })
    .await?;
    one.signal(Signal::KILL)?;
    serves([&two, &three], 2).await?;
    // A node may take the build that the other one wrote, before it has read again who is dead.
    knows(&two, "one", "dead").await?;
    knows(&two, "ghost", "dead").await?;
    let mut client = two.connect().await?;
    client.join("tally:1", &json!({})).await?;
    ensure!(answers(&mut client).await? == 2);
    drop((client, one));
    stop([two, three]).await
}

/// Commands of operators hold for all nodes, wherever they are given.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_and_an_unload_hold_at_all_nodes() -> Result<()> {
    let (_, url) = database()?;
    let plan = Plan::on(&url).guests(&[]);
    let hosts = three(&plan).await?;
    serves(&hosts, 1).await?;
    ensure!(hosts[0].put_file(FILE, build(2, false).as_bytes()).await? == Loading::Done(2));
    serves(&hosts, 2).await?;
    let command = |host: &TestHost, arguments: &[&str]| -> Result<String> {
        let address = host.address().to_string();
        let ended = bennu(host.home(), &[&["plugins"], arguments, &["--host", &address]].concat())?;
        Ok(ended.output + &ended.errors)
    };
    let said = command(&hosts[2], &["rollback", "tally"])?;
    ensure!(said.contains("generation 1"), "{said}");
    serves(&hosts, 1).await?;
    let listed = command(&hosts[1], &[])?;
    for node in ["one", "two", "three"] {
        ensure!(listed.contains(&format!("at {node}: generation")), "{listed}");
    }
    command(&hosts[1], &["unload", "tally"])?;
    serves(&hosts, 0).await?;
    let said = command(&hosts[0], &["reload", "tally"])?;
    ensure!(said.contains("generation 3"), "{said}");
    serves(&hosts, 3).await?;
    let said = command(&hosts[0], &["rollback", "nobody"])?;
    ensure!(said.contains("there is no plugin"), "{said}");
    stop(hosts).await
}

/// A gatekeeper whose build has a number.
fn gatekeeper(number: u32) -> String {
    format!(
        r#"import {{ forbid, gatekeeper }} from "bennu";
        export default gatekeeper((request) => request.params.number === "{number}" ? {{}} : forbid(403, "build {number}"));"#
    )
}

/// A gatekeeper of one node decides at all nodes, also at one that has no file of it and starts later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gatekeeper_decides_at_all_nodes() -> Result<()> {
    let (_, url) = database()?;
    let plan = Plan::on(&url).guests(&[]);
    let one = plan.setup("one")?.file("plugins/gate.js", gatekeeper(1).into()).start().await?;
    let two = plan.start("two").await?;
    let admits = async |host: &TestHost, number: u32| {
        let request = host.connect_request().query(&format!("vsn=2.0.0&number={number}"));
        request.connect().await.is_ok()
    };
    for host in [&one, &two] {
        ensure!(admits(host, 1).await && !admits(host, 2).await);
    }
    ensure!(two.put_file("gate.js", gatekeeper(2).as_bytes()).await? == Loading::Done(2));
    eventually("the new build decides", async || Ok(admits(&one, 2).await.then_some(()))).await?;
    let three = plan.start("three").await?;
    ensure!(admits(&three, 2).await && !admits(&three, 1).await);
    // A plugin in its place would open the mounts.
    let Loading::Refused(why) = one.put_file("gate.js", build(3, false).as_bytes()).await? else { bail!("it serves") };
    ensure!(why.contains("not a gatekeeper"), "{why}");
    stop([one, two, three]).await
}
