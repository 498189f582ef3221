//! The channel in socketioxide, with everything at its default.

use std::error::Error;

use axum::Router;
use serde_json::Value;
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, Data, SocketRef};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (layer, io) = SocketIo::new_layer();
    io.ns("/", async |socket: SocketRef| {
        socket.on("join", async |socket: SocketRef, Data(topic): Data<String>, ack: AckSender| {
            socket.join(topic);
            answer(ack, &"ok");
        });
        socket.on("leave", async |socket: SocketRef, Data(topic): Data<String>, ack: AckSender| {
            socket.leave(topic);
            answer(ack, &"ok");
        });
        socket.on("echo", async |Data(payload): Data<Value>, ack: AckSender| answer(ack, &payload));
        socket.on("shout", async |socket: SocketRef, Data((topic, payload)): Data<(String, Value)>| {
            // A socket whose buffer is full doesn't get the event.
            let _ = socket.within(topic).emit("shout", &payload).await;
        });
    });
    peers::serve(Router::new().layer(layer)).await
}

/// Sends an answer. An error means that the client has disconnected.
fn answer(ack: AckSender, payload: &impl serde::Serialize) {
    let _ = ack.send(payload);
}
