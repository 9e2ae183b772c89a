//! Redriving a dead-letter queue: its messages go back to the queues where they died. Not in RabbitMQ.
//!
//! Where a message came from stands in its newest `x-death` entry. It goes straight to that queue, with the exchange
//! and routing key that it had there; a message without the entry, or whose queue is gone, stays.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker::message::Message;
use metadata::identity::PermissionKind;
use node::identities::ResourceKind;
use node::queue_cell::{Peeked, QueueCell};
use node::vhost::Vhost;
use serde_json::Value;
use wire::amqp091::properties::Properties;

use crate::access::Guard::Vhost as VhostGuard;
use crate::answer::Answer;
use crate::call::{Call, boolean, integer, text};
use crate::failure::Failure;
use crate::json::Object;
use crate::messages::{publish_refused, wait_until_kept};
use crate::peek::{LOOKED_AT_MAX, Search, take_out, unreadable};
use crate::queue_actions::{self, NO_CONNECTION};
use crate::routes::{Field, Route, optional, post, route};

const REDRIVE: &[Field] = &[
    optional("dry_run", "boolean"),
    optional("limit", "integer"),
    optional("rate", "integer"),
    optional("queue", "string"),
    optional("reason", "string"),
    optional("search", "string"),
];

pub(crate) const ROUTES: &[Route] = &[route(
    "/api/queues/{vhost}/{queue}/redrive",
    &[post(
        VhostGuard,
        redrive,
        "Send dead letters back to where they died",
    )
    .taking(REDRIVE)],
)];

/// Most messages that one request sends back, and how many it does if it does not say.
const REDRIVE_MESSAGES_MAX: usize = 10_000;
/// How long one request goes on under a rate; what is left is for the next.
const REDRIVE_SECONDS_MAX: u64 = 30;

/// Where a message died.
struct Death {
    queue: String,
    exchange: String,
    routing_key: String,
    reason: String,
}

/// The newest `x-death` entry.
fn death(message: &Message) -> Option<Death> {
    let properties = Properties::validate(message.properties()).ok()?;
    let headers = properties.headers()?.to_owned();
    let deaths = metadata::json::from_field(headers.find("x-death")?);
    let newest = deaths.get(0)?;
    let text = |key: &str| newest.get(key).and_then(Value::as_str).map(str::to_owned);
    let routing_key = newest.get("routing-keys")?.get(0)?.as_str()?.to_owned();
    Some(Death {
        queue: text("queue")?,
        exchange: text("exchange")?,
        routing_key,
        reason: text("reason")?,
    })
}

/// The message as it was in the queue where it died.
fn revived(message: &Message, death: &Death) -> Option<Message> {
    let properties = Properties::validate(message.properties()).ok()?;
    let short = death.exchange.len() <= 255 && death.routing_key.len() <= 255;
    short.then(|| {
        Message::new(
            &death.exchange,
            &death.routing_key,
            &properties,
            message.expiration_ms(),
            message.body(),
            &mut Vec::new(),
        )
    })
}

fn redrive(call: &Call<'_>) -> Result<Answer, Failure> {
    let (_, cell) = queue_actions::find(call)?;
    let body = call.object()?;
    let vhost = call.vhost_to_change()?;
    call.require(
        &vhost,
        PermissionKind::Read,
        ResourceKind::Queue,
        &cell.spec.name,
    )?;
    call.require(&vhost, PermissionKind::Write, ResourceKind::Exchange, "")?;
    cell.check_owner(NO_CONNECTION, &vhost.name)?;
    let dry_run = boolean(&body, "dry_run")?;
    let whole = |key: &str| -> Result<Option<usize>, Failure> {
        let given = integer(&body, key)?.map(usize::try_from).transpose();
        given.map_err(|_| Failure::bad_value("negative", key.to_owned()))
    };
    let limit = whole("limit")?.unwrap_or(REDRIVE_MESSAGES_MAX);
    let mut limit = limit.min(REDRIVE_MESSAGES_MAX);
    let rate = whole("rate")?.filter(|rate| *rate > 0);
    if let Some(rate) = rate {
        limit = limit.min(rate.saturating_mul(REDRIVE_SECONDS_MAX as usize));
    }
    let (queue, reason) = (text(&body, "queue")?, text(&body, "reason")?);
    let search = Search {
        text: text(&body, "search")?,
        header: None,
    };
    let wanted = |peeked: Peeked| {
        let death = death(&peeked.message)?;
        let chosen = queue.is_none_or(|queue| queue == death.queue)
            && reason.is_none_or(|reason| reason == death.reason)
            && search.finds(&peeked.message);
        chosen.then_some((peeked, death))
    };
    let (mut total, mut chosen) = (0_usize, Vec::new());
    let looked = cell.look(0, LOOKED_AT_MAX, &mut |peeked| {
        total += 1;
        chosen.extend(wanted(peeked));
        chosen.len() < limit
    });
    looked.map_err(unreadable)?;
    let mut work = Work {
        call,
        vhost: &vhost,
        from: &cell,
        to: BTreeMap::new(),
        skipped: 0,
    };
    work.run(chosen, dry_run, rate)?;
    let moved: u64 = work.to.values().sum();
    let to = work
        .to
        .into_iter()
        .fold(Object::new(), |object, (queue, count)| {
            object.with(queue, count)
        });
    let answer = Object::new()
        .with("dry_run", dry_run)
        .with("redriven", moved)
        .with("skipped", work.skipped)
        .with("looked_at", total)
        .with("queues", to);
    Ok(Answer::json(answer))
}

struct Work<'a> {
    call: &'a Call<'a>,
    vhost: &'a Vhost,
    from: &'a Arc<QueueCell>,
    /// How many went to each queue.
    to: BTreeMap<String, u64>,
    /// Those whose queue is gone, full or the same.
    skipped: u64,
}

impl Work<'_> {
    fn run(
        &mut self,
        chosen: Vec<(Peeked, Death)>,
        dry_run: bool,
        rate: Option<usize>,
    ) -> Result<(), Failure> {
        for (index, (peeked, death)) in chosen.into_iter().enumerate() {
            if let Some(rate) = rate.filter(|rate| !dry_run && index > 0 && index % rate == 0) {
                debug_assert!(rate > 0);
                // This thread is one of those that may wait.
                let pause = tokio::time::sleep(Duration::from_secs(1));
                tokio::runtime::Handle::current().block_on(pause);
            }
            match self.send_back(&peeked, &death, dry_run)? {
                true => *self.to.entry(death.queue).or_default() += 1,
                false => self.skipped += 1,
            }
        }
        Ok(())
    }

    fn send_back(&self, peeked: &Peeked, death: &Death, dry_run: bool) -> Result<bool, Failure> {
        let Ok(target) = self.vhost.find_queue(&death.queue) else {
            return Ok(false);
        };
        if target.id == self.from.id || target.owner.is_some() {
            return Ok(false);
        }
        if dry_run {
            return Ok(true);
        }
        let Some(message) = revived(&peeked.message, death) else {
            return Ok(false);
        };
        let published = self
            .vhost
            .publish_to(self.call.now_ms, &[target], &message)
            .map_err(publish_refused)?;
        if published.rejected {
            return Ok(false);
        }
        wait_until_kept(self.vhost, published.position)?;
        take_out(self.call, self.from, peeked.id)?;
        Ok(true)
    }
}
