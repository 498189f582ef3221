//! The gatekeeper of the reference mounts. The connect parameters choose the answer.
//!
//! | parameter | answer |
//! | --- | --- |
//! | `reject=..` | 403 |
//! | `error=ratelimit` | at `/socket` 429, at other mounts 403 |
//! | `error=..` | 403 |
//! | `raise=..` | 500: the gatekeeper panics |
//! | `user_token=..` | the user of a `Phoenix.Token` with the salt `user socket`, at most two weeks old; otherwise 403 |
//! | `user_id=..` | that user |
//! | none of these | an anonymous client |
//!
//! A user's socket has the id `user_socket:USER`.

use bennu_guest::prelude::*;

const TWO_WEEKS: Duration = Duration::from_secs(1_209_600);

struct Gate;

impl Gatekeeper for Gate {
    fn connect(request: &Request) -> Connect {
        let params: serde_json::Map<String, Value> = request.params().parse()?;
        let text = |name: &str| params.get(name).and_then(Value::as_str);
        if params.contains_key("reject") {
            return Err(Refused::default());
        }
        if let Some(error) = params.get("error") {
            let is_limited = error == "ratelimit" && request.mount() == "/socket";
            return Err(if is_limited { Refused::new(429, "Too many requests") } else { Refused::default() });
        }
        assert!(!params.contains_key("raise"), "asked to");
        let user = match text("user_token") {
            Some(signed) => {
                let user = token::verify::<String>("user socket", signed, Some(TWO_WEEKS));
                Some(user.map_err(|_| Refused::default())?)
            }
            None => text("user_id").map(str::to_owned),
        };
        let identity = match user {
            Some(user) => Identity::user(&user).socket_id(&format!("user_socket:{user}")),
            None => Identity::anonymous(),
        };
        Ok(identity.claim("auth_token", request.auth_token()).claim("connect_info", connect_info(request)))
    }
}

/// Returns the data that Phoenix calls `connect_info`.
fn connect_info(request: &Request) -> Value {
    let uri = request.uri();
    let headers = |wanted: &dyn Fn(&str) -> bool| -> serde_json::Map<String, Value> {
        let headers = request.headers().into_iter().filter(|(name, _)| wanted(name));
        headers.map(|(name, value)| (name, json!(value))).collect()
    };
    json!({
        "user_agent": request.header("user-agent"),
        "peer_address": request.peer().ip,
        "uri": { "scheme": uri.scheme, "host": uri.host, "port": uri.port, "path": uri.path, "query": uri.query },
        "trace": headers(&|name| name == "traceparent" || name == "tracestate"),
        "ws_headers": headers(&|name| name.starts_with("sec-websocket-")),
    })
}

gatekeeper! { Gate }

#[cfg(test)]
mod tests {
    use bennu_guest::testing::{ConnectRequest, token};

    use super::*;

    #[test]
    fn parameters_choose_the_answer() {
        let answer = |params: Value| ConnectRequest::new().params(params).connect::<Gate>();
        assert_eq!(answer(json!({ "reject": "1" })), Err(Refused::default()));
        assert_eq!(answer(json!({ "error": "ratelimit" })), Err(Refused::new(429, "Too many requests")));
        assert_eq!(answer(json!({ "error": "other" })), Err(Refused::default()));
        assert_eq!(answer(json!({ "user_token": "forged" })), Err(Refused::default()));
        assert!(answer(json!({ "user_token": token("user socket", "7") })).is_ok());
        assert!(answer(json!({ "user_id": "7" })).is_ok() && answer(json!({})).is_ok());
        let elsewhere = ConnectRequest::new().at("/limits", "websocket").params(json!({ "error": "ratelimit" }));
        assert_eq!(elsewhere.connect::<Gate>(), Err(Refused::default()));
    }
}
