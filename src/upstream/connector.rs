//! Connections to a service, with a deadline for name lookup, TCP and TLS together.

use super::settings::{InvalidSettings, UpstreamSettings};
use crate::deadline;
use hyper::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

#[cfg(not(feature = "tls"))]
type Transport = HttpConnector;
#[cfg(feature = "tls")]
type Transport = hyper_rustls::HttpsConnector<HttpConnector>;

/// Connects within [`Deadlines::connect`](super::Deadlines::connect).
#[derive(Clone)]
pub(super) struct Connector {
    transport: Transport,
    within: Duration,
}

/// Connection to a service: TCP, or TLS over it.
pub(crate) type Connection = <Transport as tower_service::Service<Uri>>::Response;

/// Opens a connection to the host of this URL, which is that of the `role`: `http://`, or with the feature
/// `tls` also `https://`.
pub(crate) async fn connect(role: &'static str, uri: Uri) -> io::Result<Connection> {
    let settings = UpstreamSettings::new(role, uri.to_string());
    let mut connector = Connector::new(&settings).map_err(|error| io::Error::other(error.0))?;
    tower_service::Service::call(&mut connector, uri).await.map_err(|error| {
        // The cause says more than the error around it.
        let mut cause: Option<&(dyn Error + 'static)> = Some(&*error);
        while let Some(found) = cause {
            if let Some(found) = found.downcast_ref::<io::Error>() {
                return io::Error::new(found.kind(), found.to_string());
            }
            cause = found.source();
        }
        io::Error::other(error)
    })
}

impl Connector {
    /// # Errors
    /// The system trusts no certificate, and the URL is https.
    pub(super) fn new(settings: &UpstreamSettings) -> Result<Connector, InvalidSettings> {
        let transport = transport(settings).map_err(InvalidSettings)?;
        Ok(Connector { transport, within: settings.deadlines.connect })
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = <Transport as tower_service::Service<Uri>>::Response;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.transport.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = deadline::within(self.within, self.transport.call(uri));
        // The error type differs with and without TLS, so that one of the two needs the conversion.
        #[allow(clippy::needless_question_mark)]
        Box::pin(async {
            let late = |_| io::Error::from(io::ErrorKind::TimedOut);
            Ok(connecting.await.map_err(late)??)
        })
    }
}

fn http() -> HttpConnector {
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http
}

#[cfg(not(feature = "tls"))]
fn transport(_: &UpstreamSettings) -> Result<Transport, String> {
    Ok(http())
}

/// Trusts the certificates that the system trusts, or those in `SSL_CERT_FILE` and `SSL_CERT_DIR`.
#[cfg(feature = "tls")]
fn transport(settings: &UpstreamSettings) -> Result<Transport, String> {
    let mut http = http();
    http.enforce_http(false);
    let provider = tokio_rustls::rustls::crypto::ring::default_provider();
    let builder = hyper_rustls::HttpsConnectorBuilder::new();
    if settings.base_url.starts_with("http://") {
        // Needs no trusted certificates; a small container has none.
        let none = tokio_rustls::rustls::RootCertStore::empty();
        let config = tokio_rustls::rustls::ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(none)
            .with_no_client_auth();
        return Ok(builder.with_tls_config(config).https_or_http().enable_http1().wrap_connector(http));
    }
    let builder = builder.with_provider_and_native_roots(provider).map_err(|error| {
        format!(
            "the URL of the {} is https, and this system has no trusted certificates ({error}); install them \
             (ca-certificates), or name a file of them in SSL_CERT_FILE",
            settings.role
        )
    })?;
    Ok(builder.https_only().enable_http1().wrap_connector(http))
}
