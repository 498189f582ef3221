//! Requests as servers get them, and answers as callers get them.

use std::io::Write as _;

use bennu_outbound::{Access, FailureKind, Grant, OutboundLimits, SecretHeaders};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::server::{Asking, Server, header, ok};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn with_encoding(encoding: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: {encoding}\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn a_request_arrives_as_it_was_asked_for_and_its_answer_comes_back() {
    let server =
        Server::answering(|_| b"HTTP/1.1 418 x\r\nX-Color: Blue\r\ncontent-length: 2\r\n\r\nhi".to_vec()).await;
    let asking = Asking::new(&[&format!("http://a.example:{}/*", server.port)], OutboundLimits::default());
    let url = format!("http://a.example:{}/v1/users?id=1", server.port);
    let answer = asking.send("POST", &url, &[("X-One", "1"), ("x-one", "2")], "body").await.unwrap();
    assert_eq!((answer.status, &*answer.body), (418, &b"hi"[..]));
    assert!(answer.headers.contains(&("x-color".to_owned(), "Blue".to_owned())), "{answer:?}");
    let heads = server.heads();
    let head = &heads[0];
    assert!(head.starts_with("POST /v1/users?id=1 HTTP/1.1\r\n") && head.ends_with("\r\n\r\nbody"), "{head}");
    assert!(head.contains("x-one: 1\r\n") && head.contains("x-one: 2\r\n"), "{head}");
    assert_eq!(header(head, "host"), Some(format!("a.example:{}", server.port).as_str()));
    assert_eq!((header(head, "accept-encoding"), header(head, "content-length")), (Some("gzip"), Some("4")));
    let counts = asking.client.counts();
    assert_eq!((counts.answered, counts.sent_bytes, counts.received_bytes, counts.under_way), (1, 4, 2, 0));
}

#[tokio::test]
async fn a_compressed_answer_is_decoded() {
    let server = Server::answering(|_| with_encoding("gzip", &gzip(b"hello"))).await;
    let asking = Asking::new(&[&format!("http://a.example:{}/*", server.port)], OutboundLimits::default());
    let answer = asking.get(&format!("http://a.example:{}/", server.port)).await.unwrap();
    assert_eq!((&*answer.body, answer.headers.len()), (&b"hello"[..], 0));
}

#[tokio::test]
async fn an_answer_that_cannot_be_decoded_is_broken() {
    let whole = gzip(&vec![b'x'; 10_000]);
    let half = whole[..whole.len() / 2].to_vec();
    for answer in [with_encoding("gzip", b"no gzip"), with_encoding("gzip", &half), with_encoding("br", b"x")] {
        let server = Server::answering(move |_| answer.clone()).await;
        let asking = Asking::new(&[&format!("http://a.example:{}/*", server.port)], OutboundLimits::default());
        assert_eq!(asking.failure(&format!("http://a.example:{}/", server.port)).await, FailureKind::Broken);
    }
}

#[tokio::test]
async fn an_answer_to_head_has_no_body() {
    let server = Server::answering(|_| b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n".to_vec()).await;
    let asking = Asking::new(&[&format!("http://a.example:{}/*", server.port)], OutboundLimits::default());
    let url = format!("http://a.example:{}/", server.port);
    let answer = asking.send("HEAD", &url, &[], "").await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, 0));
}

#[tokio::test]
async fn a_secret_is_sent_to_its_origin_and_to_no_other() {
    let server = Server::answering(|_| ok(b"")).await;
    let origin = format!("http://a.example:{}", server.port);
    let asking = Asking::new(&[], OutboundLimits::default());
    let secret = SecretHeaders::new(&origin, [("authorization", "Bearer secret")]).unwrap();
    let grant = |host: &str| Grant::parse(&format!("http://{host}:{}/*", server.port), false).unwrap();
    let access = Access::new("p", vec![grant("a.example"), grant("b.example")], vec![secret]);
    let asking = Asking { access, ..asking };
    asking.get(&format!("{origin}/")).await.unwrap();
    asking.get(&format!("http://b.example:{}/", server.port)).await.unwrap();
    let heads = server.heads();
    assert_eq!(header(&heads[0], "authorization"), Some("Bearer secret"));
    assert_eq!(header(&heads[1], "authorization"), None);
}
