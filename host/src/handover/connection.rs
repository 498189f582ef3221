//! The Unix socket between the two processes, which also carries the listening sockets.

use std::fs;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};

use super::MESSAGE_BYTES_MAX;
use crate::parcel::{FRAME_BYTES, Frame, Record};

/// The name of the socket in the data directory.
pub const SOCKET: &str = "upgrade.sock";

/// Its name until it is complete.
const PARTIAL: &str = "upgrade.sock.partial";

/// The most sockets that are passed: for clients, and for the API.
const SOCKETS_MAX: usize = 2;

/// The bytes that are read at once.
const READ_BYTES: usize = 64 << 10;

/// How messages are received: child processes don't inherit the sockets that come with them. Only Linux has a flag for it.
#[cfg(target_os = "linux")]
const RECEIVE: RecvFlags = RecvFlags::CMSG_CLOEXEC;
#[cfg(not(target_os = "linux"))]
const RECEIVE: RecvFlags = RecvFlags::empty();

/// The socket on which a running host listens for its successor and for commands.
#[derive(Debug)]
pub struct Socket(UnixListener);

/// The two halves of a connection.
pub struct Connection {
    /// Receives.
    pub incoming: Incoming,
    /// Sends.
    pub outgoing: Outgoing,
}

/// The half that receives. Each of its functions can be cancelled, and loses nothing.
pub struct Incoming {
    stream: Arc<UnixStream>,
    buffer: BytesMut,
    /// The sockets that came and aren't taken yet.
    sockets: Vec<OwnedFd>,
}

/// The half that sends.
#[derive(Clone)]
pub struct Outgoing {
    stream: Arc<UnixStream>,
}

impl Socket {
    /// Listens in the data directory. The caller must have the lock of the directory: a socket of that name is from a host
    /// that has ended, or that was replaced.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn listen(data: &Path) -> io::Result<Self> {
        let (partial, path) = (data.join(PARTIAL), data.join(SOCKET));
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = short(data, PARTIAL, |path| UnixListener::bind(path))?;
        // Before it has its name, so that nobody else can ever connect to it. The directory protects it, too.
        fs::set_permissions(&partial, fs::Permissions::from_mode(0o600))?;
        fs::rename(&partial, &path)?;
        Ok(Self(listener))
    }

    /// Waits for a connection of this user, or of root. Others are closed.
    ///
    /// # Errors
    /// Those of the operating system.
    pub async fn accept(&self) -> io::Result<Connection> {
        loop {
            let (stream, _) = self.0.accept().await?;
            let user = stream.peer_cred()?.uid();
            if user == geteuid().as_raw() || user == 0 {
                return Ok(Connection::over(stream));
            }
            tracing::warn!(user, "another user has connected to the host's own socket, and was refused");
        }
    }
}

impl Connection {
    /// Connects to the running host. Returns none if no host listens.
    ///
    /// # Errors
    /// Those of the operating system.
    pub async fn to(data: &Path) -> io::Result<Option<Self>> {
        let connecting = match short(data, SOCKET, |path| std::os::unix::net::UnixStream::connect(path)) {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        connecting.set_nonblocking(true)?;
        Ok(Some(Self::over(UnixStream::from_std(connecting)?)))
    }

    fn over(stream: UnixStream) -> Self {
        let stream = Arc::new(stream);
        let incoming = Incoming { stream: Arc::clone(&stream), buffer: BytesMut::new(), sockets: Vec::new() };
        Self { incoming, outgoing: Outgoing { stream } }
    }

    /// The process at the other end.
    #[must_use]
    pub fn peer(&self) -> Option<Pid> {
        Pid::from_raw(self.outgoing.stream.peer_cred().ok()?.pid()?)
    }
}

/// Kills a process. It has no effect on one that has ended.
pub(crate) fn kill(process: Pid) {
    if let Err(error) = kill_process(process, Signal::KILL) {
        tracing::warn!("the process {process:?} couldn't be killed: {error}");
    }
}

impl Incoming {
    /// Waits for a message. Returns none if the connection has ended.
    ///
    /// # Errors
    /// If it isn't a message, or the connection fails.
    pub async fn message<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some(head) = self.bytes(4).await? else { return Ok(None) };
        let length = (&head[..4]).get_u32() as usize;
        if length > MESSAGE_BYTES_MAX {
            return Err(io::Error::new(ErrorKind::InvalidData, "a message is too long"));
        }
        let Some(message) = self.bytes(4 + length).await? else { return Ok(None) };
        let message = serde_json::from_slice(&message[4..]).map_err(io::Error::other)?;
        self.buffer.advance(4 + length);
        Ok(Some(message))
    }

    /// Waits for a record. Also returns its bytes on the wire.
    ///
    /// # Errors
    /// If it isn't a record, or the connection fails or ends.
    pub async fn record(&mut self) -> io::Result<(Record, usize)> {
        let ended = || io::Error::from(ErrorKind::UnexpectedEof);
        let head = self.bytes(FRAME_BYTES).await?.ok_or_else(ended)?;
        let head: [u8; FRAME_BYTES] = head.try_into().map_err(io::Error::other)?;
        let length = Frame::body_length(head).map_err(io::Error::other)?;
        self.bytes(FRAME_BYTES + length).await?.ok_or_else(ended)?;
        self.buffer.advance(FRAME_BYTES);
        let body = self.buffer.split_to(length).freeze();
        let record = Frame::record(head, body).map_err(io::Error::other)?;
        Ok((record, FRAME_BYTES + length))
    }

    /// Takes the sockets that have come with the messages so far.
    pub fn take_sockets(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.sockets)
    }

    /// Waits until the buffer has so many bytes. Returns none if the connection has ended.
    async fn bytes(&mut self, count: usize) -> io::Result<Option<&[u8]>> {
        while self.buffer.len() < count {
            if self.read().await? == 0 {
                return Ok(None);
            }
        }
        Ok(Some(&self.buffer[..count]))
    }

    async fn read(&mut self) -> io::Result<usize> {
        let Self { stream, buffer, sockets } = self;
        let mut bytes = vec![0; READ_BYTES];
        let read = stream
            .async_io(Interest::READABLE, || {
                let mut space = [MaybeUninit::<u8>::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
                let mut control = RecvAncillaryBuffer::new(&mut space);
                let mut into = [IoSliceMut::new(&mut bytes)];
                let received = recvmsg(&**stream, &mut into, &mut control, RECEIVE)?;
                for message in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(passed) = message {
                        sockets.extend(passed);
                    }
                }
                // A child process that starts before this inherits the sockets, and they stay open for as long as it runs.
                #[cfg(not(target_os = "linux"))]
                for socket in &*sockets {
                    rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::CLOEXEC)?;
                }
                Ok(received.bytes)
            })
            .await?;
        buffer.extend_from_slice(&bytes[..read]);
        Ok(read)
    }
}

impl Outgoing {
    /// Sends a message.
    ///
    /// # Errors
    /// If the connection fails or has ended.
    pub async fn message<T: Serialize>(&self, message: &T) -> io::Result<()> {
        self.message_with(message, &[]).await
    }

    /// Sends a message, and sockets with it.
    ///
    /// # Errors
    /// If the connection fails or has ended.
    pub async fn message_with<T: Serialize>(&self, message: &T, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
        let message = serde_json::to_vec(message).map_err(io::Error::other)?;
        let length = u32::try_from(message.len()).map_err(io::Error::other)?;
        self.write([&length.to_be_bytes(), &message[..]].concat().as_slice(), sockets).await
    }

    /// Sends a record. Returns its bytes on the wire.
    ///
    /// # Errors
    /// If it is too long, or the connection fails or has ended.
    pub async fn record(&self, record: &Record) -> io::Result<usize> {
        let frame = Frame::of(record).map_err(io::Error::other)?;
        self.write(&frame.head, &[]).await?;
        self.write(&frame.body, &[]).await?;
        Ok(frame.length())
    }

    async fn write(&self, mut bytes: &[u8], mut sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = self.stream.async_io(Interest::WRITABLE, || {
                let mut space = [MaybeUninit::<u8>::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                if !sockets.is_empty() && !control.push(SendAncillaryMessage::ScmRights(sockets)) {
                    return Err(io::Error::other("there are too many sockets"));
                }
                // Without a flag against SIGPIPE, which macOS doesn't have: Rust ignores this signal from the start of a process.
                Ok(sendmsg(&*self.stream, &[IoSlice::new(bytes)], &mut control, SendFlags::empty())?)
            });
            bytes = &bytes[sent.await?..];
            // They go with the first byte.
            sockets = &[];
        }
        Ok(())
    }
}

/// Calls `with` with a path of a file in a directory that is short enough for the address of a socket, however long the path
/// of the directory is.
#[cfg(target_os = "linux")]
fn short<T>(directory: &Path, name: &str, with: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    use std::os::fd::AsRawFd;
    let directory = fs::File::open(directory)?;
    with(Path::new(&format!("/proc/self/fd/{}/{name}", directory.as_raw_fd())))
}

/// Calls `with` with the path of a file in a directory. Other systems have no shorter path to an open directory: nothing is below
/// macOS's `/dev/fd/N`. An address has at most 103 bytes there, so with a longer path the host can't be replaced, and says so at its start.
#[cfg(not(target_os = "linux"))]
fn short<T>(directory: &Path, name: &str, with: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    with(&directory.join(name))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsFd;

    use super::super::{Answer, Request};
    use super::*;

    #[tokio::test]
    async fn messages_records_and_sockets_arrive_in_order() -> io::Result<()> {
        let place = tempfile::tempdir()?;
        // Only Linux has a short path to a directory whose path is long.
        #[cfg(target_os = "linux")]
        let data = place.path().join("d".repeat(200));
        #[cfg(not(target_os = "linux"))]
        let data = place.path().join("d");
        fs::create_dir(&data)?;
        assert!(Connection::to(&data).await?.is_none());
        let socket = Socket::listen(&data)?;
        assert_eq!(fs::metadata(data.join(SOCKET))?.permissions().mode() & 0o777, 0o600);
        let mut successor = Connection::to(&data).await?.expect("it listens");
        let mut predecessor = socket.accept().await?;
        assert_eq!(predecessor.peer(), Some(rustix::process::getpid()));
        let hello = Request::Hello { protocol: 1, parcels: 1, version: "é".into() };
        successor.outgoing.message(&hello).await?;
        assert_eq!(predecessor.incoming.message().await?, Some(hello));
        let (one, two) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
        let listeners = vec!["clients".into(), "api".into()];
        let welcome = Answer::Welcome { listeners, are_managed: true, plugins: Vec::new() };
        predecessor.outgoing.message_with(&welcome, &[one.as_fd(), two.as_fd()]).await?;
        predecessor.outgoing.record(&Record::End(0)).await?;
        assert_eq!(successor.incoming.message().await?, Some(welcome));
        let passed = successor.incoming.take_sockets().into_iter().map(|socket| TcpListener::from(socket).local_addr());
        assert_eq!(passed.collect::<io::Result<Vec<_>>>()?, [one.local_addr()?, two.local_addr()?]);
        assert_eq!(successor.incoming.record().await?.0, Record::End(0));
        drop(predecessor);
        assert_eq!(successor.incoming.message::<Answer>().await?, None);
        assert!(successor.outgoing.message(&Request::Prepared).await.is_err());
        // Another host in the same directory takes the name over.
        drop(Socket::listen(&data)?);
        assert!(Connection::to(&data).await?.is_none());
        Ok(())
    }
}
