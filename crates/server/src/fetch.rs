//! One request over HTTP, or HTTPS with its peer verified.
//!
//! Each opens its own connection: who asks logins' services and old brokers asks rarely, and a service that is
//! restarted is found again at once. Deliberately absent: redirects, which nobody who is asked here answers with.

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::tls::ClientTlsOptions;

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

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FetchError {
    /// Not in time.
    Timeout(Duration),
    /// Nobody is there.
    Connect {
        host: String,
        port: u16,
        /// The system's short name for the reason, as C programs write it.
        errno: &'static str,
        why: String,
    },
    /// The connection ended before the answer did.
    Closed,
    /// Something else.
    Other(String),
}

impl fmt::Display for FetchError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchError::Timeout(after) => write!(out, "no answer within {} ms", after.as_millis()),
            FetchError::Connect { why, .. } | FetchError::Other(why) => out.write_str(why),
            FetchError::Closed => out.write_str("the connection was closed before the answer"),
        }
    }
}

impl From<&str> for FetchError {
    fn from(why: &str) -> Self {
        FetchError::Other(why.to_owned())
    }
}

fn other(error: impl fmt::Display) -> FetchError {
    FetchError::Other(error.to_string())
}

/// Whom HTTPS believes, and for how long one waits.
#[derive(Debug, Clone)]
pub struct Client {
    tls: Arc<ClientConfig>,
    server_name: Option<String>,
    connect_timeout: Duration,
    timeout: Duration,
}

impl Client {
    /// Believes the roots of a file, or the system's.
    ///
    /// # Errors
    /// If the file has no certificates that can be read.
    pub fn new(cacertfile: Option<&Path>, timeout: Duration) -> Result<Client, String> {
        let tls = ClientTlsOptions {
            cacertfile: cacertfile.map(Path::to_owned),
            ..ClientTlsOptions::default()
        };
        Client::with(&tls, timeout, timeout)
    }

    /// With all that can be told. `timeout` is for a question and its answer, connecting included.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub(crate) fn with(
        tls: &ClientTlsOptions,
        connect_timeout: Duration,
        timeout: Duration,
    ) -> Result<Client, String> {
        Ok(Client {
            tls: tls.load().map_err(|error| error.to_string())?,
            server_name: tls.server_name.clone(),
            connect_timeout,
            timeout,
        })
    }

    /// The body of a GET's answer.
    ///
    /// # Errors
    /// If there is no answer in time, or another status than 200.
    pub(crate) async fn get(&self, url: &str) -> Result<Bytes, String> {
        let question = Question {
            method: Method::GET,
            body: Bytes::new(),
            headers: headers(FORM),
            answer_bytes_max: ANSWER_BYTES_MAX,
        };
        self.ask_in_time(url, question)
            .await
            .and_then(only_200(url))
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

    /// Status and body of the answer to a form. A GET has it in its URL.
    pub(crate) async fn fetch(
        &self,
        method: Method,
        url: &str,
        form: String,
    ) -> Result<(StatusCode, Bytes), FetchError> {
        let question = Question {
            method,
            body: Bytes::from(form),
            headers: headers(FORM),
            answer_bytes_max: ANSWER_BYTES_MAX,
        };
        self.ask_for_a_while(url, question).await
    }

    async fn ask_in_time(
        &self,
        url: &str,
        question: Question,
    ) -> Result<(StatusCode, Bytes), String> {
        let answer = self.ask_for_a_while(url, question).await;
        answer.map_err(|error| format!("{}: {error}", place(url)))
    }

    async fn ask_for_a_while(
        &self,
        url: &str,
        question: Question,
    ) -> Result<(StatusCode, Bytes), FetchError> {
        let asking = timeout(self.timeout, self.ask_at(url, question));
        asking
            .await
            .unwrap_or(Err(FetchError::Timeout(self.timeout)))
    }

    async fn ask_at(
        &self,
        url: &str,
        question: Question,
    ) -> Result<(StatusCode, Bytes), FetchError> {
        let uri: Uri = url.parse().map_err(|_| "this is no URL")?;
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
        let request = request.body(Full::new(question.body)).map_err(other)?;
        let socket = self.connect(&host, port).await?;
        if !secure {
            return exchange(TokioIo::new(socket), request, question.answer_bytes_max).await;
        }
        let name = self.server_name.as_ref().unwrap_or(&host).clone();
        let name = ServerName::try_from(name).map_err(other)?;
        let connecting = TlsConnector::from(Arc::clone(&self.tls)).connect(name, socket);
        exchange(
            TokioIo::new(connecting.await.map_err(other)?),
            request,
            question.answer_bytes_max,
        )
        .await
    }

    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, FetchError> {
        let failed = |errno, why| FetchError::Connect {
            host: host.to_owned(),
            port,
            errno,
            why,
        };
        match timeout(self.connect_timeout, TcpStream::connect((host, port))).await {
            Ok(Ok(socket)) => Ok(socket),
            Ok(Err(error)) => Err(failed(errno(error.kind()), error.to_string())),
            Err(_) => {
                let after = self.connect_timeout.as_millis();
                Err(failed(
                    "timeout",
                    format!("no connection within {after} ms"),
                ))
            }
        }
    }
}

/// The system's short name for why there is no connection. Names that cannot be found have no kind of their own.
fn errno(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ConnectionRefused => "econnrefused",
        ErrorKind::ConnectionReset => "econnreset",
        ErrorKind::HostUnreachable => "ehostunreach",
        ErrorKind::NetworkUnreachable => "enetunreach",
        ErrorKind::TimedOut => "etimedout",
        ErrorKind::PermissionDenied => "eacces",
        _ => "nxdomain",
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
) -> Result<(StatusCode, Bytes), FetchError>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    let opened = hyper::client::conn::http1::handshake(socket).await;
    let (mut sender, connection) = opened.map_err(other)?;
    let asking = async {
        let answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), answer_bytes_max);
        let body = body.collect().await.map_err(other)?;
        Ok((status, body.to_bytes()))
    };
    let (mut asking, mut connection) = (std::pin::pin!(asking), std::pin::pin!(connection));
    tokio::select! {
        answer = &mut asking => answer,
        ended = &mut connection => match ended {
            // The connection may end before its answer is looked at.
            Ok(()) => asking.await,
            Err(error) => Err(broken(error)),
        },
    }
}

fn broken(error: hyper::Error) -> FetchError {
    match error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        true => FetchError::Closed,
        false => other(error),
    }
}
