//! The server that the tests ask.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use bennu_tests::{Setup, eventually, header, read_request};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// A backend: it answers each request with its number, its path and its body, as soon as the test lets it.
pub(super) struct Backend {
    pub(super) port: u16,
    /// The heads and bodies of the requests.
    requests: Arc<Mutex<Vec<String>>>,
    /// One permit for each answer.
    pub(super) answers: Arc<Semaphore>,
    accepting: JoinHandle<()>,
}

impl Backend {
    /// A backend that answers at once.
    pub(super) async fn open() -> Result<Self> {
        let backend = Self::held().await?;
        backend.answers.add_permits(10_000);
        Ok(backend)
    }

    /// A backend whose answers wait for permits.
    pub(super) async fn held() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let (requests, answers) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(Semaphore::new(0)));
        let (noted, held) = (Arc::clone(&requests), Arc::clone(&answers));
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&noted), Arc::clone(&held)));
            }
        });
        Ok(Self { port, requests, answers, accepting })
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) async fn has_got(&self, count: usize) -> Result<()> {
        let has = async || Ok((self.requests().len() >= count).then_some(()));
        eventually("the backend gets its requests", has).await
    }

    /// A host with `naughty`, which may ask this backend.
    pub(super) fn setup(&self, limits: &str) -> Result<Setup> {
        let config = format!(
            "[limits]\n{limits}\n[plugins.naughty]\nhttp = [\"{}\"]\n\
             [plugins.naughty.http_headers.\"{}\"]\nx-api-key = {{ env = \"TEST_API_KEY\" }}\n",
            self.url("/v1/*"),
            self.url("")
        );
        Ok(Setup::new().guests(&["naughty"])?.config(&config).variable("TEST_API_KEY", SECRET))
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The secret that the host adds to each request.
pub(super) const SECRET: &str = "correct-horse-battery-staple";

async fn serve(mut stream: TcpStream, noted: Arc<Mutex<Vec<String>>>, held: Arc<Semaphore>) -> std::io::Result<()> {
    loop {
        let (head, body) = read_request(&mut stream).await?;
        let number = {
            let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
            noted.push(head.clone() + &String::from_utf8_lossy(&body));
            noted.len()
        };
        if let Ok(permit) = held.acquire().await {
            permit.forget();
        }
        let path = head.split(' ').nth(1).unwrap_or_default();
        let answer = match path {
            "/v1/moved" => {
                "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n".into()
            }
            "/session" => session(&head),
            "/orders/7" => ok(r#"{"status": "paid"}"#),
            _ => ok(&format!("{number} {path}")),
        };
        stream.write_all(answer.as_bytes()).await?;
    }
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn session(head: &str) -> String {
    match header(head, "cookie") {
        Some("sid=ada") => ok(r#"{"user": "ada", "claims": {"role": "admin"}}"#),
        Some("sid=broken") => "HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n\r\n".into(),
        _ => "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n".into(),
    }
}
