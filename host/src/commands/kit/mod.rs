//! `bennu kit`.

mod acts;
mod asks;
mod effect;
mod fields;
mod peer;
mod wire;
mod written;

use std::fs;
use std::io::{Write as _, stdin};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use bennu::plugin::blank_types;
use bennu::terminal::Out;
use bennu_world::{TURNS_MAX, World};
use clap::Args;
use fields::{Fields, Misread};
use peer::Peer;
use wire::Wire;
use written::Written;

/// Run the host of a test kit in another language, over JSON lines on standard input and output
#[derive(Args)]
#[command(after_help = PROTOCOL)]
pub(super) struct Kit {
    /// Only print this file in TypeScript with blanks for its types, for a version of Node that can't remove them
    #[arg(long, value_name = "FILE")]
    javascript: Option<PathBuf>,
}

const PROTOCOL: &str = "The client of this command is a test kit with a plugin's callbacks in its own language. Each line is a JSON object:
  > {\"do\": \"routes\", \"routes\": [{\"pattern\": \"room:*\"}]}
  < {\"ok\": null}
  > {\"do\": \"connect\", \"user\": \"ada\"}
  < {\"ok\": 1}
  > {\"do\": \"push\", \"client\": 1, \"topic\": \"room:1\", \"event\": \"phx_join\", \"payload\": {}}
  < {\"call\": \"join\", \"member\": 1, \"topic\": \"room:1\", \"room\": null, \"payload\": {}}
  > {\"ask\": \"push\", \"event\": \"welcome\", \"payload\": {}}
  < {\"ok\": null}
  > {\"return\": {\"assigns\": {\"count\": 0}, \"payload\": {}}}
  < {\"ok\": \"1\"}

It has no port, no plugin and no clock: the client advances the time. `bennu docs kit` describes every line";

impl Kit {
    pub(super) fn run(self) -> Result<()> {
        if let Some(file) = self.javascript {
            let source = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
            return Ok(Out.write_all(blank_types(&file.to_string_lossy(), &source)?.as_bytes())?);
        }
        serve(Wire::new(stdin().lock(), Out))
    }
}

/// Runs the commands of the client until it closes its end.
fn serve(wire: Wire) -> Result<()> {
    let mut world = World::new(Peer::new(wire));
    while let Some(line) = world.callbacks().read() {
        let answer = match take(&mut world, &line) {
            Ok(Ok(json)) => Written::ok(&json),
            Ok(Err(fault)) => Written::fault(&fault),
            Err(why) => Written::new("error", why),
        };
        if world.is_endless() {
            let why = format!("more than {TURNS_MAX} turns followed from one act: they send messages to one another");
            world.callbacks().refuse(&why);
            bail!(why);
        }
        world.callbacks().write(answer);
    }
    world.callbacks().take_failure().map_or(Ok(()), Err)
}

fn take(world: &mut World<Peer>, line: &str) -> Misread<acts::Done> {
    let mut fields = Fields::read(line)?;
    let Some(name) = fields.get::<String>("do")? else {
        return Err("no callback is under way: a line has `do`".to_owned());
    };
    acts::act(world, &name, &mut fields)
}

#[cfg(test)]
mod tests;
