//! Names whose addresses aren't what they seem.

use bennu_outbound::{Access, FailureKind, Grant, OutboundLimits, Roots};

use crate::server::{Asking, PUBLIC, Server, TestNetwork, ok};

fn close() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_vec()
}

fn asking(answers: &[&[&str]], port: u16) -> Asking {
    let network = TestNetwork::default().name("a.example", answers);
    let grant = format!("http://a.example:{port}/*");
    Asking::within(network, &[&grant], OutboundLimits::default(), Roots::These(Vec::new()))
}

#[tokio::test]
async fn a_name_that_is_public_first_and_loopback_next_never_leads_to_loopback() {
    let server = Server::answering(|_| close()).await;
    let asking = asking(&[&[PUBLIC], &["127.0.0.1"]], server.port);
    let url = format!("http://a.example:{}/", server.port);
    // One lookup for each connection: what was checked is what is connected to.
    asking.get(&url).await.unwrap();
    assert_eq!((asking.network.connected(), *asking.network.lookups.lock().unwrap()), (vec![PUBLIC.to_owned()], 1));
    assert_eq!(asking.failure(&url).await, FailureKind::Unreachable);
    assert_eq!((asking.network.connected().len(), server.connections()), (1, 1));
}

#[tokio::test]
async fn of_several_addresses_only_the_public_ones_are_connected_to() {
    let server = Server::answering(|_| close()).await;
    let asking = asking(&[&["127.0.0.1", "::1", "169.254.169.254", "::ffff:10.0.0.1", PUBLIC]], server.port);
    asking.get(&format!("http://a.example:{}/", server.port)).await.unwrap();
    assert_eq!(asking.network.connected(), [PUBLIC]);
}

#[tokio::test]
async fn a_failure_does_not_name_a_private_address() {
    for address in ["127.0.0.1", "10.1.2.3", "169.254.169.254", "64:ff9b::7f00:1", "fd00::1", "::ffff:192.168.1.1"] {
        let asking = asking(&[&[address]], 80);
        let failure = asking.get("http://a.example:80/").await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unreachable);
        assert!(!failure.detail.contains(address) && failure.detail.contains("private = true"), "{failure}");
        assert!(asking.network.connected().is_empty(), "{address}");
    }
}

#[tokio::test]
async fn a_grant_of_a_private_name_leads_to_private_addresses_but_to_no_special_one() {
    let server = Server::answering(|_| ok(b"")).await;
    let url = format!("http://a.example:{}/", server.port);
    for (address, is_reached) in [("10.0.0.1", true), ("127.0.0.1", true), ("169.254.169.254", false)] {
        let asking = asking(&[&[address]], server.port);
        let grant = Grant::parse(&url, true).unwrap();
        let asking = Asking { access: Access::new("p", vec![grant], Vec::new()), ..asking };
        assert_eq!(asking.get(&url).await.is_ok(), is_reached, "{address}");
    }
}

#[tokio::test]
async fn an_idle_connection_to_a_private_address_is_not_used_by_a_grant_of_public_ones() {
    let server = Server::answering(|_| ok(b"")).await;
    let url = format!("http://a.example:{}/", server.port);
    let private = asking(&[&["10.0.0.1"]], server.port);
    let grant = |is_private| Access::new("p", vec![Grant::parse(&url, is_private).unwrap()], Vec::new());
    let private = Asking { access: grant(true), ..private };
    private.get(&url).await.unwrap();
    let public = Asking { access: grant(false), ..private };
    assert_eq!(public.client.counts().idle_connections, 1);
    assert_eq!(public.failure(&url).await, FailureKind::Unreachable);
}
