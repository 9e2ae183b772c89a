//! The HTTP backend: a service of the operator's says whether a name and a password belong together.
//!
//! ```text
//! POST user_path    username=...&password=...        ►   allow administrator   │   deny
//! ```

use std::path::PathBuf;
use std::time::Duration;

use node::identities::LoginRequest;

use super::AuthError;
use crate::fetch::Client;

/// `auth_http.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpOptions {
    /// Whether the question is POSTed; otherwise it is a query.
    pub post: bool,
    /// Where to ask.
    pub user_path: String,
    /// How long an answer may take, in milliseconds.
    pub timeout_ms: u64,
    /// Roots that HTTPS believes; the system's if there are none.
    pub cacertfile: Option<PathBuf>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        HttpOptions {
            post: false,
            user_path: "http://localhost:8000/auth/user".into(),
            timeout_ms: 15_000,
            cacertfile: None,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Http {
    options: HttpOptions,
    client: Client,
}

impl Http {
    pub(super) fn new(options: &HttpOptions) -> Result<Http, AuthError> {
        let timeout = Duration::from_millis(options.timeout_ms);
        let client = Client::new(options.cacertfile.as_deref(), timeout).map_err(AuthError)?;
        Ok(Http {
            options: options.clone(),
            client,
        })
    }

    /// # Errors
    /// If the service says no, or nothing that can be understood.
    pub(super) async fn authenticate(&self, request: &LoginRequest) -> Result<(), String> {
        let mut form = String::from("username=");
        encode(&mut form, request.user.as_bytes());
        form.push_str("&password=");
        encode(&mut form, &request.password);
        let path = &self.options.user_path;
        let answer = if self.options.post {
            self.client.post(path, form).await?
        } else {
            let joint = if path.contains('?') { '&' } else { '?' };
            self.client.get(&format!("{path}{joint}{form}")).await?
        };
        let answer = String::from_utf8_lossy(&answer).trim().to_lowercase();
        match answer.split_whitespace().next() {
            Some("allow") => Ok(()),
            Some("deny") => Err("Denied by the backing HTTP service".into()),
            _ => Err(format!("{path}: the answer is neither allow nor deny")),
        }
    }
}

/// `application/x-www-form-urlencoded`, with spaces as `%20`.
fn encode(out: &mut String, value: &[u8]) {
    for byte in value {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(*byte))
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
}
