//! A member of a room, with the library `phoenix_channels_client`: `rust-client URL TOPIC`.
//!
//! It reads commands as lines of JSON from standard input, and writes received messages as lines of JSON to standard output.

use std::error::Error;
use std::sync::Arc;

use phoenix_channels_client::{Channel, Client, Config, Payload, SendError};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

/// The events that the tests need. The library needs the name of each event.
const EVENTS: [&str; 3] = ["shout", "presence_state", "presence_diff"];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (url, topic) = arguments.next().zip(arguments.next()).ok_or("expected: rust-client URL TOPIC")?;
    let mut client = Client::new(Config::new(format!("{url}/websocket").as_str())?)?;
    client.connect().await?;
    let room = client.join(&topic, None).await?;
    for event in EVENTS {
        room.on(event, move |_, payload| println!("{}", json!(["event", event, shown(payload)]))).await?;
    }
    println!("{}", json!(["joined", room.topic()]));
    let mut orders = BufReader::new(stdin()).lines();
    while let Some(line) = orders.next_line().await? {
        obey(&room, &serde_json::from_str(&line)?).await?;
    }
    client.disconnect().await?;
    Ok(())
}

async fn obey(room: &Arc<Channel>, order: &Value) -> Result<(), Box<dyn Error>> {
    let event = order[1].as_str().unwrap_or_default();
    match order[0].as_str() {
        Some("push") => {
            let reply = match room.send(event, order[2].clone()).await {
                Ok(response) => json!({ "status": "ok", "response": shown(&response) }),
                Err(SendError::Reply(response)) => json!({ "status": "error", "response": shown(&response) }),
                Err(error) => return Err(error.into()),
            };
            println!("{}", json!(["reply", reply]));
        }
        Some("send") => room.send_noreply(event, order[2].clone()).await?,
        Some("leave") => room.leave().await,
        _ => return Err(format!("unknown command: {order}").into()),
    }
    Ok(())
}

fn shown(payload: &Payload) -> Value {
    payload.clone().into_value().unwrap_or_default()
}
