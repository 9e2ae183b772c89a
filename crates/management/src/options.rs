//! What the configuration says of the API and the metrics: `management.*` and `prometheus.*`, without what concerns
//! sockets.
//!
//! They hold from start to end. What is said of a listener, its timeouts and limits, is for whoever listens.

use std::collections::BTreeMap;

use axum::http::{HeaderName, HeaderValue, header};

/// See the module.
#[derive(Debug, Clone)]
pub struct Options {
    /// Largest body of a request, in bytes; a larger one is refused with 400: `management.http.max_body_size`.
    pub body_bytes_max: usize,
    /// What stands before `/api` in each path: empty, or `/` and words: `management.path_prefix`.
    pub path_prefix: String,
    /// Pages of these origins may use the API; `*` is all, without their cookies: `management.cors.allow_origins`.
    pub cors_origins: Vec<String>,
    /// For how long a browser may remember what an origin may do: `management.cors.max_age`.
    pub cors_age_max_s: u32,
    /// Headers of every answer: `management.csp.policy`, `management.hsts.policy`, `management.headers.*`.
    pub headers: BTreeMap<KnownHeader, HeaderValue>,
    /// Whether answers to what is allowed do not say what else is: `management.http.hide_allow_header`.
    pub hide_allow: bool,
    /// Whether nobody is let in by password: `management.disable_basic_auth`.
    pub basic_auth_disabled: bool,
    /// After how many minutes the pages of the API's users ask for a login again; `None`: their own choice:
    /// `management.login_session_timeout`.
    pub login_session_timeout_min: Option<u64>,
    /// Whether operator policies cannot be changed here: `management.restrictions.operator_policy_changes.disabled`.
    pub operator_policies_locked: bool,
    /// Where the metrics are, and whose they are.
    pub metrics: MetricsOptions,
}

/// What `prometheus.*` says.
#[derive(Debug, Clone)]
pub struct MetricsOptions {
    /// The path of the sums; the others are below it. Empty for `/`.
    pub path: String,
    /// Whether there are lines for each object in place of the sums.
    pub per_object: bool,
    /// Whether only users who may monitor get them.
    pub login_needed: bool,
}

/// A header that the configuration may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum KnownHeader {
    ContentSecurityPolicy,
    StrictTransportSecurity,
    ContentTypeOptions,
    XssProtection,
    FrameOptions,
    ReferrerPolicy,
}

impl KnownHeader {
    /// As it stands in an answer.
    pub(crate) fn name(self) -> HeaderName {
        match self {
            KnownHeader::ContentSecurityPolicy => header::CONTENT_SECURITY_POLICY,
            KnownHeader::StrictTransportSecurity => header::STRICT_TRANSPORT_SECURITY,
            KnownHeader::ContentTypeOptions => header::X_CONTENT_TYPE_OPTIONS,
            KnownHeader::XssProtection => header::X_XSS_PROTECTION,
            KnownHeader::FrameOptions => header::X_FRAME_OPTIONS,
            KnownHeader::ReferrerPolicy => header::REFERRER_POLICY,
        }
    }
}

impl Default for Options {
    /// RabbitMQ's.
    fn default() -> Self {
        let policy = HeaderValue::from_static("script-src 'self'; object-src 'self'");
        Options {
            body_bytes_max: 10_000_000,
            path_prefix: String::new(),
            cors_origins: Vec::new(),
            cors_age_max_s: 1800,
            headers: BTreeMap::from([(KnownHeader::ContentSecurityPolicy, policy)]),
            hide_allow: false,
            basic_auth_disabled: false,
            login_session_timeout_min: None,
            operator_policies_locked: false,
            metrics: MetricsOptions {
                path: "/metrics".to_owned(),
                per_object: false,
                login_needed: false,
            },
        }
    }
}
