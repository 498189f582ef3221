//! The demo: everything built in release, and the host running with the chat.

use std::env::consts::EXE_EXTENSION;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::step::{note, paint, step};
use crate::toolchain::Toolchain;
use crate::{guests, page, places, process};

/// How `cargo xtask demo` was called.
#[derive(Args)]
pub(crate) struct Options {
    /// The address to listen on, instead of 127.0.0.1:4000 (or a free port, where that one is taken)
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
}

/// Builds all that the demo needs and becomes the host.
pub(crate) fn run(options: &Options) -> Result<()> {
    let toolchain = step("compiler for plugins", Toolchain::find)?;
    step("plugins", || guests::build(&toolchain))?;
    step("page", || page::put_together("chat"))?;
    step("host, in release", || {
        if !host().is_file() {
            note("The first time this takes some minutes.");
        }
        process::run(process::cargo(places::root()).args(["build", "--release", "--package", "bennu"]))
    })?;
    let address = match options.listen {
        Some(address) => address,
        None => free_address()?,
    };
    tell(address);
    serve(address)
}

/// Where cargo puts the host.
fn host() -> PathBuf {
    places::target().join("release").join("bennu").with_extension(EXE_EXTENSION)
}

/// Port 4000 as Phoenix has it, or whichever is free.
fn free_address() -> Result<SocketAddr> {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, 4000));
    match TcpListener::bind(usual) {
        Ok(_) => Ok(usual),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr())?;
            note(&format!("Port 4000 is taken, so this is port {}.", free.port()));
            Ok(free)
        }
        Err(error) => Err(error).with_context(|| format!("cannot listen on {usual}")),
    }
}

fn tell(address: SocketAddr) {
    let url = format!("http://{address}");
    eprintln!();
    eprintln!("  {}  the chat, best in two windows", paint("1;33", &url));
    eprintln!();
    note("Change guest-examples/chat/src/lib.rs and run `cargo xtask guests` in another terminal");
    note("(or leave `cargo xtask guests --watch` running there): the open page shows the change.");
    note("Ctrl-C ends the demo.");
    eprintln!();
}

/// Runs the host until it ends. Where the system lets it, it takes this program's place, so that signals reach it.
fn serve(address: SocketAddr) -> Result<()> {
    let mut host = Command::new(host());
    host.arg("serve").arg(places::guests().join("chat.wasm"));
    host.arg("--static").arg(places::page("chat"));
    host.arg("--listen").arg(address.to_string());
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt as _;
        Err(host.exec()).context("cannot start the host")
    }
    #[cfg(not(unix))]
    process::run(&mut host)
}
