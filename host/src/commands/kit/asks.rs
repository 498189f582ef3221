//! The functions that a callback can call, by name: those of the contract's imports.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bennu_semantics::{Fault, Payload, limits};
use bennu_world::{CallContext, Level, Order, SocketFacts, TokenProblem};
use serde_json::{Value, json};

use super::fields::{Fields, Misread};

/// The result of a function as JSON text, or the fault that ends the callback.
pub(super) type Asked = Result<String, Fault>;

/// Calls a function for a callback.
///
/// # Errors
/// If there is no such function, or a field is missing or wrong. Then nothing was done, and the callback continues.
pub(super) fn answer(context: &mut CallContext, name: &str, fields: &mut Fields<'_>) -> Misread<Asked> {
    let asked = match name {
        "now" | "unique_id" | "random" | "configuration" | "log" | "socket" | "sign" | "verify" => {
            read(context, name, fields)?
        }
        "presences" | "presence" | "count" | "members" | "topics" => look(context, name, fields)?,
        "get" | "scan" | "put" | "delete" => store(context, name, fields)?,
        "track" | "update_presence" | "untrack" | "push_presences" => presence(context, name, fields)?,
        "subscribe" | "unsubscribe" | "disconnect" | "take_seat" | "leave_seat" | "cancel" | "tick"
        | "publish_state" => effect(context, name, fields)?,
        _ => event(context, name, fields)?,
    };
    Ok(asked)
}

/// The result of a function without a value.
fn done(act: Result<(), Fault>) -> Asked {
    act.map(|()| "null".to_owned())
}

/// Events, and the reply to an earlier message.
fn event(context: &mut CallContext, name: &str, fields: &mut Fields<'_>) -> Misread<Asked> {
    if name == "reply" {
        let (to, reply): (String, _) = (fields.need("ref")?, fields.reply()?);
        fields.end()?;
        return Ok(done(context.reply(&to, reply)));
    }
    let known = ["push", "broadcast", "broadcast_from", "publish", "send", "send_self", "send_after"];
    if !known.contains(&name) {
        return Err(format!("there is no `{name}` to ask for"));
    }
    let topic: Option<String> = fields.get("topic")?;
    let (event, payload): (String, _) = (fields.need("event")?, fields.payload()?);
    let after: Option<u64> = fields.get("ms")?;
    fields.end()?;
    Ok(match (name, topic, after) {
        ("push", None, None) => done(context.push(&event, payload)),
        ("broadcast", None, None) => done(context.broadcast(&event, payload, false)),
        ("broadcast_from", None, None) => done(context.broadcast(&event, payload, true)),
        ("publish", Some(topic), None) => done(context.publish(&topic, &event, payload)),
        ("send", Some(topic), None) => done(context.send(&topic, &event, payload)),
        ("send_self", None, None) => done(context.send_self(&event, payload)),
        ("send_after", None, Some(ms)) => context.send_after(ms, &event, payload).map(|timer| timer.to_string()),
        _ => return Err(format!("`{name}`: `topic` belongs to publish and send, and `ms` to send_after")),
    })
}

fn effect(context: &mut CallContext, name: &str, fields: &mut Fields<'_>) -> Misread<Asked> {
    let asked = match name {
        "subscribe" => done(context.subscribe(&fields.need::<String>("topic")?)),
        "unsubscribe" => done(context.unsubscribe(&fields.need::<String>("topic")?)),
        "disconnect" => done(context.disconnect(&fields.need::<String>("socket_id")?)),
        "take_seat" => {
            let (seat, ms): (String, u32) = (fields.need("seat")?, fields.need("ms")?);
            done(context.take_seat(&seat, ms))
        }
        "leave_seat" => done(context.leave_seat()),
        "cancel" => done(context.cancel(fields.need("timer")?)),
        "tick" => done(context.tick(fields.need("ms")?)),
        _ => match fields.first_of(&["state", "state_text"]) {
            Some(("state", raw)) => done(context.publish_state(raw.get())),
            Some((_, raw)) => {
                let text: String = serde_json::from_str(raw.get()).map_err(|error| format!("`state_text`: {error}"))?;
                done(context.publish_state(&text))
            }
            None => return Err("`state` is missing".to_owned()),
        },
    };
    fields.end()?;
    Ok(asked)
}

fn presence(context: &mut CallContext, name: &str, fields: &mut Fields<'_>) -> Misread<Asked> {
    if name == "push_presences" {
        fields.end()?;
        return Ok(done(context.push_presences()));
    }
    let key: String = fields.need("key")?;
    if name == "untrack" {
        fields.end()?;
        return Ok(done(context.untrack(&key)));
    }
    let meta = match fields.first_of(&["meta", "meta_text"]) {
        Some(("meta", raw)) => raw.get().to_owned(),
        Some((_, raw)) => serde_json::from_str(raw.get()).map_err(|error| format!("`meta_text`: {error}"))?,
        None => return Err("`meta` is missing".to_owned()),
    };
    fields.end()?;
    Ok(done(if name == "track" { context.track(&key, &meta) } else { context.update_presence(&key, &meta) }))
}

/// Reads about topics.
fn look(context: &mut CallContext, name: &str, fields: &mut Fields<'_>) -> Misread<Asked> {
    let limit = |fields: &mut Fields<'_>| Ok::<_, String>(fields.get("limit")?.unwrap_or(limits::LISTED_MAX));
    let asked = match name {
        "presences" => context.presences(&fields.need::<String>("topic")?),
        "presence" => {
            let (topic, key): (String, String) = (fields.need("topic")?, fields.need("key")?);
            context.presence(&topic, &key).map(|found| found.unwrap_or_else(|| "null".to_owned()))
        }
        "count" => context.count(&fields.need::<String>("topic")?).map(|count| count.to_string()),
        "members" => {
            let (topic, limit): (String, u32) = (fields.need("topic")?, limit(fields)?);
            let people = context.members(&topic, limit);
            let person = |person: &bennu_world::Person| json!({ "member": person.member, "user": person.user, "socket_id": person.socket_id });
            people.map(|people| people.iter().map(person).collect::<Value>().to_string())
        }
        _ => {
            let (prefix, after): (String, Option<String>) = (fields.need("prefix")?, fields.get("after")?);
            let topics = context.topics(&prefix, after.as_deref(), limit(fields)?);
            topics.map(|topics| json!(topics).to_string())
        }
    };
    fields.end()?;
    Ok(asked)
}

fn store(context: &mut CallContext, name: &str, fields: &mut Fields<'_>) -> Misread<Asked> {
    let key = |fields: &mut Fields<'_>| fields.bytes("key")?.ok_or_else(|| "`key` is missing".to_owned());
    let asked = match name {
        "get" => context.get(&key(fields)?).map(|value| json!(value.map(|value| STANDARD.encode(value))).to_string()),
        "put" => {
            let (key, value) = (key(fields)?, fields.bytes("value")?.ok_or("`value` is missing")?);
            done(context.put(&key, &value))
        }
        "delete" => done(context.delete(&key(fields)?)),
        _ => {
            let (start, end) = (fields.bytes("start")?, fields.bytes("end")?);
            let backward: Option<bool> = fields.get("backward")?;
            let order = if backward == Some(true) { Order::Backward } else { Order::Forward };
            let limit: Option<u32> = fields.get("limit")?;
            let entries = context.scan(start.as_deref(), end.as_deref(), order, limit.unwrap_or(u32::MAX));
            let entry = |(key, value): &(Vec<u8>, Vec<u8>)| json!([STANDARD.encode(key), STANDARD.encode(value)]);
            entries.map(|entries| entries.iter().map(entry).collect::<Value>().to_string())
        }
    };
    fields.end()?;
    Ok(asked)
}

/// Reads of the host and the socket, and tokens.
fn read(context: &mut CallContext, name: &str, fields: &mut Fields<'_>) -> Misread<Asked> {
    let asked = match name {
        "now" => Ok(context.now().to_string()),
        "unique_id" => Ok(json!(context.unique_id()).to_string()),
        // As a string, because most languages round a number of 64 bits.
        "random" => Ok(json!(context.random().to_string()).to_string()),
        "configuration" => Ok(context.configuration().to_owned()),
        "socket" => context.member().map(socket),
        "log" => {
            let (level, message): (String, String) = (fields.need("level")?, fields.need("message")?);
            let level = match level.as_str() {
                "trace" => Level::Trace,
                "debug" => Level::Debug,
                "info" => Level::Info,
                "warn" => Level::Warn,
                "error" => Level::Error,
                other => return Err(format!("no level is called `{other}`")),
            };
            done(context.log(level, &message))
        }
        "sign" => {
            let salt: String = fields.need("salt")?;
            let value = fields.json("value").ok_or("`value` is missing")?;
            context.sign(&salt, value, fields.get("max_age")?).map(|token| json!(token).to_string())
        }
        _ => {
            let (salt, token): (String, String) = (fields.need("salt")?, fields.need("token")?);
            Ok(match context.verify(&salt, &token, fields.get("max_age")?) {
                // A test's tokens have no signature, so a client can make one whose value isn't JSON.
                Ok(value) if Payload::Json((&*value).into()).check_value().is_err() => {
                    r#"{"problem":"invalid"}"#.to_owned()
                }
                Ok(value) => format!("{{\"value\":{value}}}"),
                Err(problem) => json!({ "problem": problem_name(problem) }).to_string(),
            })
        }
    };
    fields.end()?;
    Ok(asked)
}

fn socket(socket: &SocketFacts) -> String {
    format!(
        "{{\"socket_id\":{},\"user\":{},\"claims\":{},\"params\":{},\"x_headers\":{},\"join_ref\":{},\"transport\":\"websocket\"}}",
        json!(socket.socket_id),
        json!(socket.user),
        socket.claims,
        socket.connect_params,
        json!(socket.x_headers),
        json!(socket.join_ref),
    )
}

fn problem_name(problem: TokenProblem) -> &'static str {
    match problem {
        TokenProblem::Missing => "missing",
        TokenProblem::Invalid => "invalid",
        TokenProblem::Expired => "expired",
    }
}
