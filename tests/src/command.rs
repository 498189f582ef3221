//! Runs the command line.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::{PostgresServer, places};

/// The result of a command.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The exit code; `None` if a signal ended the command.
    pub code: Option<i32>,
    /// The text on standard output.
    pub output: String,
    /// The text on standard error.
    pub errors: String,
}

/// Runs `bennu` with these arguments in `directory`, and waits until it ends.
///
/// # Errors
/// If the binary can't be started.
pub fn bennu(directory: &Path, arguments: &[&str]) -> Result<Ended> {
    bennu_with(directory, arguments, &[])
}

/// Runs `bennu` as [`bennu()`] does, with environment variables.
///
/// # Errors
/// If the binary can't be started.
pub fn bennu_with(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Ended> {
    let mut command = Command::new(places::binary()?);
    command.args(arguments).args(configuration(directory, arguments)).current_dir(directory).stdin(Stdio::null());
    for name in ["BENNU_LOG", "BENNU_SECRET_KEY_BASE", "BENNU_HOST", "BENNU_DATA", "BENNU_API_KEY"] {
        command.env_remove(name);
    }
    command.env("XDG_CACHE_HOME", places::cache_home()?).envs(variables.iter().copied());
    run(&mut command).with_context(|| format!("running bennu {arguments:?}"))
}

/// Exports the store of a stopped host in `directory`, replaces the store by this export, and checks that another export is the same.
/// Returns the export.
///
/// # Errors
/// If a command fails, or the second export differs.
pub fn exported(directory: &Path) -> Result<String> {
    let store = |arguments: &[&str]| -> Result<String> {
        let ended = bennu(directory, &[&["store"], arguments].concat())?;
        ensure!(ended.code == Some(0), "{ended:?}");
        Ok(ended.output)
    };
    let exported = store(&["export"])?;
    std::fs::write(directory.join("backup.jsonl"), &exported)?;
    store(&["import", "--replace", "backup.jsonl"])?;
    ensure!(store(&["export"])? == exported, "an import changes an export");
    Ok(exported)
}

/// The flag that names the configuration beside the data, for commands of the store that name only the data, if all hosts of the tests
/// have their store on a server.
fn configuration(directory: &Path, arguments: &[&str]) -> &'static [&'static str] {
    const READERS: [&str; 7] = ["backup", "export", "get", "import", "rename", "scan", "usage"];
    let is_of_store =
        arguments.first() == Some(&"store") && arguments.get(1).is_some_and(|verb| READERS.contains(verb));
    let is_named = arguments.iter().any(|argument| *argument == "--config" || *argument == "--host");
    let has_file = directory.join("bennu.toml").is_file();
    if PostgresServer::is_wanted() && is_of_store && !is_named && has_file { &["--config", "bennu.toml"] } else { &[] }
}

/// The time that a command has. It is far more than any needs, so that a command that hangs fails its test, and says where.
const DEADLINE: Duration = Duration::from_secs(600);

fn run(command: &mut Command) -> Result<Ended> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (output, errors) = (read(child.stdout.take()), read(child.stderr.take()));
    let status = wait(&mut child)?;
    let text = |reader: thread::JoinHandle<Vec<u8>>| {
        let bytes = reader.join().map_err(|_| anyhow!("reading the output panicked"))?;
        Ok::<_, anyhow::Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok(Ended { code: status.code(), output: text(output)?, errors: text(errors)? })
}

/// Reads a stream to its end in a thread, so that a full pipe doesn't block the command.
fn read(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is kept: the test sees that it is incomplete.
        let _ = stream.map(|mut stream| stream.read_to_end(&mut bytes));
        bytes
    })
}

/// Waits for the end of a command.
///
/// # Errors
/// If it doesn't end within [`DEADLINE`]. Then the command is killed, and the error says what its threads were waiting for.
fn wait(child: &mut Child) -> Result<ExitStatus> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() > deadline {
            let threads = threads(child.id());
            child.kill()?;
            child.wait()?;
            bail!("it didn't end within {} s; its threads were: {threads}", DEADLINE.as_secs());
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// The threads of a process, each with its state and the function of the kernel in which it waits.
fn threads(process: u32) -> String {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let thread = |task: std::fs::DirEntry| {
        let text = |name: &str| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let state = text("stat").rsplit(')').next().and_then(|rest| rest.split_whitespace().next().map(str::to_owned));
        format!("{} {} {}", text("comm").trim(), state.unwrap_or_default(), text("wchan"))
    };
    tasks.map(thread).collect::<Vec<_>>().join("; ")
}
