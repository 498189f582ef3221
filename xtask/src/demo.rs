//! The demo: a quick build of everything, and a running host with the examples that have a page.
//!
//! The demo's users have no passwords. The start page has a link with a token for each user. The first run creates the
//! secret that signs the tokens, and stores it with the demo's data. So open pages can reconnect after a restart.

use std::env::consts::EXE_EXTENSION;
use std::fs;
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use serde_json::json;

use crate::step::{note, paint, step};
use crate::toolchain::Toolchain;
use crate::{guests, page, places, process};

/// The examples that the demo shows.
const PROGRAMS: [&str; 6] = ["chat", "notifications", "game", "board", "yjs", "realtime"];

/// The users that the start page has links for.
const PEOPLE: [&str; 3] = ["ada", "bo", "cleo"];

/// The salt of the tokens for the mount `/user`. `guest-examples/demo/bennu.toml` has the same salt.
const SALT: &str = "user";

/// How many seconds a link is valid: 30 days, because a demo may run for a long time.
const LINKS_LAST: &str = "2592000";

/// The environment variable from which the configuration and `bennu token` take the secret.
const SECRET: &str = "BENNU_SECRET_KEY_BASE";

/// The default address of Bennu's commands.
const USUAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4000);

/// The arguments of `cargo xtask demo`.
#[derive(Args)]
pub(crate) struct Options {
    /// The address to listen on [default: 127.0.0.1:4000, or a free port if that port is in use]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
}

/// Builds everything that the demo needs, and runs the host.
pub(crate) fn run(options: &Options) -> Result<()> {
    build()?;
    let address = match options.listen {
        // The pages need the port before the host runs.
        Some(address) if address.port() == 0 => free_port(address)?,
        Some(address) => address,
        None => free_address()?,
    };
    let secret = secret()?;
    describe(address, &secret)?;
    tell(address);
    serve(address, &secret)
}

/// Builds the host, and in parallel the plugins and their pages. While one build waits for a download or for its last
/// crate, the other one uses the processors.
fn build() -> Result<()> {
    if !host().is_file() {
        note("The first run compiles the host and its plugins. On two processors, this takes several minutes.");
    }
    thread::scope(|scope| {
        let beside = scope.spawn(|| {
            let toolchain = Toolchain::find()?;
            guests::build_for_demo(&toolchain, &PROGRAMS)?;
            page::put_together()
        });
        let built =
            step("the host, the plugins and their pages", || process::run(process::cargo(places::root()).args(HOST)));
        beside.join().map_err(|_| anyhow!("panicked while building the plugins"))??;
        built
    })
}

/// The profile `dev`: compiling takes a third of the time of an optimized build, and the tests use the same artefacts.
const HOST: [&str; 7] = ["build", "--workspace", "--exclude", "xtask", "--exclude", "bennu-bindings", "--bin=bennu"];

/// The host's executable.
fn host() -> PathBuf {
    places::target().join("debug").join("bennu").with_extension(EXE_EXTENSION)
}

/// The host's data directory, which contains its API key.
fn data() -> PathBuf {
    places::demo().join("data")
}

/// Port 4000, as in Phoenix, or a free port if 4000 is in use.
fn free_address() -> Result<SocketAddr> {
    match TcpListener::bind(USUAL) {
        Ok(_) => Ok(USUAL),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let free = free_port(SocketAddr::new(USUAL.ip(), 0))?;
            note(&format!("Port 4000 is in use, so the demo uses port {}.", free.port()));
            Ok(free)
        }
        Err(error) => Err(error).with_context(|| format!("cannot listen on {USUAL}")),
    }
}

fn free_port(address: SocketAddr) -> Result<SocketAddr> {
    let free = TcpListener::bind(address).and_then(|free| free.local_addr());
    free.with_context(|| format!("cannot listen on {address}"))
}

/// The examples' plugins.
fn plugins() -> impl Iterator<Item = PathBuf> {
    PROGRAMS.iter().map(|name| guests::built(name))
}

/// Reads the demo's secret, or creates it at the first run.
fn secret() -> Result<String> {
    let place = places::demo().join("secret");
    if let Ok(secret) = fs::read_to_string(&place) {
        return Ok(secret);
    }
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("the system gives no random bytes: {error}"))?;
    let secret: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    fs::create_dir_all(places::demo()).with_context(|| format!("cannot make {}", places::demo().display()))?;
    let mut options = fs::OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written =
        options.write(true).create_new(true).open(&place).and_then(|mut file| file.write_all(secret.as_bytes()));
    written.with_context(|| format!("cannot write {}", place.display()))?;
    Ok(secret)
}

/// Writes `demo.json` for the start page: the examples, the tokens for the links, and the command that sends a message.
fn describe(address: SocketAddr, secret: &str) -> Result<()> {
    let people = PEOPLE.iter().map(|user| Ok(json!({ "user": user, "token": sign(user, secret)? })));
    let people = people.collect::<Result<Vec<_>>>()?;
    let (host, data) = (host(), data());
    let shown = |path: &Path| path.strip_prefix(places::root()).unwrap_or(path).display().to_string();
    // The data directory contains the API key, which `bennu send` needs.
    let mut send = format!("{} send --data {}", shown(&host), shown(&data));
    if address != USUAL {
        send += &format!(" --host {address}");
    }
    let place = places::pages().join("demo.json");
    let told = json!({ "programs": PROGRAMS, "people": people, "send": send });
    fs::write(&place, format!("{told:#}\n")).with_context(|| format!("cannot write {}", place.display()))
}

/// Signs a token for a user, as an application's own server would.
fn sign(user: &str, secret: &str) -> Result<String> {
    process::read(
        Command::new(host()).args(["token", "sign", "--salt", SALT, "--max-age", LINKS_LAST, user]).env(SECRET, secret),
    )
}

fn tell(address: SocketAddr) {
    let url = format!("http://{address}");
    eprintln!();
    eprintln!("  {}  Open this page first. It says what to try.", paint("1;33", &url));
    eprintln!();
    note("Change guest-examples/chat/src/lib.rs and run `cargo xtask guests chat` in another terminal.");
    note("The open page shows the change. `cargo xtask guests chat --watch` builds on each save.");
    note("This host and its plugins are optimized little. To measure speed, use `cargo build --release -p bennu` and");
    note("`cargo xtask guests`.");
    note("Press Ctrl-C to end the demo.");
    eprintln!();
}

/// Runs the host until it ends. On Unix, the host replaces this process, so that signals reach it.
fn serve(address: SocketAddr, secret: &str) -> Result<()> {
    let mut host = Command::new(host());
    host.arg("serve").args(plugins()).env(SECRET, secret);
    host.arg("--config").arg(places::guest_sources().join("demo").join("bennu.toml"));
    host.arg("--static").arg(places::pages());
    host.arg("--data").arg(data());
    host.arg("--listen").arg(address.to_string());
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt as _;
        Err(host.exec()).context("cannot start the host")
    }
    #[cfg(not(unix))]
    process::run(&mut host)
}
