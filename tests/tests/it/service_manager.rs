//! The host under a service manager: sockets that are passed to it, and messages about its state.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::pin::pin;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use bennu_tests::{ConnectRequest, DEADLINE, Received, Setup, TestClient, eventually, free_port, get, know, within};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

/// The program with which systemd tests socket activation.
const ACTIVATOR: &str = "/usr/bin/systemd-socket-activate";

/// A process that is killed when this is dropped.
struct Process(Child);

impl Process {
    fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.0), signal).context("sending a signal")
    }

    /// Ends it in order.
    async fn stop(mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        let ended = eventually("the process has ended", async || Ok(self.0.try_wait()?)).await?;
        ensure!(ended.success(), "it ended with {ended}");
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command that runs another one through a program with these arguments.
fn through(program: &str, arguments: &[&str], command: &Command) -> Command {
    let mut outer = Command::new(program);
    outer.args(arguments).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Some(directory) = command.get_current_dir() {
        outer.current_dir(directory);
    }
    outer
}

/// Starts a host that gets these sockets as a service manager passes them, with their names.
fn activated(command: &Command, sockets: &[(&str, &TcpListener)]) -> Result<Process> {
    // The descriptors 3 and 4 may be those of the sockets themselves, so both are moved out of the way first.
    let mut script = String::new();
    for (at, (_, socket)) in sockets.iter().enumerate() {
        fcntl_setfd(socket, FdFlags::empty())?;
        script += &format!("exec {}<&{}\n", 60 + at, socket.as_raw_fd());
    }
    for at in 0..sockets.len() {
        script += &format!("exec {}<&{}\n", 3 + at, 60 + at);
    }
    let names: Vec<&str> = sockets.iter().map(|(name, _)| *name).collect();
    script += &format!("export LISTEN_PID=$$ LISTEN_FDS={} LISTEN_FDNAMES={}\n", sockets.len(), names.join(":"));
    let script = script + "exec \"$0\" \"$@\"";
    Ok(Process(through("bash", &["-c", &script], command).spawn()?))
}

async fn echoes(client: &mut TestClient, topic: &str, word: &str) -> Result<()> {
    let response = client.call(topic, "echo", &json!({ "word": word })).await?;
    ensure!(response == json!({ "word": word }), "{response}");
    Ok(())
}

/// Connects and joins. A client that connects while no host runs waits, and isn't refused.
async fn joined(address: SocketAddr) -> Result<TestClient> {
    let mut client = ConnectRequest::to(address).connect().await?;
    client.join("echo:1", &json!({})).await?;
    Ok(client)
}

#[tokio::test]
async fn a_passed_socket_is_used_and_its_queue_holds_clients_while_no_host_runs() -> Result<()> {
    let (clients, api) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    let (address, api_address) = (clients.local_addr()?, api.local_addr()?);
    let config = "[api]\nlisten = \"127.0.0.1:1\"\n";
    let (command, home) = Setup::new().guests(&["echo"])?.config(config).command()?;
    for round in ["first", "second"] {
        let client = tokio::spawn(joined(address));
        let host = activated(&command, &[("bennu.socket", &clients), ("api", &api)])?;
        let mut client = within("a client is served", client).await???;
        echoes(&mut client, "echo:1", round).await?;
        know(api_address, std::fs::read_to_string(home.path().join("data/api-key"))?.trim_end());
        let answer = get(api_address, "/api/inspect").await?;
        ensure!(answer.status == 200 && answer.json()?["sockets"] == 1, "{answer:?}");
        let closed = tokio::spawn(async move { client.until_closed().await });
        host.stop().await?;
        let (_, code) = closed.await??;
        ensure!(code == Some(1012), "{code:?}");
    }
    Ok(())
}

#[tokio::test]
async fn systemds_own_activator_starts_a_host_for_the_first_client() -> Result<()> {
    if !Path::new(ACTIVATOR).exists() {
        bennu_test_tiers::note_skipped(&format!("{ACTIVATOR} isn't installed"));
        return Ok(());
    }
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let (command, _home) = Setup::new().guests(&["echo"])?.command()?;
    let data = command.get_current_dir().context("it has a directory")?.join("data");
    let process = Process(through(ACTIVATOR, &["--listen", &address.to_string()], &command).spawn()?);
    let connected = eventually("the activator listens", async || {
        // It starts the host once somebody connects.
        Ok(tokio::net::TcpStream::connect(address).await.ok())
    });
    drop(connected.await?);
    let mut client = within("a client is served", joined(address)).await??;
    echoes(&mut client, "echo:1", "activated").await?;
    ensure!(data.exists());
    drop(client);
    process.stop().await
}

/// Waits for a message that contains these words.
fn told(manager: &UnixDatagram, words: &str) -> Result<String> {
    let mut bytes = [0; 1024];
    loop {
        let length = manager.recv(&mut bytes).with_context(|| format!("waiting for {words:?}"))?;
        let text = String::from_utf8_lossy(&bytes[..length]);
        if text.contains(words) {
            return Ok(text.into_owned());
        }
    }
}

#[tokio::test]
async fn the_service_manager_is_told_that_the_host_is_ready_works_reloads_and_stops() -> Result<()> {
    let place = tempfile::tempdir()?;
    let path = place.path().join("notify");
    let manager = UnixDatagram::bind(&path)?;
    manager.set_read_timeout(Some(DEADLINE))?;
    let setup = Setup::new().guests(&["echo"])?.variable("NOTIFY_SOCKET", path.to_str().context("UTF-8")?);
    let host = setup.variable("WATCHDOG_USEC", "20000").start().await?;
    told(&manager, "READY=1")?;
    told(&manager, "WATCHDOG=1")?;
    told(&manager, "WATCHDOG=1")?;
    host.signal(Signal::HUP)?;
    ensure!(told(&manager, "RELOADING=1")?.contains("MONOTONIC_USEC="));
    told(&manager, "READY=1")?;
    host.stop().await?;
    told(&manager, "STOPPING=1")?;
    Ok(())
}

#[tokio::test]
async fn the_service_manager_is_told_of_the_process_that_has_taken_over() -> Result<()> {
    let place = tempfile::tempdir()?;
    let path = place.path().join("notify");
    let manager = tokio::net::UnixDatagram::bind(&path)?;
    let setup = Setup::new().guests(&["echo"])?.variable("NOTIFY_SOCKET", path.to_str().context("UTF-8")?);
    let mut host = setup.variable("WATCHDOG_USEC", "20000").start().await?;
    // Reads all messages, so that no process waits for the service manager.
    let next = async || {
        let mut bytes = [0; 1024];
        let length = within("a message", manager.recv(&mut bytes)).await??;
        Ok::<_, anyhow::Error>(String::from_utf8_lossy(&bytes[..length]).into_owned())
    };
    ensure!(next().await?.starts_with("READY=1"));
    let mut said = Vec::new();
    let ended = {
        let mut upgrade = pin!(host.upgrade(&[]));
        loop {
            tokio::select! {
                ended = &mut upgrade => break ended?,
                text = next() => said.push(text?),
            }
        }
    };
    ensure!(ended.code == Some(0), "{ended:?}");
    let main = format!("MAINPID={}\nREADY=1\n", host.pid().as_raw_nonzero());
    // The old process has ended, and must not have said that the service stops.
    while !said.iter().any(|text| text.starts_with(&main)) {
        said.push(next().await?);
    }
    ensure!(!said.iter().any(|text| text.contains("STOPPING")), "{said:?}");
    // The new one goes on with the watchdog, and says when it stops.
    while next().await? != "WATCHDOG=1" {}
    let mut stopping = pin!(host.stop());
    loop {
        tokio::select! {
            stopped = &mut stopping => {
                stopped?;
                bail!("it has stopped without a word");
            }
            text = next() => if text?.starts_with("STOPPING=1") { break },
        }
    }
    stopping.await?;
    Ok(())
}

#[tokio::test]
async fn a_service_manager_that_cant_be_reached_is_an_error() -> Result<()> {
    let (mut command, _home) = Setup::new().variable("NOTIFY_SOCKET", "/nowhere/notify").command()?;
    let ended = command.output()?;
    let errors = String::from_utf8_lossy(&ended.stderr);
    ensure!(!ended.status.success() && errors.contains("reaching the service manager at /nowhere/notify"), "{errors}");
    Ok(())
}

const SLOW: &str = r#"
import { channel, plugin } from "bennu";

export default plugin({
  "slow:*": channel({
    join() {},
    on: {
      work({ rounds }: { rounds: number }) {
        let sum = 0;
        for (let round = 0; round < rounds; round += 1) sum = (sum + round) % 1000;
        return { done: true };
      },
    },
  }),
});
"#;

/// The turn is still running when the host is told to stop: its effects would be committed after the close.
#[tokio::test]
async fn a_reply_to_a_message_that_is_being_handled_comes_before_the_close() -> Result<()> {
    let setup = Setup::new().file("plugins/slow.ts", SLOW.into()).limit("call_cpu_ms", 20_000);
    let mut host = setup.limit("stop_ms", 60_000).start().await?;
    let mut client = host.connect().await?;
    client.join("slow:1", &json!({})).await?;
    let reference = client.push("slow:1", "work", &json!({ "rounds": 2_000_000 })).await?;
    // The host handles frames in their order, so this shows that the turn has begun. It isn't over: its reply would come first.
    client.quiet().await?;
    host.signal(Signal::TERM)?;
    let (frames, code) = client.until_closed().await?;
    let is_reply = |frame: &Received| matches!(frame, Received::Json(frame) if frame[1] == reference.as_str() && frame[4]["response"] == json!({ "done": true }));
    ensure!(code == Some(1012) && frames.iter().any(is_reply), "{code:?} after {frames:?}");
    drop(client);
    let status = host.ended().await?;
    ensure!(status.success(), "{status}");
    Ok(())
}
