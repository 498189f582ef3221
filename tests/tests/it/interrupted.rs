//! Commands on the store that take long: what they show meanwhile, and what is left if they are stopped.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bennu_tests::{TestHost, bennu, eventually, places, within};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::spawn_blocking;

use crate::backup::{PADDING, no_export_runs, padded_host, padding};

/// The bytes of a host's answers that a relay passes on at first: more than the small ones have, and less than an export has.
const AT_FIRST: usize = 1 << 20;

/// Passes connections on to a host, and as many bytes of the answers as the test allows. So a command that reads an export is in the
/// middle of it, however fast the machine is.
struct SlowRelay {
    address: SocketAddr,
    allowed: Arc<Semaphore>,
}

impl SlowRelay {
    async fn to(host: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, allowed) = (listener.local_addr()?, Arc::new(Semaphore::new(AT_FIRST)));
        let passing = Arc::clone(&allowed);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, host, Arc::clone(&passing)));
            }
        });
        Ok(Self { address, allowed })
    }

    fn allow(&self, bytes: usize) {
        self.allowed.add_permits(bytes);
    }
}

/// Passes one connection on until either side closes it.
async fn pass(client: TcpStream, host: SocketAddr, allowed: Arc<Semaphore>) -> Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    // The buffer is small, so that the host still has the most of an export when it is killed.
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(64 << 10)?;
    let (mut from_host, mut to_host) = socket.connect(host).await?.into_split();
    let asking = async { tokio::io::copy(&mut from_client, &mut to_host).await.map(drop) };
    let answering = async {
        let mut bytes = vec![0; 16 << 10];
        loop {
            let read = from_host.read(&mut bytes).await?;
            if read == 0 {
                return std::io::Result::Ok(());
            }
            if let Ok(permits) = allowed.acquire_many(u32::try_from(read).unwrap_or_default()).await {
                permits.forget();
            }
            to_client.write_all(&bytes[..read]).await?;
        }
    };
    tokio::select! {
        asked = asking => asked?,
        answered = answering => answered?,
    }
    Ok(())
}

/// A command that runs.
struct Running {
    child: Child,
    /// The lines of its standard error.
    errors: mpsc::UnboundedReceiver<String>,
}

impl Running {
    fn begin(home: &Path, arguments: &[&str]) -> Result<Self> {
        Self::begin_into(home, arguments, Stdio::null())
    }

    /// The same with a place for its standard output.
    fn begin_into(home: &Path, arguments: &[&str], output: Stdio) -> Result<Self> {
        let mut command = Command::new(places::binary()?);
        command.args(arguments).current_dir(home).env_remove("BENNU_DATA").env_remove("BENNU_API_KEY");
        let mut child = command.stdin(Stdio::piped()).stdout(output).stderr(Stdio::piped()).spawn()?;
        let lines = BufReader::new(child.stderr.take().context("its errors")?).lines();
        let (sender, errors) = mpsc::unbounded_channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Ok(Self { child, errors })
    }

    fn interrupt(&self) -> Result<()> {
        let process = Pid::from_raw(i32::try_from(self.child.id())?).context("a process")?;
        Ok(kill_process(process, Signal::INT)?)
    }

    /// Waits until it ends. Returns its status and the rest of its errors.
    async fn ended(mut self) -> Result<(ExitStatus, String)> {
        let mut lines = Vec::new();
        let ending = async {
            while let Some(line) = self.errors.recv().await {
                lines.push(line);
            }
        };
        within("the end of the command", ending).await?;
        let status = spawn_blocking(move || self.child.wait()).await??;
        Ok((status, lines.join("\n")))
    }
}

/// Waits until the directory has a file with some bytes whose name ends so.
async fn begun(directory: &Path, end: &str) -> Result<()> {
    eventually("the file has begun", async || {
        let entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
        let is_it = |entry: &fs::DirEntry| {
            entry.file_name().to_string_lossy().ends_with(end) && entry.metadata().is_ok_and(|found| found.len() > 0)
        };
        Ok(entries.iter().any(is_it).then_some(()))
    })
    .await
}

fn names(directory: &Path) -> Result<Vec<String>> {
    let names = fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect()
}

/// Fails unless the directory has only the earlier file `all.jsonl`, with its text.
fn unchanged(directory: &Path, text: &str) -> Result<()> {
    let names = names(directory)?;
    ensure!(names == ["all.jsonl"], "{names:?}");
    let found = fs::read_to_string(directory.join("all.jsonl"))?;
    ensure!(found == text, "the earlier file has {} bytes", found.len());
    Ok(())
}

/// Kills the host while a command writes what it reads from it to the directory.
async fn killed_meanwhile(host: &mut TestHost, directory: &Path, command: &[&str]) -> Result<()> {
    let relay = SlowRelay::to(host.address()).await?;
    let running = Running::begin(host.home(), &[command, &["--host", &relay.address.to_string()]].concat())?;
    begun(directory, ".partial").await?;
    host.signal(Signal::KILL)?;
    host.ended().await?;
    // The command gets what the host has sent, and then the end of the connection.
    relay.allow(1 << 30);
    let (status, errors) = running.ended().await?;
    ensure!(status.code() == Some(1) && errors.contains("reading it: Peer disconnected"), "{status}: {errors}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_backup_leaves_no_file_and_an_earlier_one_stays() -> Result<()> {
    let mut host = padded_host().await?;
    let directory = host.home().join("backups");
    fs::create_dir(&directory)?;
    fs::write(directory.join("all.jsonl"), "the earlier backup")?;
    // Stopped by its user.
    let relay = SlowRelay::to(host.address()).await?.address.to_string();
    let backup = ["store", "backup", "backups/all.jsonl", "--host", &relay];
    let running = Running::begin(host.home(), &backup)?;
    begun(&directory, ".partial").await?;
    running.interrupt()?;
    let (status, errors) = running.ended().await?;
    ensure!(status.code() == Some(1), "{status}: {errors}");
    ensure!(errors.contains("stopped: there is no new backup, and earlier ones are as they were"), "{errors}");
    unchanged(&directory, "the earlier backup")?;
    no_export_runs(&host).await?;
    killed_meanwhile(&mut host, &directory, &["store", "backup", "backups/all.jsonl"]).await?;
    unchanged(&directory, "the earlier backup")?;
    // The data directory of the killed host can be backed up, too.
    let made = bennu(host.home(), &["store", "backup", "backups", "--keep", "1"])?;
    ensure!(made.code == Some(0) && made.errors.starts_with("20000 rows, "), "{made:?}");
    ensure!(names(&directory)?.len() == 2, "{:?}", names(&directory)?);
    let again = bennu(host.home(), &["store", "backup", "backups/all.jsonl", "--keep", "1"])?;
    ensure!(again.code == Some(1) && again.errors.contains("--keep needs a directory"), "{again:?}");
    Ok(())
}

/// As with a backup. An export to standard output can be stopped, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_export_leaves_no_file_and_an_earlier_one_stays() -> Result<()> {
    let mut host = padded_host().await?;
    let directory = host.home().join("exports");
    fs::create_dir(&directory)?;
    let link = host.home().join("link.jsonl");
    fs::write(directory.join("all.jsonl"), "the earlier export")?;
    std::os::unix::fs::symlink("exports/all.jsonl", &link)?;
    // Stopped by its user, once at a file, once at a link to it, and once at standard output.
    for output in [&["--output", "exports/all.jsonl"][..], &["--output", "link.jsonl"], &[]] {
        let relay = SlowRelay::to(host.address()).await?.address.to_string();
        let arguments = [&["store", "export", "--host", &relay], output].concat();
        let standard = Stdio::from(fs::File::create(host.home().join("standard.jsonl"))?);
        let running = Running::begin_into(host.home(), &arguments, standard)?;
        let stopped = if output.is_empty() {
            begun(host.home(), "standard.jsonl").await?;
            "stopped: the export isn't complete"
        } else {
            begun(&directory, ".partial").await?;
            "stopped: there is no new export, and an earlier file is as it was"
        };
        running.interrupt()?;
        let (status, errors) = running.ended().await?;
        ensure!(status.code() == Some(1) && errors.contains(stopped), "{status}: {errors}");
        unchanged(&directory, "the earlier export").with_context(|| format!("{output:?}"))?;
        no_export_runs(&host).await?;
    }
    killed_meanwhile(&mut host, &directory, &["store", "export", "-o", "exports/all.jsonl"]).await?;
    unchanged(&directory, "the earlier export")?;
    // A complete one replaces the file that the link names, and the link stays.
    let made = bennu(host.home(), &["store", "export", "--output", "link.jsonl"])?;
    ensure!(made.code == Some(0) && made.errors.contains("20000 rows exported"), "{made:?}");
    ensure!(fs::symlink_metadata(&link)?.is_symlink() && names(&directory)? == ["all.jsonl"]);
    let verified = bennu(host.home(), &["store", "verify", "exports/all.jsonl"])?;
    ensure!(verified.code == Some(0) && verified.output.contains("is complete: 20000 rows"), "{verified:?}");
    // Also if the file isn't there yet.
    let path = directory.join("all.jsonl");
    fs::remove_file(&path)?;
    let made = bennu(host.home(), &["store", "export", "--output", "link.jsonl"])?;
    ensure!(made.code == Some(0) && fs::symlink_metadata(&link)?.is_symlink() && path.is_file(), "{made:?}");
    Ok(())
}

/// A command whose standard error is no terminal writes a line every ten seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_takes_long_shows_its_progress_in_lines() -> Result<()> {
    let host = padded_host().await?;
    shows_progress(&host, &["store", "backup", "all.jsonl"]).await?;
    shows_progress(&host, &["store", "export", "--output", "all.jsonl"]).await?;
    host.stop().await?;
    Ok(())
}

async fn shows_progress(host: &TestHost, command: &[&str]) -> Result<()> {
    let relay = SlowRelay::to(host.address()).await?;
    let mut running = Running::begin(host.home(), &[command, &["--host", &relay.address.to_string()]].concat())?;
    // A slow network, until there is a line.
    let line = async {
        loop {
            tokio::select! {
                line = running.errors.recv() => return line.context("the command is over"),
                () = tokio::time::sleep(Duration::from_millis(50)) => relay.allow(16 << 10),
            }
        }
    };
    let line = within("a line", line).await??;
    let rest = line.strip_prefix("writing: ").with_context(|| line.clone())?;
    let (percent, rest) = rest.split_once(" %, ").with_context(|| line.clone())?;
    ensure!((1..=90).contains(&percent.parse::<u32>()?), "{line}");
    ensure!(rest.contains(" of ") && rest.contains("/s, ") && rest.ends_with(" left"), "{line}");
    relay.allow(1 << 30);
    let (status, errors) = running.ended().await?;
    ensure!(status.success() && errors.contains("20000 rows"), "{status}: {errors}");
    Ok(())
}

/// A restore that is stopped in the middle leaves no store, and can be done again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_restore_leaves_no_store_and_can_be_done_again() -> Result<()> {
    let home = tempfile::tempdir()?;
    fs::write(home.path().join("all.jsonl"), padding())?;
    let restore = ["store", "restore", "all.jsonl", "--data", "data"];
    let data = home.path().join("data");
    let mut stopped = None;
    // A restore may be over before the signal comes.
    for _ in 0..20 {
        let running = Running::begin(home.path(), &restore)?;
        eventually("the restore has begun", async || Ok(data.is_dir().then_some(()))).await?;
        running.interrupt()?;
        let (status, errors) = running.ended().await?;
        if !status.success() {
            stopped = Some((status, errors));
            break;
        }
        fs::remove_dir_all(&data)?;
    }
    let (status, errors) = stopped.context("every restore was over before the signal came")?;
    ensure!(status.code() == Some(1), "{status}: {errors}");
    ensure!(errors.contains("stopped: data has no store; the backup can be restored again"), "{errors}");
    ensure!(!data.join("bennu.redb").exists(), "{:?}", names(&data)?);
    let again = bennu(home.path(), &restore)?;
    ensure!(again.code == Some(0) && again.errors.contains("20000 rows restored, of 1 plugins"), "{again:?}");
    ensure!(names(&data)? == ["bennu.redb"], "{:?}", names(&data)?);
    Ok(())
}

/// What an import has committed before it was stopped is in the store, and the rest can be imported in addition.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_import_can_be_finished() -> Result<()> {
    let home = tempfile::tempdir()?;
    let lines = padding();
    fs::write(home.path().join("all.jsonl"), &lines)?;
    let mut running = Running::begin(home.path(), &["store", "import", "-", "--data", "data"])?;
    // The command has read all of it except what a pipe holds when this is written, and waits for the rest.
    let (mut input, half) = (running.child.stdin.take().context("its input")?, lines[..lines.len() / 2].to_owned());
    let input = spawn_blocking(move || input.write_all(half.as_bytes()).map(|()| input)).await??;
    running.interrupt()?;
    let (status, errors) = running.ended().await?;
    ensure!(status.code() == Some(1), "{status}: {errors}");
    ensure!(
        errors.contains("stopped: what was committed is in the store; import all of it again with --merge"),
        "{errors}"
    );
    drop(input);
    let rows = || -> Result<usize> {
        let exported = bennu(home.path(), &["store", "export", "--data", "data"])?;
        ensure!(exported.code == Some(0), "{exported:?}");
        Ok(exported.output.lines().filter(|line| line.contains("\"key\":\"padding:")).count())
    };
    let found = rows()?;
    ensure!((1..PADDING).contains(&found), "{found} rows");
    let refused = bennu(home.path(), &["store", "import", "all.jsonl", "--data", "data"])?;
    ensure!(refused.code == Some(1) && refused.errors.contains("--merge keeps them"), "{refused:?}");
    let merged = bennu(home.path(), &["store", "import", "all.jsonl", "--data", "data", "--merge"])?;
    ensure!(merged.code == Some(0) && merged.errors.contains("20000 rows imported"), "{merged:?}");
    ensure!(rows()? == PADDING);
    Ok(())
}
