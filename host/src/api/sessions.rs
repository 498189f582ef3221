//! Sessions of browsers: who has signed in with a key, until when, and the cookies that say so.
//!
//! A session stands for its key. It ends when somebody signs out, when its time is over, and when the key is removed or allows
//! something else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::watch;
use tokio::time::Instant;

use super::keys::{Access, ApiKey, Caller, Scope};
use crate::auth::ApiKeyHash;
use crate::counts::Limit;

/// The most sessions of a host. If there are as many, a new one ends the oldest: it was opened with a valid key, too.
pub(crate) const SESSIONS_MAX: usize = 32;

/// How long a session lasts.
pub(crate) const SESSION_TIME: Duration = Duration::from_secs(12 * 60 * 60);

/// The beginning of a cookie's name. The port follows, because cookies of all ports of a machine are together.
const COOKIE: &str = "bennu_session";

/// Called with the id of each session that has ended.
type OnEnd = Box<dyn Fn(&str) + Send + Sync>;

/// The open sessions.
#[derive(Default)]
pub struct Sessions {
    /// By the hash of the cookie's value, so that the time of a search tells nothing about it. The lock is held only to read
    /// or change the map.
    open: Mutex<HashMap<[u8; 32], Arc<Session>>>,
    on_end: OnceLock<OnEnd>,
}

/// A session.
pub(crate) struct Session {
    /// Its id, which isn't secret.
    pub(crate) id: String,
    caller: Caller,
    opened: Instant,
    ended: watch::Sender<bool>,
}

impl Session {
    /// The key that it stands for.
    pub(crate) fn key(&self) -> &ApiKey {
        &self.caller.key
    }

    /// Whether its key has a scope.
    pub(crate) fn may(&self, scope: Scope) -> bool {
        self.caller.key.scopes.contains(&scope)
    }

    /// The time that is left.
    pub(crate) fn rest(&self) -> Duration {
        (self.opened + SESSION_TIME).saturating_duration_since(Instant::now())
    }

    pub(super) fn caller(&self) -> Caller {
        self.caller.clone()
    }
}

/// Why no session was opened.
pub(crate) enum SignInError {
    /// The key isn't one of the host's.
    WrongKey,
    /// The key has neither the scope `read` nor `operate`, or isn't for all topics.
    TooNarrow,
    /// The operating system has no randomness.
    NoRandomness,
}

impl Sessions {
    /// Sets what is called with the id of each session that has ended. Only the first call has an effect.
    pub(crate) fn on_end(&self, call: impl Fn(&str) + Send + Sync + 'static) {
        let _ = self.on_end.set(Box::new(call));
    }

    /// Opens a session with a key. Returns it with the value of its cookie.
    pub(crate) fn open(self: &Arc<Self>, access: &Access, key: &[u8]) -> Result<(Arc<Session>, String), SignInError> {
        let caller = access.find(key).ok_or(SignInError::WrongKey)?;
        let shows_something = [Scope::Read, Scope::Operate].iter().any(|scope| caller.key.scopes.contains(scope));
        if !shows_something || caller.check_all_topics().is_err() {
            return Err(SignInError::TooNarrow);
        }
        let mut random = [0; 40];
        getrandom::fill(&mut random).map_err(|_| SignInError::NoRandomness)?;
        let (id, secret) = random.split_at(8);
        let (id, cookie) = (URL_SAFE_NO_PAD.encode(id), URL_SAFE_NO_PAD.encode(secret));
        let session = Arc::new(Session { id, caller, opened: Instant::now(), ended: watch::channel(false).0 });
        let hash = ApiKeyHash::of(cookie.as_bytes()).bytes();
        {
            let mut open = self.lock();
            make_room(&mut open);
            open.insert(hash, Arc::clone(&session));
        }
        tokio::spawn(Arc::clone(self).end_in_time(hash, Arc::clone(&session)));
        Ok((session, cookie))
    }

    /// Waits until a session ends, for any reason.
    async fn end_in_time(self: Arc<Self>, hash: [u8; 32], session: Arc<Session>) {
        let (mut caller, mut ended) = (session.caller(), session.ended.subscribe());
        let why = tokio::select! {
            () = caller.removed() => "its key was removed or changed",
            () = tokio::time::sleep(SESSION_TIME) => "its time is over",
            _ = ended.wait_for(|ended| *ended) => "it was signed out, or newer ones took its place",
        };
        drop(self.lock().remove(&hash));
        let (id, name) = (&session.key().id, &session.key().name);
        tracing::info!(session = session.id, key = id, name, "a session of the dashboard ends: {why}");
        if let Some(on_end) = self.on_end.get() {
            on_end(&session.id);
        }
    }

    /// Ends a session.
    pub(crate) fn close(&self, session: &Session) {
        self.lock().retain(|_, open| open.id != session.id);
        session.ended.send_replace(true);
    }

    /// Finds the session of a request by its cookie.
    pub(crate) fn of(&self, headers: &HeaderMap) -> Option<Arc<Session>> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
        self.of_cookies(cookies, headers.get(header::HOST).and_then(|host| host.to_str().ok()))
    }

    /// The same, with the values of the headers `Cookie` and `Host`.
    pub(crate) fn of_cookies<'a>(
        &self,
        cookies: impl Iterator<Item = &'a str>,
        host: Option<&str>,
    ) -> Option<Arc<Session>> {
        let wanted = cookie_name(host);
        let pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
        let mut values = pairs.filter(|(name, _)| *name == wanted).map(|(_, value)| value);
        let open = self.lock();
        values.find_map(|value| open.get(&ApiKeyHash::of(value.as_bytes()).bytes()).cloned())
    }

    /// Finds an open session by its id.
    pub(crate) fn by_id(&self, id: &str) -> Option<Arc<Session>> {
        self.lock().values().find(|session| session.id == id).cloned()
    }

    /// No panic can leave the data half changed, so a poisoned lock is used like any other.
    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Arc<Session>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the oldest sessions, until there is room for one more.
fn make_room(open: &mut HashMap<[u8; 32], Arc<Session>>) {
    while open.len() >= SESSIONS_MAX {
        Limit::DashboardSessions.hit();
        let oldest = open.iter().min_by_key(|(_, session)| session.opened).map(|(hash, _)| *hash);
        if let Some(session) = oldest.and_then(|hash| open.remove(&hash)) {
            session.ended.send_replace(true);
        }
    }
}

/// The header `Set-Cookie` with a session, or without one to remove it. The browser says in `Origin` whether it used TLS, which a
/// proxy may have ended.
pub(crate) fn set_cookie(headers: &HeaderMap, value: Option<&str>) -> String {
    let name = cookie_name(headers.get(header::HOST).and_then(|host| host.to_str().ok()));
    let origin = headers.get(header::ORIGIN).map(|origin| origin.as_bytes());
    let secure = if origin.is_some_and(|origin| origin.starts_with(b"https://")) { "; Secure" } else { "" };
    let seconds = if value.is_some() { SESSION_TIME.as_secs() } else { 0 };
    let value = value.unwrap_or_default();
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}")
}

/// The name of the cookie at a host and port.
fn cookie_name(host: Option<&str>) -> String {
    match host.and_then(|host| host.rsplit_once(':')) {
        Some((_, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{COOKIE}_{port}")
        }
        _ => COOKIE.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Secret;
    use crate::protocol::Pattern;

    fn key(secret: &str, scopes: &[Scope], topics: &str) -> ApiKey {
        let topics = vec![Pattern::parse(topics).expect("a pattern")];
        let hash = ApiKeyHash::of(secret.as_bytes());
        ApiKey { name: secret.into(), id: secret.into(), hash, scopes: scopes.to_vec(), topics }
    }

    fn headers(host: &'static str, cookie: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().expect("a header"));
        headers.insert(header::COOKIE, cookie.parse().expect("a header"));
        headers
    }

    async fn until_ended(sessions: &Sessions, id: &str) {
        while sessions.by_id(id).is_some() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_session_is_found_by_the_cookie_of_its_port() {
        let (sessions, access) = (Arc::new(Sessions::default()), Access::new(vec![key("a", &[Scope::Read], "*")]));
        let (session, cookie) = sessions.open(&access, b"a").ok().expect("a session");
        let of = |host, text: String| sessions.of(&headers(host, &text)).map(|found| found.id.clone());
        assert_eq!(of("x:4001", format!("a=b; bennu_session_4001={cookie}")), Some(session.id.clone()));
        assert_eq!(of("x", format!("bennu_session={cookie}")), Some(session.id.clone()));
        for wrong in [format!("bennu_session={cookie}"), "bennu_session_4001=".into(), format!("other={cookie}")] {
            assert_eq!(of("x:4001", wrong.clone()), None, "{wrong}");
        }
        assert!(session.may(Scope::Read) && !session.may(Scope::Operate));
        sessions.close(&session);
        assert_eq!(of("x", format!("bennu_session={cookie}")), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_with_its_time_and_with_its_key() {
        let (sessions, access) = (Arc::new(Sessions::default()), Access::new(vec![key("a", &[Scope::Read], "*")]));
        let ended = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&ended);
        sessions.on_end(move |id| seen.lock().expect("no panic").push(id.to_owned()));
        let (first, _) = sessions.open(&access, b"a").ok().expect("a session");
        tokio::time::sleep(SESSION_TIME + Duration::from_secs(1)).await;
        until_ended(&sessions, &first.id).await;
        let (second, _) = sessions.open(&access, b"a").ok().expect("a session");
        access.replace(vec![key("a", &[Scope::Operate], "*")]);
        until_ended(&sessions, &second.id).await;
        tokio::task::yield_now().await;
        assert_eq!(*ended.lock().expect("no panic"), [first.id.clone(), second.id.clone()]);
    }

    #[tokio::test]
    async fn a_key_needs_a_scope_and_all_topics() {
        let keys = vec![
            key("send", &[Scope::Send], "*"),
            key("room", &[Scope::Read], "room:*"),
            ApiKey::for_everything(&Secret::new(b"all")),
        ];
        let (sessions, access) = (Arc::new(Sessions::default()), Access::new(keys));
        for narrow in ["send", "room"] {
            assert!(matches!(sessions.open(&access, narrow.as_bytes()), Err(SignInError::TooNarrow)), "{narrow}");
        }
        assert!(matches!(sessions.open(&access, b"no"), Err(SignInError::WrongKey)));
        assert!(sessions.open(&access, b"all").is_ok());
    }

    #[tokio::test]
    async fn the_oldest_session_makes_room() {
        let (sessions, access) = (Arc::new(Sessions::default()), Access::new(vec![key("a", &[Scope::Read], "*")]));
        let first = sessions.open(&access, b"a").ok().expect("a session").0;
        for _ in 0..SESSIONS_MAX {
            assert!(sessions.open(&access, b"a").is_ok());
        }
        assert_eq!(sessions.lock().len(), SESSIONS_MAX);
        assert!(sessions.by_id(&first.id).is_none() && *first.ended.borrow());
    }

    #[test]
    fn a_cookie_says_how_it_may_be_used() {
        let mut headers = headers("x:4001", "");
        let text = set_cookie(&headers, Some("v"));
        assert_eq!(text, "bennu_session_4001=v; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200");
        headers.insert(header::ORIGIN, "https://x:4001".parse().expect("a header"));
        assert_eq!(
            set_cookie(&headers, None),
            "bennu_session_4001=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0; Secure"
        );
    }
}
