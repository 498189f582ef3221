//! A server made of a function, and a network in which names have any address.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bennu_outbound::{
    Access, Answer, Checked, Client, Failure, FailureKind, Grant, Network, OutboundLimits, Request, Roots,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A public address. Nothing is sent to it: the network of the test connects to the test's server instead.
pub(crate) const PUBLIC: &str = "93.184.215.14";

/// A server on a port of this machine. It ends when it is dropped.
pub(crate) struct Server {
    pub(crate) port: u16,
    /// The heads of the requests so far.
    pub(crate) heads: Arc<Mutex<Vec<String>>>,
    /// The number of connections so far.
    pub(crate) connections: Arc<Mutex<usize>>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Serves each connection with a function.
    pub(crate) async fn new<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (heads, connections) = (Arc::default(), Arc::new(Mutex::new(0)));
        let count = Arc::clone(&connections);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *count.lock().unwrap() += 1;
                tokio::spawn(serve(stream));
            }
        });
        Self { port, heads, connections, accepting }
    }

    /// Answers each request with the bytes that a function makes of its head.
    pub(crate) async fn answering(answer: impl Fn(&str) -> Vec<u8> + Clone + Send + Sync + 'static) -> Self {
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&heads);
        let serve = move |mut stream: TcpStream| {
            let (noted, answer) = (Arc::clone(&noted), answer.clone());
            async move {
                loop {
                    let head = read_head(&mut stream).await?;
                    let length = header(&head, "content-length").and_then(|length| length.parse().ok());
                    let mut body = vec![0; length.unwrap_or(0)];
                    stream.read_exact(&mut body).await?;
                    noted.lock().unwrap().push(format!("{head}{}", String::from_utf8_lossy(&body)));
                    stream.write_all(&answer(&head)).await?;
                }
            }
        };
        let mut server = Self::new(serve).await;
        server.heads = heads;
        server
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Reads up to the empty line after the headers.
pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8(head).unwrap())
}

/// Holds a connection open, and never answers.
pub(crate) async fn never(stream: TcpStream) -> io::Result<()> {
    let _open = stream;
    std::future::pending().await
}

pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// An answer with a body.
pub(crate) fn ok(body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    answer
}

/// A network in which each name has addresses, and each address that isn't loopback is a server of the test.
#[derive(Default)]
pub(crate) struct TestNetwork {
    /// The answers to the lookups of each name. The last one stays.
    names: Mutex<HashMap<String, VecDeque<Vec<IpAddr>>>>,
    /// The addresses that were connected to.
    pub(crate) connected: Mutex<Vec<SocketAddr>>,
    /// The number of lookups.
    pub(crate) lookups: Mutex<usize>,
}

impl TestNetwork {
    pub(crate) fn name(self, name: &str, answers: &[&[&str]]) -> Self {
        let parse = |addresses: &&[&str]| addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.names.lock().unwrap().insert(name.to_owned(), answers.iter().map(parse).collect());
        self
    }

    pub(crate) fn connected(&self) -> Vec<String> {
        self.connected.lock().unwrap().iter().map(|address| address.ip().to_string()).collect()
    }
}

impl Network for TestNetwork {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        *self.lookups.lock().unwrap() += 1;
        let mut names = self.names.lock().unwrap();
        let answer = names.get_mut(name).map(|answers| match answers.len() {
            1 => answers[0].clone(),
            _ => answers.pop_front().unwrap(),
        });
        Box::pin(async move { answer.ok_or_else(|| io::Error::other("no such name")) })
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        self.connected.lock().unwrap().push(address);
        Box::pin(TcpStream::connect(("127.0.0.1", address.port())))
    }
}

/// A client and what its plugin may do.
pub(crate) struct Asking {
    pub(crate) client: Client,
    pub(crate) access: Access,
    pub(crate) network: Arc<TestNetwork>,
}

impl Asking {
    /// A client with a network in which `a.example` and `b.example` are public.
    pub(crate) fn new(grants: &[&str], limits: OutboundLimits) -> Self {
        let network = TestNetwork::default().name("a.example", &[&[PUBLIC]]).name("b.example", &[&["93.184.215.15"]]);
        Self::within(network, grants, limits, Roots::These(Vec::new()))
    }

    pub(crate) fn within(network: TestNetwork, grants: &[&str], limits: OutboundLimits, roots: Roots) -> Self {
        let grants = grants.iter().map(|grant| Grant::parse(grant, false).unwrap()).collect();
        let network = Arc::new(network);
        let access = Access::new("p", grants, Vec::new());
        Self { client: Client::new(limits, Arc::clone(&network) as _, roots), access, network }
    }

    pub(crate) async fn get(&self, url: &str) -> Result<Answer, Failure> {
        self.send("GET", url, &[], "").await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &'static str,
    ) -> Result<Answer, Failure> {
        self.client.send(&self.access, &self.checked(method, url, headers, body)).await
    }

    /// A request that may be sent.
    pub(crate) fn checked(&self, method: &str, url: &str, headers: &[(&str, &str)], body: &'static str) -> Checked {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let body = Bytes::from_static(body.as_bytes());
        let request = Request { method: method.into(), url: url.into(), headers, body, timeout: None };
        self.access.check(&request, self.client.limits()).unwrap()
    }

    pub(crate) async fn failure(&self, url: &str) -> FailureKind {
        self.get(url).await.unwrap_err().kind
    }
}

/// Limits with which a test of a time that is over takes no long.
pub(crate) fn short() -> OutboundLimits {
    OutboundLimits { whole: Duration::from_millis(300), ..OutboundLimits::default() }
}
