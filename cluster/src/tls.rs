//! Whose certificates are trusted, for connections to the engines.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Makes the TLS part of connections to a server, whose certificate is checked with its name. The authorities that are trusted are those
/// in a file, in PEM, or those of the operating system.
///
/// # Errors
/// If the file can't be read, or no authority is known.
pub fn client_tls(roots: Option<&Path>) -> io::Result<Arc<ClientConfig>> {
    let certificates: Vec<CertificateDer<'static>> = match roots {
        Some(path) => {
            let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
            read.map_err(|error| io::Error::other(format!("the certificates in {}: {error}", path.display())))?
        }
        None => rustls_native_certs::load_native_certs().certs,
    };
    let mut store = RootCertStore::empty();
    if store.add_parsable_certificates(certificates).0 == 0 {
        return Err(io::Error::other(
            "no certificate authority is known: install the package `ca-certificates`, or name a file with certificates \
             (`sslrootcert` for PostgreSQL, `tls_roots` for NATS)",
        ));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder.map_err(io::Error::other)?.with_root_certificates(store).with_no_client_auth();
    Ok(Arc::new(config))
}
