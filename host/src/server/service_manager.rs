//! Messages to the service manager that has started the process, such as systemd: `sd_notify(3)`.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::net::SendFlags;
use rustix::time::{ClockId, clock_gettime};

/// How long a message may wait for a service manager that doesn't read.
const SEND_MAX: Duration = Duration::from_secs(1);

/// The service manager, if there is one that wants messages. Without one, every message is ignored.
#[derive(Debug, Default)]
pub struct ServiceManager {
    socket: Option<UnixDatagram>,
    /// How often it wants to be told that the process works.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// Reads the variables that the service manager has set: `NOTIFY_SOCKET`, and `WATCHDOG_USEC` and `WATCHDOG_PID`. A
    /// successor takes over the watchdog of the process that it replaces.
    ///
    /// # Errors
    /// If there is a service manager, and it can't be reached.
    pub fn of_environment(is_successor: bool) -> Result<Self> {
        let Some(path) = env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else {
            return Ok(Self::default());
        };
        let watches = |pid: String| pid.parse() == Ok(std::process::id());
        let is_watched = is_successor || env::var("WATCHDOG_PID").ok().is_none_or(watches);
        let interval = env::var("WATCHDOG_USEC").ok().filter(|_| is_watched).and_then(|text| text.parse().ok());
        Self::at(&path, interval.filter(|interval| *interval > 0).map(Duration::from_micros))
    }

    /// A service manager that gets messages at a path, or at an abstract address, which begins with `@`.
    fn at(path: &OsStr, watchdog: Option<Duration>) -> Result<Self> {
        let connected = || {
            let socket = UnixDatagram::unbound()?;
            socket.connect_addr(&address(path)?)?;
            socket.set_write_timeout(Some(SEND_MAX))?;
            Ok::<_, io::Error>(socket)
        };
        let socket = connected().with_context(|| format!("reaching the service manager at {}", path.display()))?;
        Ok(Self { socket: Some(socket), watchdog })
    }

    /// The host serves. This ends a start, and a reload.
    pub fn ready(&self) {
        self.send("READY=1\nSTATUS=serving");
    }

    /// The same, from a process that has replaced the one that the service manager has started.
    pub fn ready_instead(&self) {
        self.send(&format!(
            "MAINPID={}\nREADY=1\nSTATUS=serving, after it has replaced another process",
            std::process::id()
        ));
    }

    /// The host reads its files again. [`ready`](Self::ready) has to follow.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}\nSTATUS=reloading"));
    }

    /// The host stops.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=stopping");
    }

    /// Tells the service manager at the interval that it wants that the process works, for as long as this is polled. If the
    /// runtime is stuck, the messages stop, and the service manager restarts the process.
    pub async fn keep_watchdog(&self) {
        // Half of the interval, as sd_watchdog_enabled(3) recommends.
        let Some(every) = self.watchdog.map(|interval| interval / 2) else { return std::future::pending().await };
        loop {
            // The queue of a service manager that doesn't read is full of such messages already.
            if let Some(socket) = &self.socket {
                let _ = rustix::net::send(socket, b"WATCHDOG=1", SendFlags::DONTWAIT);
            }
            tokio::time::sleep(every).await;
        }
    }

    fn send(&self, message: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(message.as_bytes()) {
            tracing::warn!("the service manager couldn't be told {message:?}: {error}");
        }
    }
}

/// The address of a service manager's socket. Only Linux has abstract addresses.
fn address(path: &OsStr) -> io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::ffi::OsStrExt;
        if let [b'@', name @ ..] = path.as_bytes() {
            return SocketAddr::from_abstract_name(name);
        }
    }
    SocketAddr::from_pathname(path)
}

// Only Linux has abstract addresses.
#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::os::linux::net::SocketAddrExt;

    use super::*;

    fn next(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 256];
        let length = socket.recv(&mut bytes).expect("a message");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn messages_reach_a_path_and_an_abstract_address() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("notify");
        let name = format!("bennu-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("an address");
        let sockets = [UnixDatagram::bind(&path), UnixDatagram::bind_addr(&address)];
        for (socket, path) in sockets.into_iter().zip([path.into_os_string(), format!("@{name}").into()]) {
            let socket = socket.expect("a socket");
            let manager = ServiceManager::at(&path, Some(Duration::from_secs(10))).expect("it is reached");
            manager.ready();
            assert!(next(&socket).starts_with("READY=1\n"));
            manager.reloading();
            let text = next(&socket);
            assert!(text.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{text}");
            manager.ready_instead();
            assert!(next(&socket).starts_with(&format!("MAINPID={}\nREADY=1\n", std::process::id())));
            manager.stopping();
            assert!(next(&socket).starts_with("STOPPING=1\n"));
            let before = tokio::time::Instant::now();
            let _ = tokio::time::timeout(Duration::from_secs(11), manager.keep_watchdog()).await;
            assert_eq!(before.elapsed(), Duration::from_secs(11));
            assert_eq!([next(&socket), next(&socket), next(&socket)], ["WATCHDOG=1"; 3]);
        }
    }

    #[test]
    fn without_a_service_manager_nothing_is_sent() {
        ServiceManager::default().ready();
    }
}
