//! Long-poll: answers that can't be delivered. Their messages aren't lost.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bennu_tests::{Setup, TestClient, TestHost, get, request_with, within};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// The way in which a connection ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// Closed normally: FIN.
    Closed,
    /// Broken: RST.
    Broken,
    /// Half-closed: the client has closed its sending side, and still waits for the answer.
    Half,
}

const TOPIC: &str = "echo:1";

/// A long-poll session that has joined the topic.
struct Session<'a> {
    host: &'a TestHost,
    path: String,
}

impl<'a> Session<'a> {
    async fn begin(host: &'a TestHost) -> Result<Self> {
        let opened = get(host.address(), "/socket/longpoll?vsn=2.0.0").await?.json()?;
        let path = format!("/socket/longpoll?vsn=2.0.0&token={}", opened["token"].as_str().context("a token")?);
        let join = json!(["1", "1", TOPIC, "phx_join", {}]).to_string();
        request_with(host.address(), "POST", &path, &[], join.as_bytes()).await?;
        let session = Self { host, path };
        ensure!(session.poll().await?.len() == 1, "the join is answered");
        Ok(session)
    }

    /// Begins a poll on a new connection.
    async fn polling(&self) -> Result<TcpStream> {
        self.polling_with(TcpSocket::new_v4()?).await
    }

    async fn polling_with(&self, socket: TcpSocket) -> Result<TcpStream> {
        let mut stream = socket.connect(self.host.address()).await?;
        let head = format!("GET {} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", self.path);
        stream.write_all(head.as_bytes()).await?;
        Ok(stream)
    }

    /// Returns a poll that is known to wait. To be sure, it begins two polls: the host ends the earlier one without
    /// messages.
    async fn waiting(&self) -> Result<TcpStream> {
        let (one, other) = (self.polling().await?, self.polling().await?);
        let ended = async |poll: &TcpStream| poll.peek(&mut [0; 1]).await;
        let is_one = within("one of two polls ends", async {
            tokio::select! {
                peeked = ended(&one) => peeked.map(|_| true),
                peeked = ended(&other) => peeked.map(|_| false),
            }
        })
        .await??;
        Ok(if is_one { other } else { one })
    }

    /// Polls, and returns the messages.
    async fn poll(&self) -> Result<Vec<Value>> {
        let answer = get(self.host.address(), &self.path).await?.json()?;
        messages(&answer)
    }
}

fn messages(answer: &Value) -> Result<Vec<Value>> {
    ensure!(answer["status"] == 200 || answer["status"] == 204, "{answer}");
    let messages = answer["messages"].as_array().context("messages")?.iter();
    messages.map(|text| Ok(serde_json::from_str(text.as_str().context("a text")?)?)).collect()
}

fn window(ms: u64) -> Result<Setup> {
    Ok(Setup::new().guests(&["echo"])?.limit("longpoll_window_ms", ms))
}

async fn neighbour(host: &TestHost) -> Result<TestClient> {
    let mut alice = host.connect().await?;
    alice.join(TOPIC, &json!({})).await?;
    Ok(alice)
}

/// Sends a broadcast, and waits until the sender itself gets it.
async fn shout(alice: &mut TestClient, payload: &Value) -> Result<()> {
    alice.push(TOPIC, "shout", payload).await?;
    alice.expect(&json!([null, null, TOPIC, "shout", payload])).await
}

/// The messages are sent at once and after a pause, because the host may or may not have noticed the end of the connection.
#[tokio::test]
async fn a_poll_on_a_closed_connection_loses_no_messages() -> Result<()> {
    let host = window(10_000)?.start().await?;
    let mut alice = neighbour(&host).await?;
    for end in [End::Closed, End::Broken, End::Half] {
        for round in 0..8 {
            let session = Session::begin(&host).await?;
            let mut poll = session.waiting().await?;
            match end {
                End::Half => poll.shutdown().await?,
                End::Broken => {
                    poll.set_zero_linger()?;
                    drop(poll);
                }
                End::Closed => drop(poll),
            }
            if round % 2 == 1 {
                // The test can't see whether the host has noticed the end. Both cases must work.
                alice.quiet().await?;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            shout(&mut alice, &json!({ "n": 1 })).await?;
            shout(&mut alice, &json!({ "n": 2 })).await?;
            let received = within("both messages", async {
                let mut received = session.poll().await?;
                while received.len() < 2 {
                    received.extend(session.poll().await?);
                }
                anyhow::Ok(received)
            })
            .await??;
            let numbers: Vec<&Value> = received.iter().map(|message| &message[4]["n"]).collect();
            ensure!(numbers == [1, 2], "{end:?}, round {round}: {numbers:?}");
        }
    }
    Ok(())
}

/// A payload that doesn't fit into the buffers of the connection, so that it can't have been written completely.
fn large() -> Value {
    json!({ "filler": "x".repeat(9_000_000) })
}

fn roomy(ms: u64) -> Result<Setup> {
    let setup = window(ms)?.limit("frame_bytes", 16 << 20).limit("outbox_bytes", 64 << 20);
    let setup = setup.limit("effect_bytes", 32 << 20).limit("mailbox_bytes_from_client", 32 << 20);
    Ok(setup.limit("call_cpu_ms", 20_000).limit("call_wall_ms", 20_000))
}

/// Begins a poll, and reads only the beginning of its answer.
async fn stuck(session: &Session<'_>, alice: &mut TestClient) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4 << 10)?;
    let mut poll = session.polling_with(socket).await?;
    shout(alice, &large()).await?;
    let mut head = [0; 100];
    within("the beginning of an answer", poll.read_exact(&mut head)).await??;
    ensure!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
    Ok(poll)
}

#[tokio::test]
async fn the_messages_of_an_interrupted_answer_are_sent_again() -> Result<()> {
    let host = roomy(10_000)?.start().await?;
    let mut alice = neighbour(&host).await?;
    let session = Session::begin(&host).await?;
    let poll = stuck(&session, &mut alice).await?;
    shout(&mut alice, &json!({ "n": 2 })).await?;
    poll.set_zero_linger()?;
    drop(poll);
    let first = session.poll().await?;
    ensure!(first.len() == 1 && first[0][4] == large(), "the interrupted message is sent again");
    let second = session.poll().await?;
    ensure!(second.len() == 1 && second[0][4] == json!({ "n": 2 }), "the next message follows: {second:?}");
    Ok(())
}

/// The network fails without closing the connection. The client polls again, while its last connection still seems to be
/// open.
#[tokio::test]
async fn a_new_poll_gets_the_messages_of_a_stuck_answer() -> Result<()> {
    let host = roomy(10_000)?.start().await?;
    let mut alice = neighbour(&host).await?;
    let session = Session::begin(&host).await?;
    let mut poll = stuck(&session, &mut alice).await?;
    let again = session.poll().await?;
    ensure!(again.len() == 1 && again[0][4] == large(), "the stuck message is sent again");
    shout(&mut alice, &json!({ "n": 2 })).await?;
    let next = session.poll().await?;
    ensure!(next.len() == 1 && next[0][4] == json!({ "n": 2 }), "{next:?}");
    // The stuck answer never arrives completely, so the client doesn't get a message twice.
    let mut rest = Vec::new();
    match within("the end of the stuck answer", poll.read_to_end(&mut rest)).await? {
        Ok(_) if rest.len() < 9_000_000 => Ok(()),
        Ok(_) => bail!("the stuck answer arrived completely"),
        Err(_) => Ok(()),
    }
}

/// The host closes a session whose client polls, but doesn't read its answers. Such polls must not keep the session's place
/// among the sockets.
#[tokio::test]
async fn a_closed_session_ends_although_its_client_polls() -> Result<()> {
    let host = roomy(2_000)?.limit("sockets", 2).start().await?;
    let mut alice = neighbour(&host).await?;
    let session = Session::begin(&host).await?;
    let poll = stuck(&session, &mut alice).await?;
    // The host closes the session, because this message can't be read.
    request_with(host.address(), "POST", &session.path, &[], b"[1,2]").await?;
    drop(poll);
    let lost = within("the session's place", async {
        for lost in 0_u32.. {
            let mut answer = Vec::new();
            session.polling().await?.take(400).read_to_end(&mut answer).await?;
            let answer = String::from_utf8_lossy(&answer);
            if answer.contains(r#""status":410"#) {
                return anyhow::Ok(lost);
            }
        }
        bail!("the session never ends")
    });
    ensure!(lost.await?? > 0, "the session ended at once");
    Ok(())
}
