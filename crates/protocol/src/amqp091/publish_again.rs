//! The short way of a publish that is like one before it: same channel, names and properties, another body.
//!
//! ```text
//! ┌─ method frame ─┬─ content header frame ────────────────────┬─ body frame ─┐
//! │ names, flags   │ class, weight │ body size │ properties, end │ body         │
//! └────────────────┴───────────────┴───────────┴─────────────────┴──────────────┘
//!  ╰──────────── head ────────────╯             ╰──── tail ─────╯
//! ```
//! Programs publish the same thing again and again. What the long way found out about head and tail (names, checks,
//! route, the message's own head) is remembered with their bytes; a publish with the very same bytes costs two
//! comparisons, an allocation and a push. All else takes the long way: `content` and `publish`. Nothing is decided
//! here that is not decided there.

use std::hash::{BuildHasher, Hasher};

use broker::message::MessageTemplate;
use broker::router::has_own_route;
use hashbrown::HashTable;
use node::replies::REPLY_TO;
use wire::amqp091::frame::{FRAME_OVERHEAD_BYTES, FrameKind, decode_content_header, decode_frame};
use wire::amqp091::method::Method;
use wire::amqp091::properties::Properties;

use super::channel::{Assembly, Mode};
use super::connection::Turn;
use super::fault::Fault;
use super::limits::{BATCH_BYTES_MAX, TEMPLATE_BYTES_MAX, TEMPLATES_MAX};
use super::methods::Session;
use super::publish::{Publishing, parse_expiration};

/// From a content header frame's start to the body's size: kind, channel, length, class, weight.
const BEFORE_BODY_SIZE_BYTES: usize = 11;

/// Behind a frame's payload.
const FRAME_END_BYTES: usize = 1;

/// Publishes that were not remembered for want of room, after which all are forgotten: the program may have moved on
/// to other names.
const MISSES_MAX: usize = 16 * TEMPLATES_MAX;

/// Publishes in a row that were not known, after which only one in [`SKIPPED`] is looked up.
const MISSES_IN_ROW_MAX: usize = 64;
const SKIPPED: usize = 16;

/// Programs that give each message an id or a time never send the same properties twice: after so many that differ in
/// nothing else, no more are remembered.
const VARIANTS_MAX: usize = 64;

/// A publish as it is remembered.
struct Template {
    head: Box<[u8]>,
    tail: Box<[u8]>,
    channel: u16,
    message: MessageTemplate,
    /// Names and route, as the channel had them.
    publishing: Publishing,
}

/// Head and tail.
type Candidate = (Box<[u8]>, Box<[u8]>);

/// What a connection remembers.
#[derive(Default)]
pub(crate) struct Templates {
    templates: Vec<Template>,
    /// Places in `templates`, by the hash of head and tail.
    index: HashTable<usize>,
    hasher: foldhash::fast::RandomState,
    /// The one that was used last.
    last: usize,
    /// Publishes that could not be remembered because there is no room.
    misses: usize,
    /// Publishes in a row that were not known.
    misses_in_row: usize,
    /// Publishes that are not looked up, because lately none was known.
    skip: usize,
    /// Remembered publishes that differ from the one before in their properties only.
    variants: usize,
    /// What all of them were found in: the vhost's epoch and the generation of permissions.
    found_in: (u64, u64),
    /// Head and tail of a publish that took the long way, to be remembered if that ended well.
    candidate: Option<Candidate>,
}

/// Where head and tail of a publish lie.
#[derive(Clone, Copy)]
struct Cut<'a> {
    head: &'a [u8],
    tail: &'a [u8],
}

/// A publish like one that is remembered.
struct Again<'a> {
    /// Its frames, up to the end of the body.
    bytes: &'a [u8],
    /// The last so many of them are the body.
    body_bytes: usize,
}

/// Cuts up the publish at the start of `input`, as far as the lengths of its frames tell; `None` if it is none.
#[inline]
fn cut(input: &[u8]) -> Option<Cut<'_>> {
    let (&[1, _, _, l0, l1, l2, l3, 0, 60, 0, 40], _) = input.split_first_chunk()? else {
        return None;
    };
    let method_bytes = frame_bytes([l0, l1, l2, l3])?;
    let header = input.get(method_bytes..)?;
    let (&[2, _, _, l0, l1, l2, l3], _) = header.split_first_chunk()? else {
        return None;
    };
    let header_bytes = frame_bytes([l0, l1, l2, l3])?;
    let head_bytes = method_bytes.checked_add(BEFORE_BODY_SIZE_BYTES)?;
    Some(Cut {
        head: input.get(..head_bytes)?,
        tail: header.get(BEFORE_BODY_SIZE_BYTES + 8..header_bytes)?,
    })
}

#[inline]
fn frame_bytes(payload_bytes: [u8; 4]) -> Option<usize> {
    (u32::from_be_bytes(payload_bytes) as usize).checked_add(FRAME_OVERHEAD_BYTES)
}

impl Template {
    fn cut(&self) -> Cut<'_> {
        Cut {
            head: &self.head,
            tail: &self.tail,
        }
    }

    fn is(&self, cut: Cut<'_>) -> bool {
        *self.head == *cut.head && *self.tail == *cut.tail
    }

    /// The publish at the start of `input`, if it is one like this.
    #[inline]
    fn again<'a>(&self, input: &'a [u8], frame_bytes_max: u32) -> Option<Again<'a>> {
        let rest = input.strip_prefix(&*self.head)?;
        let (body_bytes, rest) = rest.split_first_chunk::<8>()?;
        let rest = rest.strip_prefix(&*self.tail)?;
        let body_bytes = u64::from_be_bytes(*body_bytes);
        let (frame, bytes) = decode_frame(rest, frame_bytes_max).ok()??;
        let whole = frame.kind == FrameKind::Body
            && frame.channel == self.channel
            && body_bytes != 0
            && frame.payload.len() as u64 == body_bytes;
        let body_end = self.head.len() + 8 + self.tail.len() + bytes - FRAME_END_BYTES;
        let bytes = input.get(..body_end)?;
        whole.then_some(Again {
            bytes,
            body_bytes: frame.payload.len(),
        })
    }
}

impl Templates {
    /// Forgets everything that was found in another epoch.
    fn renew(&mut self, found_in: (u64, u64)) {
        if self.found_in != found_in {
            self.found_in = found_in;
            self.forget();
        }
    }

    fn forget(&mut self) {
        self.templates = Vec::new();
        self.index = HashTable::new();
        (self.last, self.misses, self.variants) = (0, 0, 0);
        (self.misses_in_row, self.skip) = (0, 0);
    }

    /// The publish at the start of `input`, and its template.
    #[inline]
    fn find<'a>(
        &mut self,
        input: &'a [u8],
        frame_bytes_max: u32,
    ) -> Option<(&mut Template, Again<'a>)> {
        let last = self.templates.get(self.last)?;
        let again = match last.again(input, frame_bytes_max) {
            Some(found) => found,
            None => {
                let cut = cut(input)?;
                let same = |place: &usize| {
                    let template = self.templates.get(*place);
                    template.is_some_and(|template| template.is(cut))
                };
                self.last = *self.index.find(hash_of(&self.hasher, cut), same)?;
                let found = self.templates.get(self.last)?;
                found.again(input, frame_bytes_max)?
            }
        };
        Some((self.templates.get_mut(self.last)?, again))
    }

    /// A publish that is not known: it is remembered if it is accepted, and if that promises to be of use.
    fn miss(&mut self, cut: Cut<'_>) {
        self.misses_in_row += 1;
        if MISSES_IN_ROW_MAX < self.misses_in_row {
            self.skip = SKIPPED;
        }
        if TEMPLATE_BYTES_MAX < cut.head.len() + cut.tail.len() {
            return;
        }
        let last = self.templates.get(self.last);
        if last.is_some_and(|last| *last.head == *cut.head) {
            self.variants += 1;
            if VARIANTS_MAX < self.variants {
                return;
            }
        }
        if TEMPLATES_MAX <= self.templates.len() {
            self.misses += 1;
            if self.misses < MISSES_MAX {
                return;
            }
            self.forget();
        }
        self.candidate = Some((cut.head.into(), cut.tail.into()));
    }

    fn insert(&mut self, template: Template) {
        let hash = hash_of(&self.hasher, template.cut());
        let same = |place: &usize| {
            let known = self.templates.get(*place);
            known.is_some_and(|known| known.is(template.cut()))
        };
        if self.index.find(hash, same).is_some() {
            // Its body came in several frames, and will again.
            return;
        }
        let place = self.templates.len();
        self.templates.push(template);
        let (hasher, templates) = (&self.hasher, &self.templates);
        self.index.insert_unique(hash, place, |place| {
            let template = templates.get(*place);
            template.map_or(0, |template| hash_of(hasher, template.cut()))
        });
        self.last = place;
    }
}

fn hash_of(hasher: &foldhash::fast::RandomState, cut: Cut<'_>) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(cut.head);
    state.write(cut.tail);
    state.finish()
}

impl Session {
    /// Takes publishes off the front of `input` that are like earlier ones, as many as there are. Adds their bytes to
    /// `used`; nothing if the first thing there is something else.
    pub(crate) fn publish_again(
        &mut self,
        turn: &mut Turn<'_>,
        input: &[u8],
        used: &mut usize,
    ) -> Result<(), Fault> {
        // Publishes of those who have rate limits are counted one by one.
        if !self.meters.is_empty() || cut(input).is_none() {
            return Ok(());
        }
        if self.templates.skip > 0 {
            self.templates.skip -= 1;
            return Ok(());
        }
        // Taken out so that the session can be borrowed; put back below.
        let mut templates = std::mem::take(&mut self.templates);
        let found_in = (self.vhost.epoch(), self.permissions_generation());
        templates.renew(found_in);
        if let Some(candidate) = templates.candidate.take()
            && let Some(template) = self.remember(candidate, found_in)
        {
            templates.insert(template);
        }
        let done = self.publish_run(turn, &mut templates, input, used);
        if 0 < *used {
            templates.misses_in_row = 0;
        }
        if let Some(cut) = input.get(*used..).and_then(cut) {
            templates.miss(cut);
        }
        self.templates = templates;
        done
    }

    fn publish_run(
        &mut self,
        turn: &mut Turn<'_>,
        templates: &mut Templates,
        input: &[u8],
        used: &mut usize,
    ) -> Result<(), Fault> {
        let frame_bytes_max = match self.tuned.frame_bytes_max {
            0 => u32::MAX,
            bytes => bytes,
        };
        let message_bytes_max = self.node.settings.message_bytes_max;
        while let Some((template, again)) = input
            .get(*used..)
            .and_then(|rest| templates.find(rest, frame_bytes_max))
        {
            let number = template.channel;
            if number != self.current_channel {
                self.publish_counts();
                self.current_channel = number;
            }
            let Some(channel) = self.channels.find(number) else {
                return Ok(());
            };
            if channel.closing
                || channel.assembly != Assembly::Idle
                || matches!(channel.mode, Mode::Transaction(_))
                || message_bytes_max < again.body_bytes as u64
            {
                return Ok(());
            }
            let message = template
                .message
                .with_body_at_end(again.bytes, again.body_bytes);
            self.accept(turn, number, &mut template.publishing, message)?;
            *used += again.bytes.len() + FRAME_END_BYTES;
            if self.batch_is_full() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What is remembered of a publish that was accepted with this head and tail; `None` if the next one with the same
    /// must be looked at again. Everything is asked anew, for it may have been refused.
    fn remember(&mut self, (head, tail): Candidate, found_in: (u64, u64)) -> Option<Template> {
        let (frame, method_bytes) = decode_frame(&head, 0).ok()??;
        let Method::BasicPublish(publish) = Method::decode(frame.payload).ok()? else {
            return None;
        };
        // Class and weight, then the size, which differs.
        let mut header = head.get(method_bytes + 7..)?.to_vec();
        header.extend_from_slice(&[0; 8]);
        header.extend_from_slice(tail.split_last()?.1);
        let header = decode_content_header(&header).ok()?;
        let properties = Properties::validate(header.properties).ok()?;
        let hidden = properties
            .headers()
            .is_some_and(|headers| headers.find("BCC").is_some());
        if header.class != 60
            || publish.immediate
            || hidden
            || properties.reply_to() == Some(REPLY_TO)
            || properties.user_id().is_some()
            || has_own_route(&properties)
        {
            return None;
        }
        let expiration_ms = parse_expiration(properties.expiration()).ok()?;
        let channel = self.channels.find(frame.channel)?;
        let publishing = channel.publishing.remembered(
            publish.exchange,
            publish.routing_key,
            publish.mandatory,
            found_in,
        )?;
        let message = MessageTemplate::new(
            publish.exchange,
            publish.routing_key,
            &properties,
            expiration_ms,
        );
        Some(Template {
            channel: frame.channel,
            head,
            tail,
            message,
            publishing,
        })
    }

    /// Whether the batch should be given to its queues although more input is there.
    fn batch_is_full(&self) -> bool {
        self.batch.bytes() > BATCH_BYTES_MAX
    }
}
