//! Runs the programs that build and test plugins.

use std::ffi::OsString;
use std::path::Path;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use std::{env, io};

use bennu::project::Invocation;
use bennu::server::write_error_line;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// The maximum number of bytes of a program's output that are kept. The first ones are, because the first error explains most.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// A line that is longer is shown in parts.
const LINE_BYTES_MAX: usize = 16 << 10;

/// The variable in which the test kit in TypeScript finds this executable.
const OWN: &str = "BENNU";

/// How long the output of a program that has ended is waited for.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// What a program has done.
pub(in crate::commands) struct Ran {
    pub(in crate::commands) status: ExitStatus,
    /// What it has written to its standard output, if that isn't shown.
    pub(in crate::commands) output: Vec<u8>,
    /// The text that was shown.
    pub(in crate::commands) shown: String,
}

/// Whether the lines of a stream are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Lines,
    Nothing,
}

/// Runs a program to its end, and shows each line that it prints. If the future is dropped, the program and all programs that it
/// has started are killed.
///
/// # Errors
/// Returns the operating system's error if the program can't be started.
pub(in crate::commands) async fn run(invocation: &Invocation) -> io::Result<Ran> {
    let (mut running, errors) = start(invocation)?;
    let output = running.0.stdout.take();
    let is_shown = if invocation.is_output_for_people { Shown::Lines } else { Shown::Nothing };
    let (mut output_text, mut errors_text) = (Vec::new(), Vec::new());
    let status = {
        let mut reading = pin!(async {
            tokio::join!(read(output, is_shown, &mut output_text), read(errors, Shown::Lines, &mut errors_text));
        });
        tokio::select! {
            () = &mut reading => running.0.wait().await,
            status = running.0.wait() => {
                // A program that it has left behind may hold the streams open for ever.
                let _ = timeout(LAST_OUTPUT, reading).await;
                status
            }
        }
    };
    let mut shown = String::from_utf8_lossy(&errors_text).into_owned();
    if is_shown == Shown::Lines {
        shown.push_str(&String::from_utf8_lossy(&output_text));
    }
    Ok(Ran { status: status?, output: output_text, shown })
}

/// The stream of a program's errors. On Unix it is also that of its output, if both are shown: with one pipe for both, their lines
/// keep their order.
#[cfg(unix)]
type Errors = tokio::net::unix::pipe::Receiver;
#[cfg(not(unix))]
type Errors = tokio::process::ChildStderr;

/// Starts a program.
fn start(invocation: &Invocation) -> io::Result<(Running, Option<Errors>)> {
    let mut command = Command::new(&invocation.program);
    command.args(&invocation.arguments).current_dir(&invocation.directory);
    command.envs(invocation.variables.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    // Programs that start `bennu` themselves, such as test kits, find this one.
    if let Ok(own) = env::current_exe() {
        if env::var_os(OWN).is_none() {
            command.env(OWN, &own);
        }
        if let Some(path) = path_with_folder_of(&own) {
            command.env("PATH", path);
        }
    }
    #[cfg(unix)]
    {
        // A group of its own, so that the compilers that it starts end with it.
        command.process_group(0);
        let (reader, writer) = io::pipe()?;
        if invocation.is_output_for_people {
            command.stdout(writer.try_clone()?);
        }
        command.stderr(writer);
        let running = Running(command.spawn()?);
        // The command has the end that is written to. The stream ends when the program alone has it, and ends.
        drop(command);
        Ok((running, Some(Errors::from_owned_fd(reader.into())?)))
    }
    #[cfg(not(unix))]
    {
        let mut running = Running(command.spawn()?);
        let errors = running.0.stderr.take();
        Ok((running, errors))
    }
}

/// The variable `PATH`, with the folder of an executable first.
fn path_with_folder_of(own: &Path) -> Option<OsString> {
    let folders = env::var_os("PATH").unwrap_or_default();
    env::join_paths(std::iter::once(own.parent()?.to_owned()).chain(env::split_paths(&folders))).ok()
}

/// A running program. Dropping it kills its group.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // After the program's end there is no number, so another process that has got it isn't killed.
        #[cfg(unix)]
        if let Some(group) = self.0.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
            // An error means that all of them have just ended.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

/// Reads a stream to its end, and shows its lines. An error counts as the end: the program's status says more.
async fn read(stream: Option<impl AsyncRead + Unpin>, shown: Shown, kept: &mut Vec<u8>) {
    let Some(mut stream) = stream else { return };
    let (mut line, mut buffer) = (Vec::new(), [0; 8192]);
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        let bytes = &buffer[..count];
        kept.extend_from_slice(&bytes[..count.min(KEPT_BYTES_MAX - kept.len())]);
        if shown == Shown::Lines {
            line.extend_from_slice(bytes);
            show(&mut line, false);
        }
    }
    show(&mut line, true);
}

/// Shows the complete lines of a text, and removes them. With `is_end`, shows the rest too.
fn show(text: &mut Vec<u8>, is_end: bool) {
    let end = match text.iter().rposition(|byte| *byte == b'\n') {
        Some(at) if !is_end => at + 1,
        None if !is_end && text.len() < LINE_BYTES_MAX => 0,
        _ => text.len(),
    };
    if end > 0 {
        let lines: Vec<u8> = text.drain(..end).collect();
        write_error_line(String::from_utf8_lossy(&lines).trim_end_matches('\n'));
    }
}
