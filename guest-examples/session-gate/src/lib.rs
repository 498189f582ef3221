//! A gatekeeper that asks the application's own backend who a client is. It passes the client's cookies on, so the page needs no
//! token: a user who is logged in to the application is logged in here.
//!
//! Its configuration has the URL to ask:
//!
//! ```toml
//! [plugins.session-gate]
//! config = { session = "http://localhost:3000/session" }
//! http = ["http://localhost:3000/session"]
//! ```
//!
//! | answer of the backend | the client |
//! | --- | --- |
//! | 200, `{"user": "42", "claims": {..}}` | is this user; its socket has the id `user_socket:42` |
//! | 401, 403, 404 | is refused: 403 |
//! | any other answer, or none | is refused: 503, so that it tries again |

use std::collections::BTreeMap;

use bennu_guest::prelude::*;

struct SessionGate;

#[derive(Deserialize)]
struct Config {
    session: String,
}

#[derive(Deserialize)]
struct Session {
    user: String,
    #[serde(default)]
    claims: BTreeMap<String, Value>,
}

impl Gatekeeper for SessionGate {
    fn connect(request: &Request) -> Connect {
        let Config { session } = config()?;
        let cookie = request.header("cookie").ok_or_else(Refused::default)?;
        let asked = http::Request::get(&session).header("cookie", &cookie).timeout(Duration::from_secs(2));
        let answer = asked.wait().map_err(|failure| unavailable(&failure.to_string()))?;
        match answer.status {
            200 => {
                let found: Session = answer.json().map_err(|failure| unavailable(&failure.to_string()))?;
                Ok(identity(&found))
            }
            401 | 403 | 404 => Err(Refused::default()),
            status => Err(unavailable(&format!("the status {status}"))),
        }
    }
}

fn identity(session: &Session) -> Identity {
    let identity = Identity::user(&session.user).socket_id(&format!("user_socket:{}", session.user));
    session.claims.iter().fold(identity, |identity, (name, value)| identity.claim(name, value))
}

fn unavailable(why: &str) -> Refused {
    log::warn!("the backend gave no session: {why}");
    Refused::new(503, "try again later")
}

gatekeeper!(SessionGate);

#[cfg(test)]
mod tests {
    use bennu_guest::testing::ConnectRequest;

    use super::*;

    const URL: &str = "http://localhost:3000/session";

    fn request() -> ConnectRequest {
        ConnectRequest::new().config(json!({ "session": URL })).header("cookie", "sid=1")
    }

    #[test]
    fn a_client_with_a_session_is_its_user() {
        let answer = json!({ "user": "42", "claims": { "role": "admin" } });
        let identity = request().http("GET", URL, 200, answer).connect::<SessionGate>();
        assert_eq!(identity, Ok(Identity::user("42").socket_id("user_socket:42").claim("role", "admin")));
    }

    #[test]
    fn a_client_without_a_session_is_refused() {
        assert_eq!(request().http("GET", URL, 401, json!({})).connect::<SessionGate>(), Err(Refused::default()));
        let without_cookie = ConnectRequest::new().config(json!({ "session": URL }));
        assert_eq!(without_cookie.connect::<SessionGate>(), Err(Refused::default()));
    }

    #[test]
    fn while_the_backend_is_down_clients_are_told_to_try_again() {
        let refused = |request: ConnectRequest| request.connect::<SessionGate>().unwrap_err().status;
        assert_eq!(refused(request().http("GET", URL, 500, json!({}))), 503);
        assert_eq!(refused(request().http("GET", URL, 200, json!("no session"))), 503);
        assert_eq!(refused(request().http_failure("GET", URL, "timeout")), 503);
    }
}
