//! Configurations and engines with which a node doesn't start, each with a sentence that says what to do.

use anyhow::{Context, Result, ensure};
use bennu_tests::{PostgresPooler, PostgresServer, Setup, bennu, bennu_with, eventually, get};

use crate::database;
use crate::plan::{Plan, SECRET, cluster};
use crate::together::{audit, deposit_from_all};

/// The configuration of a host without a cluster.
fn alone(url: &str) -> Setup {
    Setup::new().config(&format!("[store]\nurl = {url:?}\n"))
}

#[tokio::test]
async fn databases_that_can_not_be_used_are_refused() -> Result<()> {
    let server = PostgresServer::shared()?;
    let (name, url) = database()?;
    server.sql(
        "postgres",
        "CREATE DATABASE nodeslatin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    )?;
    server.sql("postgres", "CREATE ROLE nodestranger LOGIN; CREATE ROLE nodesbarred NOLOGIN")?;
    for (url, expected) in [
        (server.url("nodesbarred", &name), "check the user and the password"),
        (server.url("nodesnobody", &name), "check the user and the password"),
        (server.url("postgres", "nodesnowhere"), "CREATE DATABASE"),
        (server.url("postgres", "nodeslatin"), "needs UTF8"),
        (server.url("nodestranger", &name), "GRANT CREATE ON DATABASE"),
        ("postgres://postgres@127.0.0.1:1/app".to_owned(), "127.0.0.1"),
    ] {
        let said = Plan::on(&url).store("wait_ms = 200").refusal("one").await?;
        ensure!(said.contains("`store` can't be used") && said.contains(expected), "{url}: {said}");
    }
    Plan::on(&url).start("one").await?.stop().await?;
    server.sql(&name, "UPDATE bennu.version SET version = 99")?;
    let said = Plan::on(&url).refusal("one").await?;
    ensure!(said.contains("has version 99"), "{said}");
    Ok(())
}

/// The settings that matter are those of the session, whatever the role has as defaults.
#[tokio::test]
async fn defaults_of_a_role_change_nothing() -> Result<()> {
    let (name, _) = database()?;
    let server = PostgresServer::shared()?;
    server.sql(
        &name,
        &format!(
            "CREATE ROLE nodesodd LOGIN; GRANT CREATE ON DATABASE {name} TO nodesodd; \
             ALTER ROLE nodesodd SET default_transaction_isolation = 'repeatable read'; \
             ALTER ROLE nodesodd SET synchronous_commit = off; ALTER ROLE nodesodd SET statement_timeout = '1ms'; \
             ALTER ROLE nodesodd SET default_transaction_read_only = on; ALTER ROLE nodesodd SET search_path = nowhere"
        ),
    )?;
    let plan = Plan::on(&server.url("nodesodd", &name));
    let hosts = [plan.start("one").await?, plan.start("two").await?];
    deposit_from_all(&hosts, 3).await?;
    ensure!(audit(&hosts[1]).await?["sum"] == 12);
    Ok(())
}

/// A node has five connections beside those of the store. Too few are said, with the remedies.
#[tokio::test]
async fn too_few_connections_are_refused() -> Result<()> {
    let (name, _) = database()?;
    let server = PostgresServer::shared()?;
    server.sql(
        &name,
        &format!("CREATE ROLE nodesfew LOGIN CONNECTION LIMIT 3; GRANT CREATE ON DATABASE {name} TO nodesfew"),
    )?;
    let plan = Plan::on(&server.url("nodesfew", &name)).store("connections = 2");
    let said = plan.refusal("one").await?;
    ensure!(said.contains("too many connections for role") && said.contains("CONNECTION LIMIT"), "{said}");
    server.sql(&name, "ALTER ROLE nodesfew CONNECTION LIMIT 20")?;
    plan.start("one").await?.stop().await?;
    Ok(())
}

/// The number that docs/cluster.md names, once a node has all of them.
#[tokio::test]
async fn a_node_has_as_many_connections_as_the_document_says() -> Result<()> {
    let (name, url) = database()?;
    let server = PostgresServer::shared()?;
    let host = Plan::on(&url).store("connections = 3").start("one").await?;
    deposit_from_all(std::slice::from_ref(&host), 3).await?;
    let query = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'");
    // Two of the start end in a moment.
    eventually(
        "2 for the table of nodes, 1 for the records of plugins, 2 for the bus, and 3 for the store",
        async || Ok((server.sql("postgres", &query)? == "8").then_some(())),
    )
    .await?;
    host.stop().await?;
    Ok(())
}

/// A node with other settings would declare the others dead too early, or wouldn't hear them.
#[tokio::test]
async fn a_node_whose_settings_differ_is_refused_and_no_secret_is_shown() -> Result<()> {
    let (_, url) = database()?;
    let plan = Plan::on(&url).key("lease_ms = 30000");
    let first = plan.start("one").await?;
    let (variable, secret) = SECRET;
    let open = format!("[store]\nurl = {url:?}\n[cluster]\nname = \"two\"\nlease_ms = 30000\n");
    for (setup, expected) in [
        (Plan::on(&url).setup("two")?, "`cluster.lease_ms` is 30000 there and 10000 here"),
        (plan.setup("two")?.variable(variable, "hunter2"), "`cluster.secret` is another one there"),
        (Setup::new().config(&open), "`cluster.secret` is set there and not here"),
    ] {
        let said = format!("{:#}", setup.start().await.err().context("the host has started")?);
        ensure!(said.contains("the node one has other settings") && said.contains(expected), "{said}");
        ensure!(!said.contains(secret) && !said.contains("hunter2"), "{said}");
    }
    audit(&first).await?;
    first.stop().await?;
    // Nobody is there, so other settings can begin.
    Plan::on(&url).start("two").await?.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_second_node_of_one_name_is_refused() -> Result<()> {
    let (_, url) = database()?;
    let plan = Plan::on(&url);
    let first = plan.start("one").await?;
    let said = plan.refusal("one").await?;
    ensure!(
        said.contains("this host can't enter its cluster") && said.contains("another node named one is running"),
        "{said}"
    );
    audit(&first).await?;
    first.stop().await?;
    // A stop frees the name at once.
    plan.start("one").await?.stop().await?;
    Ok(())
}

/// Nodes and a host without a cluster never write to the same store.
#[tokio::test]
async fn a_host_without_a_cluster_and_a_node_exclude_each_other() -> Result<()> {
    let (_, url) = database()?;
    let node = Plan::on(&url).start("one").await?;
    let said = format!("{:#}", alone(&url).start().await.err().context("the host has started")?);
    ensure!(said.contains("is in use by the hosts of a cluster"), "{said}");
    node.stop().await?;
    let host = alone(&url).start().await?;
    let said = Plan::on(&url).refusal("one").await?;
    ensure!(said.contains("is in use by a bennu without `[cluster]`"), "{said}");
    host.stop().await?;
    Ok(())
}

/// As when later versions of bennu start beside a node: the schema is of an earlier version, and would have to be changed. Who is refused
/// anyway changes nothing.
#[tokio::test]
async fn a_host_that_is_refused_has_not_changed_the_schema() -> Result<()> {
    let (name, url) = database()?;
    let node = Plan::on(&url).start("one").await?;
    let server = PostgresServer::shared()?;
    let known = server.sql(&name, "SELECT version FROM bennu.version")?;
    server
        .sql(&name, "UPDATE bennu.version SET version = 1; UPDATE bennu.node SET speaks_from = 90, speaks_to = 91")?;
    let said = Plan::on(&url).refusal("two").await?;
    ensure!(said.contains("the schema bennu has to be changed, and the node one of the cluster runs"), "{said}");
    ensure!(said.contains("understands the versions 90 to 91 of the protocol"), "{said}");
    let said = format!("{:#}", alone(&url).start().await.err().context("the host has started")?);
    ensure!(said.contains("is in use by the hosts of a cluster"), "{said}");
    ensure!(server.sql(&name, "SELECT version FROM bennu.version")? == "1");
    server.sql(&name, &format!("UPDATE bennu.version SET version = {known}"))?;
    node.stop().await?;
    Ok(())
}

/// Two nodes have two data directories.
#[tokio::test]
async fn two_nodes_have_two_data_directories() -> Result<()> {
    let (_, url) = database()?;
    let plan = Plan::on(&url);
    let first = plan.start("one").await?;
    let data = first.home().join("data");
    let second = plan.setup("two")?.arguments(&["--data", &data.to_string_lossy()]).start().await;
    let said = format!("{:#}", second.err().context("the host has started")?);
    ensure!(said.contains("`data` can't be used") && said.contains("in use by another bennu"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_pooler_in_transaction_mode_is_refused() -> Result<()> {
    let (name, _) = database()?;
    let Some(transaction) = PostgresPooler::start("transaction").await? else {
        bennu_test_tiers::note_skipped("PgBouncer isn't installed");
        return Ok(());
    };
    let said = Plan::on(&transaction.url(&name)).refusal("one").await?;
    ensure!(said.contains("pooler in transaction mode"), "{said}");
    Ok(())
}

/// What is wrong without any engine: `bennu serve --check` says the same.
#[tokio::test]
async fn configurations_that_can_not_work_are_refused_by_a_check_too() -> Result<()> {
    let url = "postgres://me@127.0.0.1/app";
    let store = format!("[store]\nurl = {url:?}\n");
    let cases = [
        ("[cluster]\n".to_owned(), "needs a store that all nodes share"),
        (format!("{store}[cluster]\nlease_ms = 10\n"), "`cluster.lease_ms` is 10; it must be from 1000"),
        (format!("{store}[cluster]\nname = \"\"\n"), "`cluster.name`"),
        (format!("{store}[cluster]\nsecret = \"hunter2\"\n"), "`cluster.secret`: secrets come from"),
        (format!("{store}[cluster]\nsecret = {{ env = \"NO_SUCH_VARIABLE\" }}\n"), "`cluster.secret` can't be used"),
        (format!("{store}[cluster]\nbus = \"redis\"\n"), "`\"postgres\"`, or a table with `nats`"),
        (format!("{store}[cluster]\nbus = {{ nats = \"localhost\" }}\n"), "`cluster.bus.nats`"),
        (format!("{store}[cluster]\nbus = {{ nats = \"nats://a\", user = \"me\" }}\n"), "given together"),
        (
            format!("{store}[cluster]\nbus = {{ nats = \"nats://a\", token = {{ file = \"none.txt\" }} }}\n"),
            "`cluster.bus.token` can't be used",
        ),
        (format!("{store}[cluster]\nlease_m = 10\n"), "did you mean `lease_ms`?"),
        (
            format!("{store}[cluster]\n[[webhooks]]\nurl = \"https://a.example\"\ntopics = [\"a\"]\n"),
            "a host with `cluster` can't have `webhooks`",
        ),
        (
            format!("{store}[cluster]\n[[plugins.a.cron]]\nschedule = \"0 0 * * *\"\ntopic = \"a\"\nevent = \"e\"\n"),
            "a host with `cluster` can't have cron lines",
        ),
    ];
    let home = tempfile::tempdir()?;
    std::fs::create_dir(home.path().join("plugins"))?;
    for (config, expected) in cases {
        let started = Setup::new().config(&config).start().await;
        let said = format!("{:#}", started.err().with_context(|| format!("started: {config}"))?);
        ensure!(said.contains(expected) && !said.contains("hunter2"), "{config}: {said}");
        std::fs::write(home.path().join("bennu.toml"), &config)?;
        let checked = bennu(home.path(), &["serve", "plugins", "--config", "bennu.toml", "--check"])?;
        ensure!(checked.code != Some(0) && checked.errors.contains(expected), "{config}: {checked:?}");
    }
    Ok(())
}

/// A plugin whose topics need one place for their turns is refused, and the sentence says what can be done.
#[tokio::test]
async fn plugins_with_turns_need_a_balancer_and_durable_rooms_are_refused() -> Result<()> {
    let (_, url) = database()?;
    let refused = async |plan: &Plan, name: &str| -> Result<String> {
        let host = plan.start(name).await?;
        let inspected = host.inspect().await?;
        let errors: Vec<&str> = ["chat", "counter", "shelf"]
            .iter()
            .filter_map(|plugin| inspected["plugins"][plugin]["last_error"].as_str())
            .collect();
        Ok(errors.join("; "))
    };
    let said = refused(&Plan::on(&url).guests(&["chat"]), "one").await?;
    ensure!(said.contains("name the pattern in `cluster.sticky`"), "{said}");
    let said = refused(&Plan::on(&url).guests(&["counter"]).key("sticky = [\"count:*\"]"), "two").await?;
    ensure!(said.is_empty(), "{said}");
    let said = refused(&Plan::on(&url).guests(&["shelf"]).key("sticky = [\"*\"]"), "three").await?;
    ensure!(said.contains("has durable rooms"), "{said}");
    Ok(())
}

/// A node isn't replaced while it runs, and its configuration of the cluster isn't changed.
#[tokio::test]
async fn a_node_is_not_replaced_and_does_not_change_its_cluster() -> Result<()> {
    let (_, url) = database()?;
    let plan = Plan::on(&url);
    let mut host = plan.start("one").await?;
    let pid = host.pid();
    let refused = host.upgrade(&[]).await?;
    ensure!(
        refused.code == Some(1) && refused.errors.contains("a node of a cluster isn't replaced while it runs"),
        "{refused:?}"
    );
    let (variable, secret) = SECRET;
    let arguments = ["serve", "plugins", "--config", "bennu.toml", "--take-over", "--listen", "127.0.0.1:0"];
    let taking = bennu_with(host.home(), &arguments, &[(variable, secret)])?;
    ensure!(taking.code == Some(1) && taking.errors.contains("a node of a cluster isn't replaced"), "{taking:?}");
    let path = host.home().join("bennu.toml");
    let changed = std::fs::read_to_string(&path)?.replace("name = \"one\"", "name = \"other\"");
    std::fs::write(&path, changed)?;
    let address = host.address().to_string();
    let reloaded = bennu(host.home(), &["config", "reload", "--host", &address])?;
    ensure!(reloaded.code == Some(0) && reloaded.output == "restart          cluster\n", "{reloaded:?}");
    ensure!(host.pid() == pid && cluster(&host).await?["node"] == "one");
    host.stop().await?;
    Ok(())
}

/// A host without a cluster says so.
#[tokio::test]
async fn the_command_says_that_there_is_no_cluster() -> Result<()> {
    let host = Setup::new().start().await?;
    let asked = bennu(host.home(), &["cluster", "--host", &host.address().to_string()])?;
    ensure!(asked.code == Some(1) && asked.errors.contains("this host isn't in a cluster"), "{asked:?}");
    ensure!(!get(host.address(), "/metrics").await?.body.contains("bennu_cluster"));
    host.stop().await?;
    Ok(())
}
