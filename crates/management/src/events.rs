//! `GET /api/events`: what changes in the broker, as server-sent events, and its totals and rates every few seconds.
//!
//! A reader is a task that passes on what it hears and what it may see. What waits for a slow reader is bounded: the
//! node keeps the last [`EVENTS_WAITING_MAX`] events for all readers together, and some [`CHUNKS_WAITING_MAX`]
//! chunks wait for each. A reader that falls behind loses the oldest and is told how many (`event: missed`): it then
//! lists anew what it shows. Deliberately absent: a history to take up after a break.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::channel::{Channel, Sender};
use node::events::NodeEvent;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::interval;

use crate::access::Guard::Management;
use crate::access::Login;
use crate::answer::Answer;
use crate::api::Api;
use crate::call::Call;
use crate::failure::Failure;
use crate::json::Json;
use crate::overview;
use crate::routes::{Route, get, route};

#[cfg(doc)]
use node::events::EVENTS_WAITING_MAX;

pub(crate) const ROUTES: &[Route] = &[route(
    "/api/events",
    &[get(
        Management,
        stream,
        "Stream changes and rates, as server-sent events",
    )],
)];

/// Readers at once; one more is refused with 503. Each holds one of the server's connections.
const READERS_MAX: usize = 100;

/// Chunks of a stream that wait for its reader before the reader is left behind.
const CHUNKS_WAITING_MAX: usize = 64;

/// Seconds between two `totals`, unless `interval` says otherwise; 0 is never.
const INTERVAL_S: u64 = 5;

/// Longest of them.
const INTERVAL_S_MAX: u64 = 3_600;

/// How often something is said, so that nobody between takes the connection for dead, and how often it is looked
/// whether the user may still read.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How many read.
#[derive(Debug, Default)]
pub(crate) struct Readers(AtomicUsize);

/// A place among them, given back when it is dropped.
struct Place(Arc<Api>);

impl Place {
    fn take(api: &Arc<Api>) -> Option<Place> {
        let more = |count: usize| (count < READERS_MAX).then_some(count + 1);
        let count = &api.event_readers.0;
        let taken = count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        taken.is_ok().then(|| Place(Arc::clone(api)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.event_readers.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn stream(call: &Call<'_>) -> Result<Answer, Failure> {
    let interval_s = match call.query("interval") {
        None => INTERVAL_S,
        Some(text) => {
            let seconds = text.parse().ok().filter(|s| *s <= INTERVAL_S_MAX);
            let wrong = || format!("interval must be a whole number from 0 to {INTERVAL_S_MAX}");
            seconds.ok_or_else(|| Failure::bad_request(wrong()))?
        }
    };
    let types = call.query("types").map(|types| {
        let types = types.split(',').map(str::to_owned);
        types.collect()
    });
    let Some(place) = Place::take(call.api) else {
        return Err(Failure::new(
            503,
            "too_many_readers",
            format!("no more than {READERS_MAX} may read events at once"),
        ));
    };
    let reader = Reader {
        // From here on nothing is missed.
        events: call.api.node.events.listen(),
        place,
        login: call.login.clone(),
        types,
        interval_s,
    };
    let (sender, body) = Channel::new(CHUNKS_WAITING_MAX);
    tokio::spawn(reader.run(sender));
    Ok(Answer::stream("text/event-stream", Body::new(body)))
}

struct Reader {
    events: Receiver<Arc<NodeEvent>>,
    place: Place,
    login: Login,
    /// Beginnings of names of events that are wanted; `None` is all.
    types: Option<Vec<String>>,
    interval_s: u64,
}

/// The reader is gone.
struct Gone;

impl Reader {
    async fn run(mut self, mut sender: Sender<Bytes>) {
        // It ends when its reader or its right to read does.
        let _ = self.pass_on(&mut sender).await;
    }

    async fn pass_on(&mut self, sender: &mut Sender<Bytes>) -> Result<(), Gone> {
        // Something at once, so that the reader sees that it is heard.
        say(sender, ": ok\n\n".into()).await?;
        let mut totals = interval(Duration::from_secs(self.interval_s.max(1)));
        let wants_totals = self.interval_s > 0 && self.wants("totals");
        let mut keep_alive = interval(KEEP_ALIVE);
        // The first tick of an interval comes at once.
        keep_alive.tick().await;
        loop {
            let text = tokio::select! {
                event = self.events.recv() => match event {
                    Ok(event) if self.wants(event.name) && self.sees(&event).await => self.told(&event),
                    Ok(_) => continue,
                    Err(RecvError::Lagged(count)) => {
                        written("missed", &format!("{{\"count\":{count}}}"))
                    }
                    Err(RecvError::Closed) => return Ok(()),
                },
                _ = totals.tick(), if wants_totals => self.totals().await,
                _ = keep_alive.tick() => {
                    if !self.login.is_still_let_in(&self.place.0) {
                        return say(sender, written("end", "{\"reason\":\"not_authorised\"}")).await;
                    }
                    self.login.forget_answers();
                    ": still here\n\n".to_owned()
                }
            };
            say(sender, text).await?;
        }
    }

    fn wants(&self, name: &str) -> bool {
        match &self.types {
            None => true,
            Some(types) => types.iter().any(|wanted| name.starts_with(&**wanted)),
        }
    }

    /// Who may list something hears of it: what is in a vhost, who may enter it; connections, whose they are and
    /// `monitoring`; alarms, everybody; the rest is for administrators.
    async fn sees(&self, event: &NodeEvent) -> bool {
        let login = &self.login;
        let is_connection =
            event.name.starts_with("connection_") || event.name.starts_with("channel_");
        if is_connection {
            return login.is_monitoring() || event.text("user") == Some(login.name());
        }
        if login.is_administrator() || event.name.starts_with("alarm_") {
            return true;
        }
        let vhost = match event.name {
            "vhost_created" | "vhost_deleted" => event.text("name"),
            name if name.contains("permission_") => None,
            _ => event.text("vhost"),
        };
        match vhost {
            Some(vhost) => login.may_enter(&self.place.0, vhost).await,
            None => false,
        }
    }

    fn told(&self, event: &NodeEvent) -> String {
        let at_ms = event.at_ms.unwrap_or_else(|| self.place.0.now_ms());
        let object = crate::json::Object::new()
            .with("timestamp", at_ms)
            .with("user_who_performed_action", &event.by)
            .with(
                "properties",
                serde_json::Value::Object(event.properties.clone()),
            );
        written(event.name, &json(object.into()))
    }

    /// The totals and rates of the overview. They are summed over all that there is, so on a thread that may work.
    async fn totals(&self) -> String {
        let (api, login) = (Arc::clone(&self.place.0), self.login.clone());
        let work = move || json(overview::totals(&Call::without_request(&api, &login)).into());
        match tokio::task::spawn_blocking(work).await {
            Ok(text) => written("totals", &text),
            // The process is ending.
            Err(_) => ": no totals\n\n".to_owned(),
        }
    }
}

async fn say(sender: &mut Sender<Bytes>, text: String) -> Result<(), Gone> {
    let sent = sender.send_data(Bytes::from(text)).await;
    sent.map_err(|_| Gone)
}

/// An event in the stream's format. JSON has no line ends in it.
fn written(name: &str, data: &str) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

fn json(value: Json) -> String {
    serde_json::to_string(&value).expect("keys are text and nothing fails")
}
