//! The commands of a test kit, by name: clients connect, send and receive, and the clock advances.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bennu_semantics::{Fault, HttpFailure, HttpResponse, Pattern, Payload, RouteSpec, Source, Tick, Topic};
use bennu_world::{Delivered, Frame, Incoming, Sent, SocketFacts, World};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::fields::{Fields, Misread, StateForm};
use super::peer::Peer;
use super::written;

/// The result of a command as JSON text, or the fault of the callback that it called.
pub(super) type Done = Result<String, Fault>;

/// Runs the command of a line.
///
/// # Errors
/// If there is no such command, or a field is missing or wrong. Then nothing was done.
pub(super) fn act(world: &mut World<Peer>, name: &str, fields: &mut Fields<'_>) -> Misread<Done> {
    match name {
        "routes" => routes(world, fields),
        "host" => host(world, fields),
        "connect" => connect(world, fields),
        "push" | "frame" | "next" | "close" => client(world, name, fields),
        "broadcast" | "send" | "tell" | "tick" | "disconnect" => elsewhere(world, name, fields),
        "advance" => {
            let ms: u64 = fields.need("ms")?;
            fields.end()?;
            world.advance(Duration::from_millis(ms));
            nothing()
        }
        "http" => http(world, fields),
        "put" | "get" => store(world, name, fields),
        "late_answers" => {
            fields.end()?;
            let answers: Vec<_> = world.take_late_answers().iter().map(written::reply).collect();
            Ok(Ok(format!("[{}]", answers.join(","))))
        }
        "schedules" => {
            fields.end()?;
            Ok(Ok(schedules(world)))
        }
        "deliveries" => {
            fields.end()?;
            Ok(Ok(deliveries(world)))
        }
        "presences" => {
            let topic: String = fields.need("topic")?;
            fields.end()?;
            Ok(Ok(world.online().state(&topic).to_string()))
        }
        "faults" => {
            fields.end()?;
            let fault = |fault: &Fault| json!({ "kind": fault.kind.as_str(), "detail": fault.detail });
            Ok(Ok(world.faults().iter().map(fault).collect::<Value>().to_string()))
        }
        _ => Err(format!("there is no `{name}` to do")),
    }
}

fn nothing() -> Misread<Done> {
    Ok(Ok("null".to_owned()))
}

/// Sets the routes, and the form of states. Members and rooms stay, as after a reload.
fn routes(world: &mut World<Peer>, fields: &mut Fields<'_>) -> Misread<Done> {
    let described: Vec<Box<RawValue>> = fields.need("routes")?;
    let form: Option<String> = fields.get("states")?;
    fields.end()?;
    let form = match form.as_deref() {
        None | Some("json") => StateForm::Json,
        Some("base64") => StateForm::Base64,
        Some(other) => return Err(format!("states are json or base64, and not {other}")),
    };
    let routes = described.iter().map(|route| read_route(route.get())).collect::<Misread<Vec<_>>>()?;
    RouteSpec::check_all(&routes, true).map_err(|error| error.to_string())?;
    let peer = world.callbacks();
    (peer.routes, peer.form) = (routes, form);
    nothing()
}

fn read_route(text: &str) -> Misread<RouteSpec> {
    let mut fields = Fields::read(text)?;
    let pattern: String = fields.need("pattern")?;
    let intercepts: Vec<String> = fields.get("intercepts")?.unwrap_or_default();
    let versions = (fields.get("assigns_version")?.unwrap_or(0), fields.get("room_version")?.unwrap_or(0));
    let options: BTreeMap<String, OptionValue> = fields.get("options")?.unwrap_or_default();
    fields.end()?;
    let options: Vec<_> = options.into_iter().flat_map(OptionValue::settings).collect();
    RouteSpec::read(&pattern, intercepts, versions, &options).map_err(|error| error.to_string())
}

/// The value of a route's option. A list sets the option several times.
#[derive(Deserialize)]
#[serde(untagged)]
enum OptionValue {
    One(String),
    Several(Vec<String>),
}

impl OptionValue {
    fn settings((name, value): (String, Self)) -> Vec<(String, String)> {
        let values = match value {
            Self::One(value) => vec![value],
            Self::Several(values) => values,
        };
        values.into_iter().map(|value| (name.clone(), value)).collect()
    }
}

/// Sets the plugin's configuration and grants, and the time.
fn host(world: &mut World<Peer>, fields: &mut Fields<'_>) -> Misread<Done> {
    let patterns = |fields: &mut Fields<'_>, name| -> Misread<Vec<Pattern>> {
        let texts: Vec<String> = fields.get(name)?.unwrap_or_default();
        let parse = |text: &String| Pattern::parse(text).map_err(|error| format!("`{name}`: `{text}`: {error}"));
        texts.iter().map(parse).collect()
    };
    let config = fields.json("config");
    let (publish, read) = (patterns(fields, "publish")?, patterns(fields, "read")?);
    let now: Option<u64> = fields.get("now")?;
    fields.end()?;
    if let Some(config) = config {
        config.clone_into(&mut world.host_mut().configuration);
    }
    publish.into_iter().for_each(|pattern| world.grant_publish(pattern));
    read.into_iter().for_each(|pattern| world.grant_read(pattern));
    if let Some(now) = now {
        world.host_mut().now = now;
    }
    nothing()
}

/// Sets the answer to requests by HTTP.
fn http(world: &mut World<Peer>, fields: &mut Fields<'_>) -> Misread<Done> {
    let (method, url): (Option<String>, String) = (fields.get("method")?, fields.need("url")?);
    let (status, failure): (Option<u16>, Option<String>) = (fields.get("status")?, fields.get("failure")?);
    let headers: Vec<(String, String)> = fields.get("headers")?.unwrap_or_default();
    let (text, bytes): (Option<String>, _) = (fields.get("body")?, fields.bytes("body_base64")?);
    fields.end()?;
    let result = match failure {
        Some(kind) => Err(HttpFailure { kind, detail: "as the test says".to_owned() }),
        None => {
            let body = bytes.map(Bytes::from).unwrap_or_else(|| text.unwrap_or_default().into());
            Ok(HttpResponse { status: status.unwrap_or(200), headers, body })
        }
    };
    world.host_mut().http.set(method.as_deref().unwrap_or("GET"), &url, result);
    nothing()
}

fn connect(world: &mut World<Peer>, fields: &mut Fields<'_>) -> Misread<Done> {
    let object = |fields: &mut Fields<'_>, name| fields.json(name).unwrap_or("{}").to_owned();
    let who = SocketFacts {
        socket_id: fields.get("socket_id")?,
        user: fields.get("user")?,
        claims: object(fields, "claims"),
        connect_params: object(fields, "params"),
        x_headers: fields.get("x_headers")?.unwrap_or_default(),
        ..SocketFacts::default()
    };
    fields.end()?;
    Ok(Ok(world.connect(who, true).to_string()))
}

/// The commands of one client.
fn client(world: &mut World<Peer>, name: &str, fields: &mut Fields<'_>) -> Misread<Done> {
    let client: u64 = fields.need("client")?;
    if !world.has_client(client) {
        return Err(format!("there is no client {client}"));
    }
    match name {
        "push" => {
            let (topic, event): (String, String) = (fields.need("topic")?, fields.need("event")?);
            let (join_ref, payload) = (fields.json("join_ref").map(str::to_owned), json_or_bytes(fields)?);
            fields.end()?;
            let reference = world.draw_ref(client);
            // The ref of a join identifies the membership that it begins.
            let own = if event == "phx_join" { reference.clone() } else { "null".to_owned() };
            let join_ref = join_ref.unwrap_or(own);
            world.receive(client, Incoming { join_ref, reference: reference.clone(), topic, event, payload });
            Ok(Ok(reference))
        }
        "frame" => {
            let text: Box<RawValue> = fields.need("frame")?;
            fields.end()?;
            world.receive(client, read_frame(text.get())?);
            nothing()
        }
        "next" => {
            fields.end()?;
            Ok(Ok(match world.next_frame(client) {
                None => "null".to_owned(),
                Some(Frame::Text(text)) => format!("{{\"frame\":{text}}}"),
                Some(Frame::Binary(bytes)) => json!({ "binary_base64": STANDARD.encode(bytes) }).to_string(),
                Some(Frame::Closed(code)) => json!({ "closed": code }).to_string(),
            }))
        }
        _ => {
            fields.end()?;
            world.close_client(client);
            nothing()
        }
    }
}

/// A payload that a client can send: valid JSON, or bytes.
fn json_or_bytes(fields: &mut Fields<'_>) -> Misread<Payload> {
    let payload = fields.payload()?;
    payload.check_value().map_err(|error| error.to_string())?;
    Ok(payload)
}

/// A frame of version 2. Its refs and its payload keep their texts.
fn read_frame(text: &str) -> Misread<Incoming> {
    let fields: [&RawValue; 5] = serde_json::from_str(text).map_err(|error| format!("no frame of five: {error}"))?;
    let [join_ref, reference, topic, event, payload] = fields.map(RawValue::get);
    let text = |name: &str, json: &str| serde_json::from_str(json).map_err(|error| format!("its {name}: {error}"));
    Ok(Incoming {
        join_ref: join_ref.to_owned(),
        reference: reference.to_owned(),
        topic: text("topic", topic)?,
        event: text("event", event)?,
        payload: Payload::Json(payload.into()),
    })
}

/// The commands of the API, and ticks of the test's choice.
fn elsewhere(world: &mut World<Peer>, name: &str, fields: &mut Fields<'_>) -> Misread<Done> {
    if name == "disconnect" {
        let socket_id: String = fields.need("socket_id")?;
        fields.end()?;
        return Ok(Ok(world.disconnect_from_elsewhere(&socket_id).to_string()));
    }
    let topic: String = fields.need("topic")?;
    if name == "tick" {
        let (number, missed, period): (u64, Option<u32>, u64) =
            (fields.need("number")?, fields.get("missed")?, fields.need("period_ms")?);
        fields.end()?;
        let tick = Tick { number, missed: missed.unwrap_or(0), period: Duration::from_millis(period) };
        return Ok(world.tick(&topic, tick).map(|()| "null".to_owned()));
    }
    let source = (name == "tell").then(|| source(fields)).transpose()?;
    let (event, payload): (String, _) = (fields.need("event")?, json_or_bytes(fields)?);
    fields.end()?;
    let sent = Sent { event: event.into(), payload };
    if name == "broadcast" {
        world.broadcast_from_elsewhere(&topic, &sent);
        return nothing();
    }
    if let Some(source) = source {
        return Ok(world.tell(&topic, source, sent).map(|()| "null".to_owned()));
    }
    let answered = world.send(&topic, sent);
    Ok(answered.map(|reply| reply.map_or_else(|| "null".to_owned(), |reply| written::reply(&reply))))
}

/// The source of a message for `handle_topic_info` that a test makes. A schedule fires by itself.
fn source(fields: &mut Fields<'_>) -> Misread<Source> {
    let name: String = fields.need("source")?;
    match name.as_str() {
        "cron" => Ok(Source::Cron),
        "start" => Ok(Source::Start),
        other => Err(format!("a test tells a topic `cron` or `start`, and not `{other}`")),
    }
}

/// All schedules.
fn schedules(world: &World<Peer>) -> String {
    let schedule = |(topic, key, due_ms, sent, is_given_up): (&Topic, &str, u64, Sent, bool)| json!({ "topic": topic.as_str(), "key": key, "due_ms": due_ms, "event": &*sent.event, "given_up": is_given_up });
    world.schedules().map(schedule).collect::<Value>().to_string()
}

/// All deliveries, in the order in which they were asked for.
fn deliveries(world: &World<Peer>) -> String {
    let delivery = |delivered: &Delivered| {
        let Delivered { id, row, state } = delivered;
        let mut shown = json!({ "id": id, "url": row.url, "headers": row.headers, "state": state.as_str(), "failures": row.failures });
        match std::str::from_utf8(&row.body) {
            Ok(text) => shown["body"] = json!(text),
            Err(_) => shown["body_base64"] = json!(STANDARD.encode(&row.body)),
        }
        if let Some(order) = &row.order {
            shown["order"] = json!(&**order);
        }
        shown
    };
    world.host().stored.deliveries().iter().map(delivery).collect::<Value>().to_string()
}

fn store(world: &mut World<Peer>, name: &str, fields: &mut Fields<'_>) -> Misread<Done> {
    let key = fields.bytes("key")?.ok_or("`key` is missing")?;
    if name == "get" {
        fields.end()?;
        let value = world.host().stored.get(&key, world.host().now).map(|value| STANDARD.encode(value));
        return Ok(Ok(json!(value).to_string()));
    }
    let value = fields.bytes("value")?.ok_or("`value` is missing")?;
    fields.end()?;
    Ok(world.host_mut().stored.put(&key, &value).map(|()| "null".to_owned()))
}
