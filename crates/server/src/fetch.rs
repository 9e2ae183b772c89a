//! One request over HTTP, or HTTPS with its peer verified.
//!
//! Each opens its own connection: who asks logins' services and old brokers asks rarely, and a service that is
//! restarted is found again at once. Deliberately absent: redirects, which nobody who is asked here answers with.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Longest answer of a service that decides on logins.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Longest document of definitions: some hundreds of thousands of queues.
const DEFINITIONS_BYTES_MAX: usize = 1 << 28;

/// What is asked.
struct Question {
    method: Method,
    /// What is posted.
    body: Bytes,
    /// Headers beside those that every question has.
    headers: HeaderMap,
    answer_bytes_max: usize,
}

/// What forms are sent as.
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

fn headers(content_type: HeaderValue) -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, content_type)])
}

/// Whom HTTPS believes.
#[derive(Debug, Clone)]
pub struct Client {
    tls: Arc<ClientConfig>,
    timeout: Duration,
}

impl Client {
    /// Believes the roots of a file, or the system's.
    ///
    /// # Errors
    /// If the file has no certificates that can be read.
    pub fn new(cacertfile: Option<&Path>, timeout: Duration) -> Result<Client, String> {
        let mut roots = RootCertStore::empty();
        match cacertfile {
            Some(file) => {
                let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
                let certificates =
                    CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))?;
                for certificate in certificates {
                    let certificate = certificate.map_err(|error| wrong(&error))?;
                    roots.add(certificate).map_err(|error| wrong(&error))?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Client {
            tls: Arc::new(tls),
            timeout,
        })
    }

    /// The body of a GET's answer.
    ///
    /// # Errors
    /// If there is no answer in time, or another status than 200.
    pub(crate) async fn get(&self, url: &str) -> Result<Bytes, String> {
        self.ask(Method::GET, url, String::new()).await
    }

    /// The body of the answer to a POSTed form.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(crate) async fn post(&self, url: &str, form: String) -> Result<Bytes, String> {
        self.ask(Method::POST, url, form).await
    }

    /// A broker's definitions, which may be large, from the address of its API. `authorization` is the header.
    ///
    /// # Errors
    /// As [`Client::get`], in words that name the address.
    pub async fn definitions(
        &self,
        url: &str,
        authorization: Option<String>,
    ) -> Result<Bytes, String> {
        let mut headers = headers(FORM);
        if let Some(authorization) = authorization {
            let value = HeaderValue::from_str(&authorization);
            headers.insert(AUTHORIZATION, value.map_err(|error| error.to_string())?);
        }
        let question = Question {
            method: Method::GET,
            body: Bytes::new(),
            headers,
            answer_bytes_max: DEFINITIONS_BYTES_MAX,
        };
        self.ask_in_time(url, question)
            .await
            .and_then(only_200(url))
    }

    /// Posts something that is no form, with headers of the caller's; status and body of the answer.
    ///
    /// # Errors
    /// If there is no answer in time.
    pub(crate) async fn send(
        &self,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), String> {
        let question = Question {
            method: Method::POST,
            body,
            headers,
            answer_bytes_max: ANSWER_BYTES_MAX,
        };
        self.ask_in_time(url, question).await
    }

    async fn ask(&self, method: Method, url: &str, form: String) -> Result<Bytes, String> {
        let question = Question {
            method,
            body: Bytes::from(form),
            headers: headers(FORM),
            answer_bytes_max: ANSWER_BYTES_MAX,
        };
        self.ask_in_time(url, question)
            .await
            .and_then(only_200(url))
    }

    async fn ask_in_time(
        &self,
        url: &str,
        question: Question,
    ) -> Result<(StatusCode, Bytes), String> {
        let place = place(url);
        match timeout(self.timeout, self.ask_at(url, question)).await {
            Ok(answer) => answer.map_err(|error| format!("{place}: {error}")),
            Err(_) => Err(format!(
                "{place}: no answer within {} ms",
                self.timeout.as_millis()
            )),
        }
    }

    async fn ask_at(&self, url: &str, question: Question) -> Result<(StatusCode, Bytes), String> {
        let uri: Uri = url.parse().map_err(|_| "this is no URL".to_owned())?;
        let host = uri
            .host()
            .ok_or("the URL has no host")?
            .trim_matches(['[', ']'])
            .to_owned();
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("the URL is neither http nor https".into()),
        };
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let authority = uri
            .authority()
            .map_or(host.as_str(), |authority| authority.as_str());
        let mut request = Request::builder()
            .method(question.method)
            .uri(path)
            .header(HOST, authority);
        if let Some(all) = request.headers_mut() {
            all.extend(question.headers);
        }
        let request = request
            .body(Full::new(question.body))
            .map_err(|error| error.to_string())?;
        let socket = TcpStream::connect((host.as_str(), port))
            .await
            .map_err(|error| error.to_string())?;
        if !secure {
            return exchange(TokioIo::new(socket), request, question.answer_bytes_max).await;
        }
        let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
        let connecting = TlsConnector::from(Arc::clone(&self.tls)).connect(name, socket);
        exchange(
            TokioIo::new(connecting.await.map_err(|error| error.to_string())?),
            request,
            question.answer_bytes_max,
        )
        .await
    }
}

/// Where a question goes. What is asked may hold a password, and is not told.
fn place(url: &str) -> &str {
    url.split('?').next().unwrap_or_default()
}

fn only_200(url: &str) -> impl FnOnce((StatusCode, Bytes)) -> Result<Bytes, String> {
    move |(status, body)| match status {
        StatusCode::OK => Ok(body),
        status => Err(format!("{}: the answer is {status}", place(url))),
    }
}

async fn exchange<S>(
    socket: S,
    request: Request<Full<Bytes>>,
    answer_bytes_max: usize,
) -> Result<(StatusCode, Bytes), String>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    let opened = hyper::client::conn::http1::handshake(socket).await;
    let (mut sender, connection) = opened.map_err(|error| error.to_string())?;
    let asking = async {
        let answer = sender
            .send_request(request)
            .await
            .map_err(|error| error.to_string())?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), answer_bytes_max);
        let body = body.collect().await.map_err(|error| error.to_string())?;
        Ok((status, body.to_bytes()))
    };
    let (mut asking, mut connection) = (std::pin::pin!(asking), std::pin::pin!(connection));
    tokio::select! {
        answer = &mut asking => answer,
        ended = &mut connection => match ended {
            // The connection may end before its answer is looked at.
            Ok(()) => asking.await,
            Err(error) => Err(error.to_string()),
        },
    }
}
