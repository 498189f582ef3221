//! TLS with an authority that the test makes.

use std::sync::Arc;

use bennu_outbound::{FailureKind, OutboundLimits, Roots};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::server::{Asking, PUBLIC, Server, TestNetwork, never, ok, read_head, short};

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn acceptor(authority: &Issuer, name: &str, is_expired: bool) -> TlsAcceptor {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if is_expired {
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    }
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn server(acceptor: TlsAcceptor) -> Server {
    let serve = move |stream: TcpStream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await?;
            loop {
                read_head(&mut stream).await?;
                stream.write_all(&ok(b"secure")).await?;
            }
        }
    };
    Server::new(serve).await
}

/// Asks `a.example`, trusting one authority.
async fn ask(server: &Server, trusted: CertificateDer<'static>) -> Result<Vec<u8>, (FailureKind, String)> {
    let network = TestNetwork::default().name("a.example", &[&[PUBLIC]]);
    let grant = format!("https://a.example:{}/*", server.port);
    let asking = Asking::within(network, &[&grant], OutboundLimits::default(), Roots::These(vec![trusted]));
    let answer = asking.get(&format!("https://a.example:{}/", server.port)).await;
    answer.map(|answer| answer.body.to_vec()).map_err(|failure| (failure.kind, failure.detail))
}

#[tokio::test]
async fn a_certificate_of_a_trusted_authority_for_this_name_is_accepted() {
    let authority = authority();
    let server = server(acceptor(&authority, "a.example", false)).await;
    assert_eq!(ask(&server, authority.der().clone()).await.unwrap(), b"secure");
}

#[tokio::test]
async fn any_other_certificate_is_refused() {
    let (trusted, unknown) = (authority(), authority());
    let cases = [(&unknown, "a.example", false), (&trusted, "b.example", false), (&trusted, "a.example", true)];
    for (authority, name, is_expired) in cases {
        let server = server(acceptor(authority, name, is_expired)).await;
        let (kind, detail) = ask(&server, trusted.der().clone()).await.unwrap_err();
        assert_eq!(kind, FailureKind::Unreachable, "{detail}");
        assert!(detail.contains("certificate"), "{detail}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_unreachable_over_https() {
    let server = Server::new(|mut stream: TcpStream| async move {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await?;
        never(stream).await
    })
    .await;
    let (kind, _) = ask(&server, authority().der().clone()).await.unwrap_err();
    assert_eq!(kind, FailureKind::Unreachable);
}

#[tokio::test]
async fn a_server_that_never_finishes_the_handshake_is_a_timeout() {
    let server = Server::new(never).await;
    let network = TestNetwork::default().name("a.example", &[&[PUBLIC]]);
    let grant = format!("https://a.example:{}/*", server.port);
    let roots = Roots::These(vec![authority().der().clone()]);
    let asking = Asking::within(network, &[&grant], short(), roots);
    assert_eq!(asking.failure(&format!("https://a.example:{}/", server.port)).await, FailureKind::Timeout);
}
