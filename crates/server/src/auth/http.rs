//! The HTTP backend: a service of the operator's says whether a name and a password belong together, and what their
//! owner may do.
//!
//! ```text
//! user_path       username=..&password=..                                   ►  allow administrator  │  deny
//! vhost_path      username=..&vhost=..&ip=..&tags=..                        ►  allow  │  deny
//! resource_path   username=..&vhost=..&resource=queue&name=..&permission=read&tags=..
//! topic_path      username=..&vhost=..&resource=topic&name=..&permission=write&tags=..&routing_key=..
//!                 &variable_map.username=..&variable_map.vhost=..
//! ```
//! Questions and answers are those of RabbitMQ's rabbitmq_auth_backend_http. What the service does wrong is a no, in
//! the words that RabbitMQ has for it. So many questions are on their way at once; others wait, within their time.

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use metadata::erlang::string_term;
use node::identities::{Authorizer, Denial, LoginRequest, Question, Verdict, VerdictFuture};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::AuthError;
use crate::fetch::{Client, FetchError};
use crate::tls::ClientTlsOptions;

/// Questions that are on their way at once.
const QUESTIONS_MAX: usize = 128;

/// What RabbitMQ calls this backend.
const NAME: &str = "rabbit_auth_backend_http";

/// `auth_http.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpOptions {
    /// Whether the question is POSTed; otherwise it is a query.
    pub post: bool,
    /// Where to ask who somebody is.
    pub user_path: String,
    /// Where to ask whether they may enter a vhost.
    pub vhost_path: String,
    /// Where to ask for rights on queues and exchanges.
    pub resource_path: String,
    /// Where to ask for rights on routing keys.
    pub topic_path: String,
    /// How long an answer may take, in milliseconds.
    pub timeout_ms: u64,
    /// How long connecting may take, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Whether a client is told why the service denies something.
    pub discloses: bool,
    /// For HTTPS.
    pub tls: ClientTlsOptions,
}

impl Default for HttpOptions {
    fn default() -> Self {
        HttpOptions {
            post: false,
            user_path: "http://localhost:8000/auth/user".into(),
            vhost_path: "http://localhost:8000/auth/vhost".into(),
            resource_path: "http://localhost:8000/auth/resource".into(),
            topic_path: "http://localhost:8000/auth/topic".into(),
            timeout_ms: 15_000,
            connect_timeout_ms: 15_000,
            discloses: false,
            tls: ClientTlsOptions::default(),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Http {
    options: HttpOptions,
    client: Client,
    places: Semaphore,
    timeout: Duration,
}

/// What the service says.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// Yes, and the tags of the user.
    Allow(Vec<String>),
    /// No, and perhaps why.
    Deny(Option<String>),
}

impl Http {
    pub(super) fn new(options: &HttpOptions) -> Result<Http, AuthError> {
        let timeout = Duration::from_millis(options.timeout_ms);
        let connect_timeout = Duration::from_millis(options.connect_timeout_ms);
        let client = Client::with(&options.tls, connect_timeout, timeout);
        Ok(Http {
            options: options.clone(),
            client: client.map_err(|error| AuthError(format!("auth_http: {error}")))?,
            places: Semaphore::new(QUESTIONS_MAX),
            timeout,
        })
    }

    /// The tags of a user.
    ///
    /// # Errors
    /// If the service says no, or nothing that can be understood: why, for the log.
    pub(super) async fn authenticate(&self, request: &LoginRequest) -> Result<Vec<String>, String> {
        let mut form = Form::default();
        form.add("username", request.user.as_bytes());
        if let Some(password) = &request.password {
            form.add("password", password);
        }
        match self.ask(&self.options.user_path, form).await {
            Ok(Said::Allow(tags)) => Ok(tags),
            Ok(Said::Deny(why)) => {
                if let Some(why) = why {
                    tracing::info!(user = request.user, "HTTP authentication denied: {why}");
                }
                Err("Denied by the backing HTTP service".into())
            }
            Err(error) => {
                let user = &request.user;
                let text = format!("{NAME} failed authenticating {user}: {error}");
                tracing::error!("{text}");
                Err(text)
            }
        }
    }

    async fn authorize(&self, user: &HttpUser, question: &Question) -> Verdict {
        let options = &self.options;
        let path = match question {
            Question::Vhost { .. } => &options.vhost_path,
            Question::Resource { .. } => &options.resource_path,
            Question::Topic { .. } => &options.topic_path,
        };
        match self.ask(path, form(user, question)).await {
            Ok(Said::Allow(more)) if more.is_empty() => Ok(()),
            Ok(Said::Allow(more)) => {
                let said = format!("allow {}", more.join(" "));
                Err(failed(user, question, &bad_response(&said)))
            }
            Ok(Said::Deny(why)) => {
                if let Some(why) = &why {
                    let user = &user.name;
                    tracing::info!(user, ?question, "HTTP authorization denied: {why}");
                }
                let why = why.filter(|_| options.discloses);
                let why = why.map(|why| format!(" by backend {NAME}: {why}"));
                Err(Denial {
                    why: why.unwrap_or_default(),
                    is_failure: false,
                })
            }
            Err(error) => Err(failed(user, question, &error)),
        }
    }

    /// # Errors
    /// What went wrong, as an Erlang term: RabbitMQ's clients see it in texts.
    async fn ask(&self, url: &str, form: Form) -> Result<Said, String> {
        let asking = async {
            let _place = self.places.acquire().await;
            if self.options.post {
                return self.client.fetch(Method::POST, url, form.0).await;
            }
            let joint = if url.contains('?') { '&' } else { '?' };
            let url = format!("{url}{joint}{}", form.0);
            self.client.fetch(Method::GET, &url, String::new()).await
        };
        let fetched = timeout(self.timeout, asking).await;
        let fetched = fetched.unwrap_or(Err(FetchError::Timeout(self.timeout)));
        let (status, body) = fetched.map_err(|error| error_term(&error))?;
        let body = String::from_utf8_lossy(&body);
        match status.as_u16() {
            200 | 201 => read(body.trim()).ok_or_else(|| bad_response(body.trim())),
            status => Err(format!("{{{status},{}}}", string_term(&body))),
        }
    }
}

fn failed(user: &HttpUser, question: &Question, error: &str) -> Denial {
    let user = &user.name;
    tracing::error!(user, ?question, "backend {NAME} returned an error: {error}");
    Denial {
        why: format!(", backend {NAME} returned an error: {error}"),
        is_failure: true,
    }
}

/// Somebody whom the service let in, and is asked about.
#[derive(Debug)]
pub(super) struct HttpUser {
    pub(super) http: Arc<Http>,
    pub(super) name: String,
    pub(super) tags: Vec<String>,
}

impl Authorizer for HttpUser {
    fn decide(self: Arc<Self>, question: Question) -> VerdictFuture {
        Box::pin(async move { self.http.authorize(&self, &question).await })
    }
}

fn read(answer: &str) -> Option<Said> {
    let (word, rest) = answer.split_once(' ').unwrap_or((answer, ""));
    if word.eq_ignore_ascii_case("allow") {
        // As in RabbitMQ, whatever letters the service writes.
        let tags = rest.to_lowercase();
        return Some(Said::Allow(
            tags.split_whitespace().map(str::to_owned).collect(),
        ));
    }
    let denied = word.eq_ignore_ascii_case("deny");
    let why = Some(rest.trim()).filter(|why| !why.is_empty());
    denied.then(|| Said::Deny(why.map(str::to_owned)))
}

fn bad_response(said: &str) -> String {
    format!("{{bad_response,{}}}", string_term(said))
}

/// What httpc says of it.
fn error_term(error: &FetchError) -> String {
    match error {
        FetchError::Timeout(_) => "timeout".into(),
        FetchError::Closed => "socket_closed_remotely".into(),
        FetchError::Connect {
            host, port, errno, ..
        } => {
            let host = string_term(host);
            format!("{{failed_connect,[{{to_address,{{{host},{port}}}}},{{inet,[inet],{errno}}}]}}")
        }
        FetchError::Other(why) => string_term(why),
    }
}

fn form(user: &HttpUser, question: &Question) -> Form {
    let mut form = Form::default();
    form.add("username", user.name.as_bytes());
    let tags = user.tags.join(" ");
    match question {
        Question::Vhost { vhost, peer_host } => {
            form.add("vhost", vhost.as_bytes());
            form.add("ip", peer_host.as_deref().unwrap_or_default().as_bytes());
            form.add("tags", tags.as_bytes());
        }
        Question::Resource {
            vhost,
            resource,
            name,
            permission,
        } => {
            form.add("vhost", vhost.as_bytes());
            form.add("resource", resource.as_bytes());
            form.add("name", name.as_bytes());
            form.add("permission", permission.as_bytes());
            form.add("tags", tags.as_bytes());
        }
        Question::Topic {
            vhost,
            exchange,
            permission,
            routing_key,
        } => {
            form.add("vhost", vhost.as_bytes());
            form.add("resource", b"topic");
            form.add("name", exchange.as_bytes());
            form.add("permission", permission.as_bytes());
            form.add("tags", tags.as_bytes());
            form.add("routing_key", routing_key.as_bytes());
            form.add("variable_map.username", user.name.as_bytes());
            form.add("variable_map.vhost", vhost.as_bytes());
        }
    }
    form
}

/// `application/x-www-form-urlencoded`.
#[derive(Default)]
struct Form(String);

impl Form {
    fn add(&mut self, key: &str, value: &[u8]) {
        let Form(out) = self;
        if !out.is_empty() {
            out.push('&');
        }
        out.push_str(key);
        out.push('=');
        for byte in value {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    out.push(char::from(*byte))
                }
                b' ' => out.push('+'),
                byte => out.push_str(&format!("%{byte:02X}")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_rabbitmq_reads_them() {
        let allow = |tags: &[&str]| {
            let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
            Some(Said::Allow(tags))
        };
        for (answer, expected) in [
            ("allow", allow(&[])),
            ("ALLOW Administrator  x", allow(&["administrator", "x"])),
            ("deny", Some(Said::Deny(None))),
            ("Deny", Some(Said::Deny(None))),
            ("deny Not you", Some(Said::Deny(Some("Not you".into())))),
            ("allowed", None),
            ("denied", None),
            ("", None),
            ("{\"result\":\"allow\"}", None),
        ] {
            assert_eq!(read(answer), expected, "{answer}");
        }
    }

    #[test]
    fn forms_are_encoded_as_rabbitmq_encodes_them() {
        let mut form = Form::default();
        form.add("a", "x y&=/é~".as_bytes());
        form.add("b", b"");
        assert_eq!(form.0, "a=x+y%26%3D%2F%C3%A9~&b=");
    }

    #[test]
    fn errors_are_told_in_rabbitmqs_terms() {
        let refused = FetchError::Connect {
            host: "h".into(),
            port: 1,
            errno: "econnrefused",
            why: String::new(),
        };
        let expected = "{failed_connect,[{to_address,{\"h\",1}},{inet,[inet],econnrefused}]}";
        assert_eq!(error_term(&refused), expected);
        assert_eq!(bad_response("a\"b\n"), "{bad_response,\"a\\\"b\\n\"}");
    }
}
