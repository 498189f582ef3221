//! How sessions of the database are made. The host knows the address, the password and TLS.

use std::fmt;
use std::pin::{Pin, pin};
use std::task::Poll;

use futures_util::{Stream, StreamExt};
use tokio_postgres::{AsyncMessage, Client, Error};

use crate::bus::BusFuture;

/// What the server sends without being asked. Polling it is what moves all data of its connection: without it, no statement is answered.
pub type Messages = Pin<Box<dyn Stream<Item = Result<AsyncMessage, Error>> + Send>>;

/// A session of the database.
pub struct Connection {
    /// Sends statements.
    pub client: Client,
    /// Moves the data.
    pub messages: Messages,
}

/// Why no session was made.
#[derive(Debug)]
pub enum ConnectError {
    /// The server can't be reached now, or is starting.
    Down(String),
    /// The server refuses, or isn't one that a cluster can use. The text says what to do.
    Unfit(String),
}

/// Makes sessions of one database.
pub trait Connect: Send + Sync + 'static {
    /// Makes a session. It has the isolation level `read committed`, it is durable (`synchronous_commit`), it can write, the server has no
    /// timeouts for its statements, and it has timeouts for TCP on the side of the server: the session of a machine that is gone must end
    /// within seconds.
    fn connect(&self) -> BusFuture<'_, Result<Connection, ConnectError>>;

    /// The schema that has the tables, in lower-case ASCII.
    fn schema(&self) -> &str;

    /// An error of a statement, in a sentence that says what to do.
    fn explain(&self, error: &Error) -> String;
}

/// Runs statements of a client while the data of its connection is moved. Messages that arrive meanwhile are given to `heard`.
///
/// # Errors
/// That of `work`, or that with which the connection ended.
pub async fn drive<T, E: From<Error>>(
    messages: &mut Messages,
    work: impl Future<Output = Result<T, E>>,
    mut heard: impl FnMut(AsyncMessage),
) -> Result<T, E> {
    let mut work = pin!(work);
    std::future::poll_fn(|cx| {
        loop {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(done);
            }
            match messages.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(message))) => heard(message),
                // The answer that `work` waits for would be kept by the connection for ever.
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error.into())),
                // It ends without an error only after its client.
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

impl fmt::Display for ConnectError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down(why) | Self::Unfit(why) => formatter.write_str(why),
        }
    }
}

impl std::error::Error for ConnectError {}
