//! Owns whom a client believes over TLS and who it says it is. Invariant: a server whose
//! certificate cannot be checked is refused, unless the user has asked for that by name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::tls::ALPN;

/// Where distributions keep the authorities that everybody believes.
const SYSTEM_BUNDLES: [&str; 2] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

#[derive(Args, Clone, Debug, Default)]
pub struct TrustFlags {
    /// Believe servers whose certificates these authorities signed (PEM); otherwise the system's
    #[arg(long, global = true, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Show this certificate to servers (PEM)
    #[arg(long = "cert", global = true, value_name = "FILE", requires = "key_file")]
    cert_file: Option<PathBuf>,
    /// The key of --cert (PEM)
    #[arg(long = "key", global = true, value_name = "FILE", requires = "cert_file")]
    key_file: Option<PathBuf>,
    /// Believe any server: for tests alone
    #[arg(long, global = true)]
    insecure_skip_tls_verify: bool,
}

impl TrustFlags {
    /// Whether the user speaks of TLS at all: endpoints without a scheme are meant so then.
    pub fn is_given(&self) -> bool {
        self.cacert.is_some() || self.cert_file.is_some() || self.insecure_skip_tls_verify
    }

    /// What connections begin with.
    pub fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match self.insecure_skip_tls_verify {
            true => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody { provider }))
            }
            false => builder.with_root_certificates(self.authorities()?),
        };
        let config = match (&self.cert_file, &self.key_file) {
            (Some(cert), Some(key)) => {
                let key = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| format!("--key {}: {error}", key.display()))?;
                builder
                    .with_client_auth_cert(certificates(cert)?, key)
                    .map_err(|error| format!("--cert {}: {error}", cert.display()))
            }
            (Some(_), None) | (None, Some(_)) => Err("--cert and --key go together".to_string()),
            (None, None) => Ok(builder.with_no_client_auth()),
        };
        let mut config = config?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Arc::new(config))
    }

    fn authorities(&self) -> Result<RootCertStore, String> {
        let bundle = match &self.cacert {
            Some(path) => path.as_path(),
            None => SYSTEM_BUNDLES
                .iter()
                .map(Path::new)
                .find(|path| path.is_file())
                .ok_or("the system has no list of authorities: name yours with --cacert")?,
        };
        let mut store = RootCertStore::empty();
        let (good, _) = store.add_parsable_certificates(certificates(bundle)?);
        match good {
            0 => Err(format!("{} holds no certificate of an authority", bundle.display())),
            _ => Ok(store),
        }
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let told = |error| format!("{}: {error}", path.display());
    let read = CertificateDer::pem_file_iter(path).map_err(told)?;
    let all = read.collect::<Result<Vec<_>, _>>().map_err(told)?;
    match all.is_empty() {
        true => Err(format!("{} holds no certificate", path.display())),
        false => Ok(all),
    }
}

/// Believes that every server is who it says, but still that it has the key of its certificate.
#[derive(Debug)]
struct Anybody {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
