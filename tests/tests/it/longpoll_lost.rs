//! Long-poll: answers that can't be brought. What they hold isn't lost with them.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bennu_tests::{Setup, TestClient, TestHost, get, request_with, within};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// How a connection goes.
#[derive(Clone, Copy, Debug)]
enum End {
    /// Closed in order: FIN.
    Closed,
    /// Broken: RST.
    Broken,
    /// Closed for what the client writes, which waits for its answer still.
    Half,
}

const TOPIC: &str = "echo:1";

/// A session that has joined the topic, beside a client of the other transport.
struct Session<'a> {
    host: &'a TestHost,
    path: String,
}

impl<'a> Session<'a> {
    async fn begin(host: &'a TestHost) -> Result<Self> {
        let begun = get(host.address(), "/socket/longpoll?vsn=2.0.0").await?.json()?;
        let path = format!("/socket/longpoll?vsn=2.0.0&token={}", begun["token"].as_str().context("a token")?);
        let join = json!(["1", "1", TOPIC, "phx_join", {}]).to_string();
        request_with(host.address(), "POST", &path, &[], join.as_bytes()).await?;
        let session = Self { host, path };
        ensure!(session.poll().await?.len() == 1, "the join is answered");
        Ok(session)
    }

    /// A poll on a connection of its own.
    async fn polling(&self) -> Result<TcpStream> {
        self.polling_with(TcpSocket::new_v4()?).await
    }

    async fn polling_with(&self, socket: TcpSocket) -> Result<TcpStream> {
        let mut stream = socket.connect(self.host.address()).await?;
        let head = format!("GET {} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", self.path);
        stream.write_all(head.as_bytes()).await?;
        Ok(stream)
    }

    /// A poll that waits, and is known to: of two, the earlier is told that there is nothing.
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

    /// The messages of a poll.
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

/// Says something, and waits until it was said.
async fn shout(alice: &mut TestClient, payload: &Value) -> Result<()> {
    alice.push(TOPIC, "shout", payload).await?;
    alice.expect(&json!([null, null, TOPIC, "shout", payload])).await
}

/// Whatever the host has noticed of the end by the time of the message: at once, and a while later.
#[tokio::test]
async fn a_poll_whose_connection_is_closed_swallows_nothing() -> Result<()> {
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
                // Whether the host has noticed the end by now isn't seen from outside, and mustn't matter.
                alice.quiet().await?;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            shout(&mut alice, &json!({ "n": 1 })).await?;
            shout(&mut alice, &json!({ "n": 2 })).await?;
            let came = within("both messages", async {
                let mut came = session.poll().await?;
                while came.len() < 2 {
                    came.extend(session.poll().await?);
                }
                anyhow::Ok(came)
            })
            .await??;
            let numbers: Vec<&Value> = came.iter().map(|message| &message[4]["n"]).collect();
            ensure!(numbers == [1, 2], "{end:?}, round {round}: {numbers:?}");
        }
    }
    Ok(())
}

/// More than the connection holds, so that it is known not to have been written.
fn large() -> Value {
    json!({ "filler": "x".repeat(9_000_000) })
}

fn roomy() -> Result<Setup> {
    let setup = window(10_000)?.limit("frame_bytes", 16 << 20).limit("outbox_bytes", 64 << 20);
    let setup = setup.limit("effect_bytes", 32 << 20).limit("mailbox_bytes_from_client", 32 << 20);
    Ok(setup.limit("call_cpu_ms", 20_000).limit("call_wall_ms", 20_000))
}

/// A poll that has got the beginning of its answer, and takes no more.
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
async fn an_answer_that_is_cut_is_given_again() -> Result<()> {
    let host = roomy()?.start().await?;
    let mut alice = neighbour(&host).await?;
    let session = Session::begin(&host).await?;
    let poll = stuck(&session, &mut alice).await?;
    shout(&mut alice, &json!({ "n": 2 })).await?;
    poll.set_zero_linger()?;
    drop(poll);
    let first = session.poll().await?;
    ensure!(first.len() == 1 && first[0][4] == large(), "it is the one that was cut");
    let second = session.poll().await?;
    ensure!(second.len() == 1 && second[0][4] == json!({ "n": 2 }), "and then what came behind it: {second:?}");
    Ok(())
}

/// A network that is gone without a word: the client polls anew, while its last connection seems to be there.
#[tokio::test]
async fn who_polls_anew_is_given_what_is_stuck_on_its_last_connection() -> Result<()> {
    let host = roomy()?.start().await?;
    let mut alice = neighbour(&host).await?;
    let session = Session::begin(&host).await?;
    let mut poll = stuck(&session, &mut alice).await?;
    let again = session.poll().await?;
    ensure!(again.len() == 1 && again[0][4] == large(), "it is the one that was stuck");
    shout(&mut alice, &json!({ "n": 2 })).await?;
    let next = session.poll().await?;
    ensure!(next.len() == 1 && next[0][4] == json!({ "n": 2 }), "{next:?}");
    // The stuck one never comes whole: nobody gets a message twice.
    let mut rest = Vec::new();
    match within("the end of the stuck answer", poll.read_to_end(&mut rest)).await? {
        Ok(_) if rest.len() < 9_000_000 => Ok(()),
        Ok(_) => bail!("it came whole"),
        Err(_) => Ok(()),
    }
}
