//! Redirects: each one is checked like the first URL.

use bennu_outbound::{Access, FailureKind, Grant, OutboundLimits, REDIRECTS_MAX, SecretHeaders};

use crate::server::{Asking, Server, header, ok};

fn to(location: &str) -> Vec<u8> {
    format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn a_redirect_within_the_grants_is_followed() {
    let server = Server::answering(|head| match head.starts_with("GET /a ") {
        true => to("/b?x=1"),
        false => ok(b"there"),
    })
    .await;
    let asking = Asking::new(&[&format!("http://a.example:{}/*", server.port)], OutboundLimits::default());
    let answer = asking.get(&format!("http://a.example:{}/a", server.port)).await.unwrap();
    assert_eq!(&*answer.body, b"there");
    assert!(server.heads()[1].starts_with("GET /b?x=1 "));
}

#[tokio::test]
async fn a_redirect_to_where_no_grant_leads_is_not_followed() {
    let locations = [
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1/",
        "http://[::ffff:169.254.169.254]/",
        "https://a.example/v1/x",
        "/v2",
        "/v1/..;/admin",
        "//b.example/v1/",
        "file:///etc/passwd",
        "http://user@a.example/v1/",
        "gopher://a.example/",
    ];
    for location in locations {
        let server = Server::answering(|_| to(location)).await;
        let asking = Asking::new(&[&format!("http://a.example:{}/v1/*", server.port)], OutboundLimits::default());
        let kind = asking.failure(&format!("http://a.example:{}/v1/x", server.port)).await;
        assert_eq!((kind, server.connections()), (FailureKind::Redirect, 1), "{location}");
        assert_eq!(asking.network.connected().len(), 1, "{location}");
    }
}

#[tokio::test]
async fn redirects_without_end_are_not_followed() {
    let server = Server::answering(|_| to("/again")).await;
    let asking = Asking::new(&[&format!("http://a.example:{}/*", server.port)], OutboundLimits::default());
    let kind = asking.failure(&format!("http://a.example:{}/", server.port)).await;
    assert_eq!((kind, server.heads().len()), (FailureKind::Redirect, REDIRECTS_MAX + 1));
}

#[tokio::test]
async fn a_post_follows_no_redirect() {
    let server = Server::answering(|_| to("/b")).await;
    let asking = Asking::new(&[&format!("http://a.example:{}/*", server.port)], OutboundLimits::default());
    let url = format!("http://a.example:{}/a", server.port);
    let answer = asking.send("POST", &url, &[], "x").await.unwrap();
    assert_eq!((answer.status, server.heads().len()), (302, 1));
}

#[tokio::test]
async fn neither_secrets_nor_credentials_go_to_another_origin() {
    let other = Server::answering(|_| ok(b"")).await;
    let port = other.port;
    let server = Server::answering(move |head| match head.starts_with("GET /a ") {
        true => to("/b"),
        false => to(&format!("http://b.example:{port}/c")),
    })
    .await;
    let origin = format!("http://a.example:{}", server.port);
    let secret = SecretHeaders::new(&origin, [("x-key", "secret")]).unwrap();
    let grant = |text: String| Grant::parse(&text, false).unwrap();
    let grants = vec![grant(format!("{origin}/*")), grant(format!("http://b.example:{port}/*"))];
    let asking = Asking::new(&[], OutboundLimits::default());
    let asking = Asking { access: Access::new("p", grants, vec![secret]), ..asking };
    let headers = [("authorization", "Basic mine"), ("cookie", "a=b"), ("accept", "text/plain")];
    asking.send("GET", &format!("{origin}/a"), &headers, "").await.unwrap();
    for head in server.heads() {
        assert_eq!((header(&head, "x-key"), header(&head, "cookie")), (Some("secret"), Some("a=b")), "{head}");
    }
    let head = &other.heads()[0];
    let names = ["x-key", "authorization", "cookie", "accept"];
    assert_eq!(names.map(|name| header(head, name)), [None, None, None, Some("text/plain")], "{head}");
}
