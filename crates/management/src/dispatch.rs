//! From a request to its handler and back: routing, login, body, and the response.

use std::sync::Arc;

use crate::access::{self, Denied, Guard, Login};
use crate::answer::{Answer, Body as AnswerBody};
use crate::api::{Api, LoggedIn, Peer};
use crate::call::Call;
use crate::failure::Failure;
use crate::headers::{self, Asked};
use crate::request_body::{self, BodyError};
use crate::routes::{self, Operation, Route};
use crate::text::unquote_plus;
use axum::Router;
use axum::body::Body;
use axum::extract::{RawPathParams, Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, EXPECT, LOCATION, VARY, WWW_AUTHENTICATE,
};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::any;
use node::catalog::Ticket;

const JSON: &str = "application/json";

/// The API as a router. Whoever serves it puts a [`Peer`] into each request's extensions; without one the client
/// counts as not on this machine.
pub fn router(api: Arc<Api>) -> Router {
    let mut router = Router::new();
    for route in routes::all() {
        let serve = move |State(api): State<Arc<Api>>, params, request: Request| async move {
            let params = path_params(params);
            let asked = Asked::of(&request);
            let mut response = serve(Arc::clone(&api), route, params, request).await;
            headers::write(&api.options, &route.allow(), asked, &mut response);
            response
        };
        // As in RabbitMQ, a slash at the end changes nothing.
        let path = format!("{}{}", api.options.path_prefix, route.path);
        router = router.route(&format!("{path}/"), any(serve));
        router = router.route(&path, any(serve));
    }
    router
        .fallback(|| async { failed(&Failure::no_object()) })
        .with_state(api)
}

/// The segments of the path; `None` where they are no UTF-8.
fn path_params(
    params: Result<RawPathParams, axum::extract::rejection::RawPathParamsRejection>,
) -> Option<Vec<(String, String)>> {
    let params = params.ok()?;
    let own = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    Some(params.iter().map(own).collect())
}

async fn serve(
    api: Arc<Api>,
    route: &'static Route,
    params: Option<Vec<(String, String)>>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    if head.method == "OPTIONS" {
        return empty(StatusCode::OK);
    }
    let Some(operation) = route.find(head.method.as_str()) else {
        return empty(StatusCode::METHOD_NOT_ALLOWED);
    };
    let Some(params) = params else {
        return failed(&Failure::bad_request("the path is not UTF-8"));
    };
    let authorization = head.headers.get(AUTHORIZATION).cloned();
    let peer = head.extensions.get::<Peer>().copied();
    let authorization = authorization.as_ref().map(HeaderValue::as_bytes);
    let login = match operation.guard {
        Guard::Anyone => Login::nobody(),
        _ => match access::log_in(&api, authorization, peer).await {
            Ok(login) => login,
            Err(denied) => return refused(denied, "RabbitMQ Management"),
        },
    };
    let who = LoggedIn(Arc::clone(login.name()));
    let is_waiting = head.headers.contains_key(EXPECT);
    let bytes_max = api.options.body_bytes_max;
    let answered = match request_body::read(body, bytes_max, is_waiting).await {
        Err(error) => no_body(&api, error, head.uri.path()),
        Ok(body) => {
            let work = move || answer(&api, operation, &login, &params, &head, &body);
            match tokio::task::spawn_blocking(work).await {
                Ok(response) => response,
                Err(panic) => {
                    tracing::error!(path = route.path, "a handler failed: {panic}");
                    failed(&Failure::internal("the request could not be served".into()))
                }
            }
        }
    };
    of(who, answered)
}

/// An answer to somebody, whose name is known unless nobody asked for it.
fn of(who: LoggedIn, mut response: Response) -> Response {
    if !who.0.is_empty() {
        response.extensions_mut().insert(who);
    }
    response
}

fn no_body(api: &Api, error: BodyError, path: &str) -> Response {
    match error {
        BodyError::TooLong => {
            tracing::warn!(
                path,
                "HTTP API: a request is longer than management.http.max_body_size, {} bytes",
                api.options.body_bytes_max
            );
            failed(&Failure::bad_request(
                "Exceeded HTTP request body size limit",
            ))
        }
        BodyError::TooSlow => empty(StatusCode::REQUEST_TIMEOUT),
        BodyError::Broken => empty(StatusCode::BAD_REQUEST),
    }
}

/// Calls the handler, on a thread where it may wait.
fn answer(
    api: &Arc<Api>,
    operation: &Operation,
    login: &Login,
    params: &[(String, String)],
    head: &Parts,
    body: &[u8],
) -> Response {
    let query = parse_query(head.uri.query().unwrap_or_default());
    let reason = head
        .headers
        .get("x-reason")
        .and_then(|value| String::from_utf8(value.as_bytes().to_vec()).ok());
    let call = Call::new(api, login, params, &query, body, reason.as_deref());
    let result = run(&call, operation);
    if operation.method != "GET" {
        let peer = head.extensions.get::<Peer>().copied();
        audit(&call, operation, head.uri.path(), peer, &result);
    }
    respond(result)
}

/// Checks the guard, calls the handler, and waits until what it changed is on disk.
fn run(call: &Call<'_>, operation: &Operation) -> Result<Answer, Failure> {
    access::check(call, operation.guard)?;
    let answer = (operation.handler)(call)?;
    wait_until_durable(call.api, answer.ticket)?;
    Ok(answer)
}

/// One line for each request that may change something, done or refused. Bodies are left out: they hold passwords
/// and messages.
fn audit(
    call: &Call<'_>,
    operation: &Operation,
    path: &str,
    peer: Option<Peer>,
    result: &Result<Answer, Failure>,
) {
    let outcome = match result {
        Ok(_) => "done".to_owned(),
        // Reasons may quote the body.
        Err(failure) => format!("refused: {} {}", failure.status, failure.error),
    };
    tracing::info!(
        target: "audit",
        from = "HTTP API",
        peer = peer.map(|peer| peer.address.to_string()),
        user = &**call.login.name(),
        verb = operation.summary,
        method = operation.method,
        path,
        outcome,
    );
}

fn wait_until_durable(api: &Api, ticket: Ticket) -> Result<(), Failure> {
    let catalog = &api.node.catalog;
    if catalog.durable() < ticket {
        let (sender, receiver) = std::sync::mpsc::channel();
        let wake = move || {
            // Nobody waits any more only if this thread is gone.
            let _ = sender.send(());
        };
        catalog.wake_when_durable(ticket, Arc::new(wake));
        let _ = receiver.recv();
    }
    match catalog.failure() {
        Some(failure) if catalog.durable() < ticket => Err(Failure::internal(failure.to_string())),
        _ => Ok(()),
    }
}

/// Pairs of a query, decoded; what is no UTF-8 is passed over.
pub(crate) fn parse_query(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let parse = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((unquote_plus(key)?, unquote_plus(value)?))
    };
    pairs.filter_map(parse).collect()
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// A response of a handler.
fn respond(result: Result<Answer, Failure>) -> Response {
    let answer = match result {
        Ok(answer) => answer,
        Err(failure) => return failed(&failure),
    };
    let status = StatusCode::from_u16(answer.status).expect("handlers know their statuses");
    let mut response = match answer.body {
        AnswerBody::Empty => empty(status),
        AnswerBody::Json(json) => {
            let bytes = serde_json::to_vec(&json).expect("keys are text and nothing fails");
            written(status, JSON, bytes)
        }
        AnswerBody::Text(content_type, text) => written(status, content_type, text.into_bytes()),
        AnswerBody::Stream(content_type, body) => {
            let mut response = Response::new(body);
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
    };
    if let Some(location) = answer.location
        && let Ok(location) = HeaderValue::from_str(&location)
    {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

pub(crate) fn failed(failure: &Failure) -> Response {
    let status = StatusCode::from_u16(failure.status).expect("failures know their statuses");
    let bytes = serde_json::to_vec(&failure.body()).expect("keys are text and nothing fails");
    written(status, JSON, bytes)
}

/// An answer to whoever is not let in. `realm` names what they wanted to enter.
pub(crate) fn refused(denied: Denied, realm: &str) -> Response {
    match denied {
        Denied::Refused(user) => of(LoggedIn(user.into()), failed(&Failure::not_logged_in())),
        Denied::NotThisWay(why) => failed(&Failure::not_authorised(why)),
        Denied::Anonymous => {
            let mut response = empty(StatusCode::UNAUTHORIZED);
            let asked = HeaderValue::from_str(&format!("Basic realm=\"{realm}\""));
            response
                .headers_mut()
                .insert(WWW_AUTHENTICATE, asked.expect("realms are plain letters"));
            response
        }
    }
}

fn written(status: StatusCode, content_type: &'static str, bytes: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=0, must-revalidate"),
    );
    headers.insert(
        VARY,
        HeaderValue::from_static("accept, accept-encoding, origin"),
    );
    response
}
