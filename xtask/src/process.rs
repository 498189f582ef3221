//! Runs other programs: with their output, without it, or with a time limit.

use std::env;
use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::step::took;

/// How often a waiting loop checks whether the program has ended.
const LOOK: Duration = Duration::from_millis(100);

/// How often a line says that a silent program still runs, if standard error isn't a terminal.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);

/// A command for the cargo that runs this program, in the folder `place`.
pub(crate) fn cargo(place: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(place);
    command
}

/// Runs a program and shows its output.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| cannot_start(command))?;
    if !status.success() {
        bail!("`{}` failed ({status})", line(command));
    }
    Ok(())
}

/// Runs a program without its output, and shows `what` and the elapsed time instead. If the program fails, its output is
/// shown.
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

/// Runs a program and shows its output, and ends it after `limit`. Returns whether it succeeded in time.
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

/// Runs a program and returns its standard output, trimmed.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().with_context(|| cannot_start(command))?;
    if !output.status.success() {
        bail!("`{}` failed ({})", line(command), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A command whose process is killed when the thread that has started it ends, and so with this process, however that ends. Where there is no
/// `setpriv`, it ends only with Ctrl-C in the terminal of both.
pub(crate) fn tied(program: &Path) -> Command {
    match on_path("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// Finds the program `name` in the directories of `PATH`.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(name).with_extension(env::consts::EXE_EXTENSION))
        .find(|file| file.is_file())
}

/// Kills a program and waits until it has ended.
pub(crate) fn end(child: &mut Child) {
    // Both fail only if the program has already ended.
    let _ = child.kill();
    let _ = child.wait();
}

pub(crate) fn cannot_start(command: &Command) -> String {
    format!("cannot start `{}`", command.get_program().display())
}

/// A command as a user would type it.
pub(crate) fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let words = program.file_name().into_iter().chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// Shows that a silent program still runs, and for how long.
struct WaitTimer<'a> {
    what: &'a str,
    began: Instant,
    shown: Instant,
    /// Whether the last line of the terminal may be overwritten.
    owns_terminal: bool,
}

impl<'a> WaitTimer<'a> {
    fn begin(what: &'a str) -> Self {
        let now = Instant::now();
        eprintln!("  {what} …");
        // On another thread, the last line of the terminal may belong to another program, so only whole lines are written.
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
