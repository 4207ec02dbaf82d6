//! TLS for SMPP connections: verification against the public roots and, for the many carriers with an own
//! authority, extra ones. Verification cannot be turned off; a self-signed certificate is given as an extra
//! root instead.

use std::fmt;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::Error;

/// A certificate chain and its key. `Debug` hides both.
#[derive(Clone)]
pub struct Identity {
    /// The chain in PEM, own certificate first.
    pub chain_pem: Vec<u8>,
    /// The private key in PEM.
    pub key_pem: Vec<u8>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(•••)")
    }
}

/// How a client verifies the carrier, and shows itself.
#[derive(Debug, Clone)]
pub struct ClientTls {
    /// The name the certificate must have, when it isn't the host connected to.
    pub server_name: Option<String>,
    /// Trust the public certificate authorities (the default).
    pub public_roots: bool,
    /// Further authorities or self-signed certificates to trust, each text holding any number, in PEM.
    pub extra_roots_pem: Vec<Vec<u8>>,
    /// What to show a carrier that wants a client certificate.
    pub identity: Option<Identity>,
}

impl Default for ClientTls {
    fn default() -> Self {
        Self { server_name: None, public_roots: true, extra_roots_pem: Vec::new(), identity: None }
    }
}

impl ClientTls {
    pub(crate) fn connector(&self, host: &str) -> Result<(TlsConnector, ServerName<'static>), Error> {
        let mut roots = RootCertStore::empty();
        if self.public_roots {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        for pem in &self.extra_roots_pem {
            for certificate in chain(pem)? {
                roots.add(certificate).map_err(|error| Error::Settings(error.to_string()))?;
            }
        }
        let builder = ClientConfig::builder_with_provider(crypto())
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Settings(error.to_string()))?
            .with_root_certificates(roots);
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder
                .with_client_auth_cert(chain(&identity.chain_pem)?, key(&identity.key_pem)?)
                .map_err(|error| Error::Settings(error.to_string()))?,
        };
        let name = self.server_name.as_deref().unwrap_or(host);
        let name =
            ServerName::try_from(name.to_owned()).map_err(|error| Error::Settings(error.to_string()))?;
        Ok((TlsConnector::from(Arc::new(config)), name))
    }
}

impl Identity {
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, Error> {
        let config = ServerConfig::builder_with_provider(crypto())
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Settings(error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain(&self.chain_pem)?, key(&self.key_pem)?)
            .map_err(|error| Error::Settings(error.to_string()))?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// Named rather than taken from the process, which may have been built with several.
fn crypto() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| Error::Settings(error.to_string()))?;
    if chain.is_empty() { Err(Error::Settings("no certificate in the PEM".into())) } else { Ok(chain) }
}

fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, Error> {
    // The error's text is ours: a parser's might quote the key.
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| Error::Settings("no private key in the PEM".into()))
}
