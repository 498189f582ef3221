//! The demo: everything built as quickly as it can be, and the host running with the examples that have a page.
//!
//! Its people have no passwords: the start page has a link with a token for each. The secret that the tokens are signed with is
//! made at the first run and kept with the demo's storage, so that pages which are open come back after a restart.

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

/// The programs that the demo shows, those of them that there are.
const PROGRAMS: [&str; 3] = ["chat", "notifications", "game"];

/// Who may be looked at as, by the name that a token says.
const PEOPLE: [&str; 3] = ["ada", "bo", "cleo"];

/// What sets the tokens of the mount `/user` apart from others: as `guest-examples/demo/bennu.toml` has it.
const SALT: &str = "user";

/// For so many seconds a link is good: a month, since a demo may be left running.
const LINKS_LAST: &str = "2592000";

/// The variable that the configuration takes the secret from, and `bennu token` too.
const SECRET: &str = "BENNU_SECRET_KEY_BASE";

/// The address that the commands ask unless they are told another.
const USUAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4000);

/// How `cargo xtask demo` was called.
#[derive(Args)]
pub(crate) struct Options {
    /// The address to listen on, instead of 127.0.0.1:4000 (or a free port, where that one is taken)
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
}

/// Builds all that the demo needs and becomes the host.
pub(crate) fn run(options: &Options) -> Result<()> {
    build()?;
    let address = match options.listen {
        // The pages have to know the port before the host runs.
        Some(address) if address.port() == 0 => free_port(address)?,
        Some(address) => address,
        None => free_address()?,
    };
    let secret = secret()?;
    describe(address, &secret)?;
    tell(address);
    serve(address, &secret)
}

/// Builds the host and, beside it, the plugins and their pages: while one of the two waits for a download or for its last crate, the
/// other has the processors.
fn build() -> Result<()> {
    if !host().is_file() {
        note("The first time this compiles the host and its plugins: several minutes on two processors.");
    }
    thread::scope(|scope| {
        let beside = scope.spawn(|| {
            let toolchain = Toolchain::find()?;
            guests::build(&toolchain, guests::Cargo::IsQuiet)?;
            page::put_together()
        });
        let built = step("the host, and beside it the plugins and their pages", || {
            process::run(process::cargo(places::root()).args(HOST))
        });
        beside.join().map_err(|_| anyhow!("panicked while building the plugins"))??;
        built
    })
}

/// The profile `dev`: it compiles in a third of the time that the optimized host takes, and the tests use the same artefacts.
const HOST: [&str; 7] = ["build", "--workspace", "--exclude", "xtask", "--exclude", "bennu-bindings", "--bin=bennu"];

/// Where cargo puts the host.
fn host() -> PathBuf {
    places::target().join("debug").join("bennu").with_extension(EXE_EXTENSION)
}

/// Where the host keeps what outlives it, and the key of its API.
fn data() -> PathBuf {
    places::demo().join("data")
}

/// Port 4000 as Phoenix has it, or whichever is free.
fn free_address() -> Result<SocketAddr> {
    match TcpListener::bind(USUAL) {
        Ok(_) => Ok(USUAL),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let free = free_port(SocketAddr::new(USUAL.ip(), 0))?;
            note(&format!("Port 4000 is taken, so this is port {}.", free.port()));
            Ok(free)
        }
        Err(error) => Err(error).with_context(|| format!("cannot listen on {USUAL}")),
    }
}

fn free_port(address: SocketAddr) -> Result<SocketAddr> {
    let free = TcpListener::bind(address).and_then(|free| free.local_addr());
    free.with_context(|| format!("cannot listen on {address}"))
}

/// The programs whose plugins were built.
fn programs() -> impl Iterator<Item = (&'static str, PathBuf)> {
    let plugins = PROGRAMS.iter().map(|name| (*name, places::guests().join(name).with_extension("wasm")));
    plugins.filter(|(_, plugin)| plugin.is_file())
}

/// The secret of this machine's demo.
fn secret() -> Result<String> {
    let place = places::demo().join("secret");
    if let Ok(secret) = fs::read_to_string(&place) {
        return Ok(secret);
    }
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("there is no randomness: {error}"))?;
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

/// Writes what the pages can't know: which programs there are, the links' tokens, and the command that sends.
fn describe(address: SocketAddr, secret: &str) -> Result<()> {
    let programs: Vec<_> = programs().map(|(name, _)| name).collect();
    let people = PEOPLE.iter().map(|user| Ok(json!({ "user": user, "token": sign(user, secret)? })));
    let people = people.collect::<Result<Vec<_>>>()?;
    let (host, data) = (host(), data());
    let shown = |path: &Path| path.strip_prefix(places::root()).unwrap_or(path).display().to_string();
    // The key of the API is in there.
    let mut send = format!("{} send --data {}", shown(&host), shown(&data));
    if address != USUAL {
        send += &format!(" --host {address}");
    }
    let place = places::pages().join("demo.json");
    let told = json!({ "programs": programs, "people": people, "send": send });
    fs::write(&place, format!("{told:#}\n")).with_context(|| format!("cannot write {}", place.display()))
}

/// A token for a user, as an application's own server would make one.
fn sign(user: &str, secret: &str) -> Result<String> {
    process::read(
        Command::new(host()).args(["token", "sign", "--salt", SALT, "--max-age", LINKS_LAST, user]).env(SECRET, secret),
    )
}

fn tell(address: SocketAddr) {
    let url = format!("http://{address}");
    eprintln!();
    eprintln!("  {}  begin here: it says what to try", paint("1;33", &url));
    eprintln!();
    note("Change guest-examples/chat/src/lib.rs and run `cargo xtask guests` in another terminal");
    note("(or leave `cargo xtask guests --watch` running there): the open page shows the change.");
    note("This host was compiled quickly, not to be fast: measure one of `cargo build --release -p bennu`.");
    note("Ctrl-C ends the demo.");
    eprintln!();
}

/// Runs the host until it ends. Where the system lets it, it takes this program's place, so that signals reach it.
fn serve(address: SocketAddr, secret: &str) -> Result<()> {
    let mut host = Command::new(host());
    host.arg("serve").args(programs().map(|(_, plugin)| plugin)).env(SECRET, secret);
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
