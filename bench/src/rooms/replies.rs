//! Messages that have a reply.

use anyhow::{Context, Result, bail, ensure};

use crate::client::Client;
use crate::wire::phoenix::{Message, is_ok};

/// The number of messages that wait for their replies at the same time.
const IN_FLIGHT: usize = 16;

/// Sends `count` messages, [`IN_FLIGHT`] at once, and waits for their replies.
pub(super) async fn ask(client: &mut Client, count: usize, mut message: impl FnMut(usize) -> String) -> Result<()> {
    let (mut sent, mut answered) = (0, 0);
    while answered < count {
        while sent < count && sent - answered < IN_FLIGHT {
            client.send(message(sent)).await?;
            sent += 1;
        }
        next_reply(client).await?;
        answered += 1;
    }
    Ok(())
}

/// Waits for the next reply and returns its frame. Other frames are skipped. It is an error if the reply is an error, or if
/// the channel has ended.
pub(super) async fn next_reply(client: &mut Client) -> Result<String> {
    loop {
        let frame = client.next().await?;
        if is_reply(&frame)? {
            return Ok(frame);
        }
    }
}

/// Whether a frame is a reply, with the status `ok`.
fn is_reply(frame: &str) -> Result<bool> {
    let message = Message::read(frame.as_bytes()).with_context(|| format!("not a message: {frame}"))?;
    match message.event {
        b"phx_reply" => {
            ensure!(is_ok(message.payload), "a message was refused: {frame}");
            Ok(true)
        }
        b"phx_error" | b"phx_close" => bail!("the channel has ended: {frame}"),
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reply_with_the_status_ok_counts() {
        let reply = |frame| is_reply(frame).ok();
        assert_eq!(reply(r#"["1","r","shelf:1","phx_reply",{"status":"ok","response":{}}]"#), Some(true));
        assert_eq!(reply(r#"["1","r","shelf:1","phx_reply",{"status":"error","response":{}}]"#), None);
        assert_eq!(reply(r#"[null,null,"shelf:1","changed",{}]"#), Some(false));
        assert_eq!(reply(r#"["1","1","shelf:1","phx_error",{}]"#), None);
        assert_eq!(reply("{}"), None);
    }
}
