//! The command line: its subcommands and their help.

/// Writes a line to standard output.
macro_rules! out_line {
    ($($text:tt)*) => { bennu::terminal::line(format_args!($($text)*)) };
}

/// Writes a line to standard error.
macro_rules! error_line {
    ($($text:tt)*) => { bennu::server::write_error_line(&format!($($text)*)) };
}

mod address;
mod api_key;
mod ask;
mod build;
mod building;
mod check;
mod cluster;
mod completions;
mod config;
mod deliveries;
mod dev;
mod docs;
mod drain;
mod hosting;
mod inspect;
mod key;
mod kit;
mod messages;
mod new;
mod plugins;
mod schedules;
mod serve;
mod signals;
mod store;
mod test;
mod token;
mod topics;
mod types;
mod upgrade;
mod wit;
mod written;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use bennu::server::Listeners;
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Parser, Subcommand};
use tokio::runtime::Builder;

/// A channel server: clients speak the Phoenix Channels protocol, and channel logic is a WebAssembly component.
#[derive(Parser)]
#[command(version, propagate_version = true, after_help = EXAMPLES)]
pub(crate) struct Command {
    #[command(subcommand)]
    what: What,
}

const EXAMPLES: &str = "Examples:
  bennu new my-app                       begin a project: a channel, its tests, and a page
  bennu serve plugins                    serve all plugins of the directory at ws://127.0.0.1:4000/socket
  bennu serve chat.wasm --static public  serve one plugin, and static pages
  bennu check chat.wasm                  describe a plugin, and say whether a host would serve it
  bennu test chat.wasm chat.script       play a transcript against a plugin, without a server
  bennu inspect                          show the state of the host on this machine
  bennu broadcast room:lobby news '{}'   send an event to all members of a topic
  bennu token sign --salt 'user socket' 42   print a token as Phoenix.Token signs it
  bennu docs                             list the pages of the documentation; bennu docs configuration prints one

A running host loads a plugin's file when it changes, and joined channels continue with the new code.";

#[derive(Subcommand)]
enum What {
    New(new::New),
    Serve(serve::Serve),
    Dev(dev::Dev),
    Build(build::Build),
    Check(check::Check),
    Inspect(inspect::Inspect),
    Cluster(cluster::Cluster),
    Plugins(plugins::Plugins),
    Schedules(schedules::Schedules),
    Deliveries(deliveries::Deliveries),
    Topics(topics::Topics),
    Presence(topics::Presence),
    Broadcast(messages::Broadcast),
    Send(messages::Send),
    Kick(messages::Kick),
    Disconnect(messages::Disconnect),
    Config(config::ConfigCommand),
    Reload(config::Reload),
    Drain(drain::Drain),
    Key(api_key::ApiKeys),
    Store(store::Store),
    Test(test::Test),
    Kit(kit::Kit),
    Token(token::Token),
    Types(types::Types),
    Upgrade(upgrade::Upgrade),
    Wit(wit::Wit),
    Docs(docs::Docs),
    Completions(completions::Completions),
}

impl Command {
    pub(crate) fn run(self) -> Result<()> {
        match self.what {
            What::New(new) => new.run(),
            What::Serve(serve) => {
                // Before the runtime starts its threads, because this changes the environment.
                let listeners = Listeners::of_service_manager()?;
                block_on(serve.run(listeners))
            }
            What::Dev(dev) => block_on(dev.run()),
            What::Build(build) => block_on(build.run()),
            What::Check(check) => block_on(check.run()),
            What::Inspect(inspect) => inspect.run(),
            What::Cluster(cluster) => cluster.run(),
            What::Plugins(plugins) => plugins.run(),
            What::Schedules(schedules) => schedules.run(),
            What::Deliveries(deliveries) => deliveries.run(),
            What::Topics(topics) => topics.run(),
            What::Presence(presence) => presence.run(),
            What::Broadcast(broadcast) => broadcast.run(),
            What::Send(send) => send.run(),
            What::Kick(kick) => kick.run(),
            What::Disconnect(disconnect) => disconnect.run(),
            What::Config(config) => config.run(),
            What::Reload(reload) => reload.run(),
            What::Drain(drain) => drain.run(),
            What::Key(keys) => keys.run(),
            What::Store(store) => block_on(store.run()),
            What::Test(test) => test.run(),
            What::Kit(kit) => kit.run(),
            What::Token(token) => token.run(),
            What::Types(types) => types.run(),
            What::Upgrade(upgrade) => block_on(upgrade.run()),
            What::Wit(wit) => wit.run(),
            What::Docs(docs) => docs.run(),
            What::Completions(completions) => completions.run(),
        }
    }
}

/// Parses a path that may be empty. An environment variable may be set to an empty text, which clap's own parser refuses.
fn path_or_nothing() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// How long the runtime waits for blocking tasks at the end, so that none of them can keep the process alive.
const LAST_WAIT: Duration = Duration::from_secs(1);

fn block_on<T>(command: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    let done = runtime.block_on(command);
    runtime.shutdown_timeout(LAST_WAIT);
    done
}
