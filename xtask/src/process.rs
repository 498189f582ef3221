//! Programs that the commands start: seen, unseen or bounded in time.

use std::env;
use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::step::took;

/// How often a waiting loop looks again.
const LOOK: Duration = Duration::from_millis(100);

/// How often a program that says nothing is said to be at work, where there is no terminal to count on.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);

/// The cargo that runs this command, in the folder `place`.
pub(crate) fn cargo(place: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(place);
    command
}

/// Runs a program that speaks for itself.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| cannot_start(command))?;
    if !status.success() {
        bail!("`{}` failed ({status})", line(command));
    }
    Ok(())
}

/// Runs a program unseen, with `what` and the time that has passed in its place. Its output is shown if it fails.
pub(crate) fn run_quietly(what: &str, command: &mut Command) -> Result<()> {
    command.stdin(Stdio::null());
    let output = thread::scope(|scope| {
        let running = scope.spawn(|| command.output());
        let mut waiting = WaitTimer::begin(what);
        while !running.is_finished() {
            thread::sleep(LOOK);
            waiting.tick();
        }
        waiting.end();
        running.join()
    });
    let output = output.map_err(|_| anyhow!("panicked while {what}"))?;
    let output = output.with_context(|| cannot_start(command))?;
    if !output.status.success() {
        io::stderr().write_all(&output.stdout)?;
        io::stderr().write_all(&output.stderr)?;
        bail!("`{}` failed ({})", line(command), output.status);
    }
    Ok(())
}

/// Runs a program that speaks for itself, and ends it after `limit`. Tells whether it succeeded in time.
pub(crate) fn run_within(limit: Duration, command: &mut Command) -> Result<bool> {
    let began = Instant::now();
    let mut child = command.stdin(Stdio::null()).spawn().with_context(|| cannot_start(command))?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if began.elapsed() > limit {
            end(&mut child);
            return Ok(false);
        }
        thread::sleep(LOOK);
    }
}

/// What a program prints, trimmed.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().with_context(|| cannot_start(command))?;
    if !output.status.success() {
        bail!("`{}` failed ({})", line(command), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The program called `name` on the path.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(name).with_extension(env::consts::EXE_EXTENSION))
        .find(|file| file.is_file())
}

/// Ends a program and waits until it has gone.
pub(crate) fn end(child: &mut Child) {
    // Both fail only where it has ended by itself, which is as good.
    let _ = child.kill();
    let _ = child.wait();
}

pub(crate) fn cannot_start(command: &Command) -> String {
    format!("cannot start `{}`", command.get_program().display())
}

/// A command as one would type it.
pub(crate) fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let words = program.file_name().into_iter().chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// The sign that something silent is at work.
struct WaitTimer<'a> {
    what: &'a str,
    began: Instant,
    shown: Instant,
    /// Whether lines of the terminal may be written over.
    owns_terminal: bool,
}

impl<'a> WaitTimer<'a> {
    fn begin(what: &'a str) -> Self {
        let now = Instant::now();
        eprintln!("  {what} …");
        // Beside another thread's program, whose last lines aren't ours, only whole lines are written.
        let owns_terminal = io::stderr().is_terminal() && thread::current().name() == Some("main");
        Self { what, began: now, shown: now, owns_terminal }
    }

    fn tick(&mut self) {
        let passed = self.began.elapsed();
        if self.owns_terminal {
            eprint!("\u{1b}[1A\r\u{1b}[2K  {} … {} s\n", self.what, passed.as_secs());
        } else if self.shown.elapsed() >= SIGN_OF_LIFE {
            self.shown = Instant::now();
            eprintln!("  {} … {} s", self.what, passed.as_secs());
        }
    }

    fn end(&self) {
        if self.owns_terminal {
            eprint!("\u{1b}[1A\r\u{1b}[2K");
            eprintln!("  {}: {}", self.what, took(self.began.elapsed()));
        }
    }
}
