//! The functions that a callback can call, by name: those of the contract's imports.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bennu_semantics::deliveries::{Delivery, PushSubscription};
use bennu_semantics::{Fault, HttpRequest, Payload, entries, http_payload, limits};
use bennu_world::{CallContext, Level, Order, Row, SocketFacts, TokenProblem};
use bytes::Bytes;
use serde_json::{Value, json};

use super::effect;
use super::fields::{Fields, Misread, decode};

/// The result of a function as JSON text, or the fault that ends the callback.
pub(super) type Asked = Result<String, Fault>;

/// Calls a function for a callback.
///
/// # Errors
/// If there is no such function, or a field is missing or wrong. Then nothing was done, and the callback continues.
pub(super) fn answer(context: &mut CallContext, name: &str, fields: &mut Fields<'_>) -> Misread<Asked> {
    match name {
        "now" | "unique_id" | "random" | "configuration" | "log" | "socket" | "sign" | "verify" => {
            read(context, name, fields)
        }
        "answer_ref" => {
            fields.end()?;
            Ok(context.answer_ref().map(|answer_ref| json!(answer_ref).to_string()))
        }
        "schedule_due" => {
            let (topic, key): (String, String) = (fields.need("topic")?, fields.need("key")?);
            fields.end()?;
            Ok(context.schedule_due(&topic, &key).map(|due_ms| json!(due_ms).to_string()))
        }
        "presences" | "presence" | "count" | "members" | "topics" => look(context, name, fields),
        "get" | "scan" | "put" | "put_expiring" | "delete" => store(context, name, fields),
        "http_get" => http_get(context, fields),
        "http_deliver" => http_deliver(context, fields),
        "discard" => {
            fields.end()?;
            context.discard();
            Ok(done(Ok(())))
        }
        "entry_get"
        | "entries_get"
        | "entry_scan"
        | "entry_put"
        | "entries_put"
        | "entry_delete"
        | "entries_delete_range" => entries(context, name, fields),
        _ => {
            let effect = effect::read(name, fields)?;
            Ok(context.ask(effect).map(|timer| timer.map_or_else(|| "null".to_owned(), |timer| timer.to_string())))
        }
    }
}

/// Waits for the answer to a request by HTTP. It has the form of the payload that `handle_info` gets.
fn http_get(context: &mut CallContext, fields: &mut Fields<'_>) -> Misread<Asked> {
    let method = fields.get::<String>("method")?.unwrap_or_else(|| "GET".to_owned());
    let (url, headers): (String, Option<_>) = (fields.need("url")?, fields.get("headers")?);
    let timeout = fields.get("timeout_ms")?.map(Duration::from_millis);
    fields.end()?;
    let headers = headers.unwrap_or_default();
    let request = HttpRequest { method, url, headers, body: Bytes::new(), timeout };
    Ok(context.http_get(&request).map(|result| match http_payload(&result) {
        Payload::Json(text) => text.to_string(),
        Payload::Binary(_) => "null".to_owned(),
    }))
}

/// Stores a request that is sent until the server accepts it.
fn http_deliver(context: &mut CallContext, fields: &mut Fields<'_>) -> Misread<Asked> {
    let (url, headers): (String, Option<_>) = (fields.need("url")?, fields.get("headers")?);
    let (text, bytes): (Option<String>, _) = (fields.get("body")?, fields.bytes("body_base64")?);
    let (order, expires_ms): (Option<Box<str>>, _) = (fields.get("order")?, fields.get("expires_ms")?);
    let (p256dh, auth): (Option<Box<str>>, Option<Box<str>>) = (fields.get("push_p256dh")?, fields.get("push_auth")?);
    let on_failure = fields.get("on_failure")?;
    fields.end()?;
    let body = bytes.map(Bytes::from).unwrap_or_else(|| text.unwrap_or_default().into());
    let push = p256dh.zip(auth).map(|(p256dh, auth)| PushSubscription { p256dh, auth });
    let delivery = Delivery { url, headers: headers.unwrap_or_default(), body, order, expires_ms, push, on_failure };
    Ok(context.deliver(delivery).map(|id| json!(id).to_string()))
}

/// The result of a function without a value.
fn done(act: Result<(), Fault>) -> Asked {
    act.map(|()| "null".to_owned())
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
        "put_expiring" => {
            let (key, value) = (key(fields)?, fields.bytes("value")?.ok_or("`value` is missing")?);
            done(context.put_expiring(&key, &value, fields.need("ms")?))
        }
        "delete" => done(context.delete(&key(fields)?)),
        _ => {
            let (start, end) = (fields.bytes("start")?, fields.bytes("end")?);
            let backward: Option<bool> = fields.get("backward")?;
            let order = if backward == Some(true) { Order::Backward } else { Order::Forward };
            let limit: Option<u32> = fields.get("limit")?;
            rows(context.scan(start.as_deref(), end.as_deref(), order, limit.unwrap_or(u32::MAX)))
        }
    };
    fields.end()?;
    Ok(asked)
}

/// The entries of the topic.
fn entries(context: &mut CallContext, name: &str, fields: &mut Fields<'_>) -> Misread<Asked> {
    let key = |fields: &mut Fields<'_>| fields.bytes("key")?.ok_or_else(|| "`key` is missing".to_owned());
    let encoded = |value: Option<Vec<u8>>| json!(value.map(|value| STANDARD.encode(value)));
    let limit = |fields: &mut Fields<'_>| Ok::<_, String>(fields.get::<u32>("limit")?.unwrap_or(u32::MAX));
    let asked = match name {
        "entry_get" => context.entry_get(&key(fields)?).map(|value| encoded(value).to_string()),
        "entries_get" => {
            let keys = fields
                .need::<Vec<String>>("keys")?
                .iter()
                .map(|key| decode("keys", key))
                .collect::<Misread<Vec<_>>>()?;
            let values = context.entries_get(keys.iter().map(Vec::as_slice));
            values.map(|values| values.into_iter().map(encoded).collect::<Value>().to_string())
        }
        "entry_put" => {
            let (key, value) = (key(fields)?, fields.bytes("value")?.ok_or("`value` is missing")?);
            done(context.entry_put(&key, &value))
        }
        "entries_put" => {
            let row = |(key, value): &(String, String)| Ok((decode("entries", key)?, decode("entries", value)?));
            let rows = fields.need::<Vec<(String, String)>>("entries")?;
            let rows = rows.iter().map(row).collect::<Misread<Vec<(Vec<u8>, Vec<u8>)>>>()?;
            done(context.entries_put(rows.iter().map(|(key, value)| (&**key, &**value))))
        }
        "entry_delete" => done(context.entry_delete(&key(fields)?)),
        "entries_delete_range" => {
            let (start, end, limit) = (fields.bytes("start")?, fields.bytes("end")?, limit(fields)?);
            context.entries_delete_range(start.as_deref(), end.as_deref(), limit).map(|deleted| deleted.to_string())
        }
        _ => {
            let (start, end) = (fields.bytes("start")?, fields.bytes("end")?);
            let backward: Option<bool> = fields.get("backward")?;
            let order = if backward == Some(true) { entries::Order::Backward } else { entries::Order::Forward };
            rows(context.entry_scan(start.as_deref(), end.as_deref(), order, limit(fields)?))
        }
    };
    fields.end()?;
    Ok(asked)
}

/// Keys with their values, as a list of pairs in base64.
fn rows(rows: Result<Vec<Row>, Fault>) -> Asked {
    let row = |(key, value): &Row| json!([STANDARD.encode(key), STANDARD.encode(value)]);
    rows.map(|rows| rows.iter().map(row).collect::<Value>().to_string())
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
