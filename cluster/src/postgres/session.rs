//! A session whose data is moved by a task.

use futures_util::StreamExt;
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client};

use super::connect::{Connect, ConnectError, Connection};

/// A session for statements. It ends with the value.
pub(super) struct Session {
    pub(super) client: Client,
    task: JoinHandle<()>,
}

impl Session {
    /// Connects. The runtime of the caller serves the session.
    pub(super) async fn connect(connect: &dyn Connect) -> Result<Self, ConnectError> {
        let Connection { client, mut messages } = connect.connect().await?;
        let task = tokio::spawn(async move {
            // The client is told of the end, too.
            while let Some(Ok(message)) = messages.next().await {
                note(&message);
            }
        });
        Ok(Self { client, task })
    }

    pub(super) fn has_ended(&self) -> bool {
        self.client.is_closed()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Logs a notice of the server. Notifications are no notices.
pub(super) fn note(message: &AsyncMessage) {
    if let AsyncMessage::Notice(notice) = message {
        tracing::debug!("the database says: {notice}");
    }
}
