//! Going through a log file from its first record to its end, and telling a torn tail from damage.

use std::sync::Arc;

use crate::disk::DiskFile;
use crate::limits::LOG_FILE_LENGTH_MAX;
use crate::record::{self, Body, Record};
use crate::window::Window;
use crate::{Damage, LogPosition, StorageError, log_file};

/// How the end of a file is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Exactly here: the next file's header, or a clean shutdown, says so.
    At(u64),
    /// Where whole records end, if no mark farther on says otherwise.
    Open,
}

#[derive(Debug)]
pub(crate) struct Scanned {
    /// Behind the last whole record.
    pub(crate) end: u64,
    /// The position that comes next.
    pub(crate) next: u64,
    pub(crate) damages: Vec<Damage>,
    /// Something was being written behind the end when the power went.
    pub(crate) torn: bool,
    /// Behind the end stands that the next file was begun.
    pub(crate) next_begun: bool,
}

/// What stands where a record is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Record,
    /// The mark that the next file was begun.
    NextBegun,
    /// Nothing whole, or not what follows.
    Nothing,
}

/// What a record starts with and no less: enough to know its length and kind.
const PEEK_BYTES: usize = record::HEADER_BYTES;
/// A damaged record is looked at so far for its owners.
const GUESS_BYTES: usize = 4096;

/// Calls `apply` with each record (marks too) and its offset. After damage it goes on with the next whole
/// record, so that all damage is found and a repair sees what is left.
///
/// `first`: the position of the first record; `None` where the header is lost, then that of the first whole one.
pub(crate) fn scan(
    number: u64,
    first: Option<LogPosition>,
    file: Arc<dyn DiskFile>,
    end: End,
    apply: &mut dyn FnMut(&Record<'_>, u64),
) -> Result<Scanned, StorageError> {
    let name = log_file::name(number);
    let bytes = file
        .bytes()
        .map_err(|error| StorageError::disk(&name, error))?;
    let limit = match end {
        End::At(at) => at.min(bytes),
        End::Open => bytes,
    };
    let limit = limit.min(LOG_FILE_LENGTH_MAX);
    let mut window = Window::new(name.clone(), Arc::clone(&file), limit);
    let salt = record::salt(number);
    let mut scanned = Scanned {
        end: log_file::HEADER_BYTES as u64,
        next: first.map_or(0, |first| first.0),
        damages: Vec::new(),
        torn: false,
        next_begun: false,
    };
    if first.is_none() {
        match next_whole(&mut window, salt, scanned.end - 8, None)? {
            Some((offset, position)) => (scanned.end, scanned.next) = (offset, position),
            None => return Ok(scanned),
        }
    }
    loop {
        let offset = scanned.end;
        if end == End::At(offset) {
            scanned.next_begun = next_begun_behind(number, &*file, offset)?;
            return Ok(scanned);
        }
        match step(&mut window, number, &mut scanned, apply)? {
            Due::Record => continue,
            Due::NextBegun => {
                scanned.next_begun = true;
                return Ok(scanned);
            }
            Due::Nothing => {}
        }
        let head = window.ahead(offset, GUESS_BYTES)?;
        let expected = record::peek_position(head) == Some(scanned.next);
        let owners = record::guess_owners(head, expected);
        let begun = expected && record::peek_length(head).is_some();
        if end == End::Open {
            let later = synced_later(&mut window, salt, number, offset)?;
            scanned.torn = later.any || begun;
            if !later.beyond {
                return Ok(scanned);
            }
        }
        // Go on behind the damage, with the next record that fits.
        let following = next_whole(&mut window, salt, offset, Some(scanned.next))?;
        scanned.damages.push(Damage {
            file: name.clone(),
            offset,
            what: what_is_lost(scanned.next, following),
            owners,
        });
        match following {
            Some((offset, position)) => (scanned.end, scanned.next) = (offset, position),
            None => return Ok(scanned),
        }
    }
}

/// In words, when after the position `due` the next whole record is `following`, an offset and a position.
fn what_is_lost(due: u64, following: Option<(u64, u64)>) -> String {
    match following {
        Some((at, next)) if next > due => {
            let lost = next - due;
            format!("{lost} records that had been synced are damaged, up to byte {at}")
        }
        Some((at, _)) => format!("a mark is damaged, up to byte {at}"),
        None => "no record that had been synced is whole from here on".to_owned(),
    }
}

/// Whether a mark that the next file was begun stands at the end of a file.
fn next_begun_behind(number: u64, file: &dyn DiskFile, end: u64) -> Result<bool, StorageError> {
    let failed = |error| StorageError::disk(log_file::name(number), error);
    let mut bytes = [0; record::MARK_BYTES];
    if file.bytes().map_err(failed)? < end.saturating_add(bytes.len() as u64) {
        return Ok(false);
    }
    file.read_at(end, &mut bytes).map_err(failed)?;
    let record = record::decode(&bytes, record::salt(number));
    Ok(is_next_begun(record, number))
}

fn is_next_begun(record: Option<Record<'_>>, number: u64) -> bool {
    let body = record.map(|record| record.body);
    matches!(body, Some(Body::Mark { file, .. }) if file == number + 1)
}

/// Takes one record, if there is a whole one with the position that is due.
fn step(
    window: &mut Window,
    number: u64,
    scanned: &mut Scanned,
    apply: &mut dyn FnMut(&Record<'_>, u64),
) -> Result<Due, StorageError> {
    let head = window.ahead(scanned.end, PEEK_BYTES)?;
    let Some(length) = record::peek_length(head) else {
        return Ok(Due::Nothing);
    };
    if record::peek_position(head) != Some(scanned.next)
        || scanned.end + u64::from(length) > window.end()
    {
        return Ok(Due::Nothing);
    }
    let bytes = window.ahead(scanned.end, length as usize)?;
    let Some(record) = record::decode(bytes, record::salt(number)) else {
        return Ok(Due::Nothing);
    };
    match record.body {
        Body::Message(message) if !message.owners_differ() => return Ok(Due::Nothing),
        Body::Mark { .. } if is_next_begun(Some(record), number) => return Ok(Due::NextBegun),
        Body::Mark { file, .. } if file != number => return Ok(Due::Nothing),
        Body::Mark { .. } => {}
        _ => scanned.next += 1,
    }
    apply(&record, scanned.end);
    scanned.end += u64::from(length);
    Ok(Due::Record)
}

/// Whether anything was ever written to the file with this number.
pub(crate) fn has_mark(number: u64, file: Arc<dyn DiskFile>) -> Result<bool, StorageError> {
    let name = log_file::name(number);
    let bytes = file
        .bytes()
        .map_err(|error| StorageError::disk(&name, error))?;
    let mut window = Window::new(name, file, bytes);
    let start = (log_file::HEADER_BYTES - 8) as u64;
    Ok(synced_later(&mut window, record::salt(number), number, start)?.any)
}

struct Later {
    /// There is a mark of this file behind the place.
    any: bool,
    /// One that says that the place had been synced.
    beyond: bool,
}

fn synced_later(
    window: &mut Window,
    salt: u32,
    number: u64,
    place: u64,
) -> Result<Later, StorageError> {
    let mut later = Later {
        any: false,
        beyond: false,
    };
    let mut offset = place + 8;
    while offset < window.end() {
        let bytes = window.ahead(offset, record::MARK_BYTES)?;
        if record::may_be_mark(bytes)
            && let Some(record) = record::decode(bytes, salt)
            && let Body::Mark { file, synced_bytes } = record.body
            && (file == number || file == number + 1)
        {
            later.any = true;
            // Before the next file was begun, all of this one was synced.
            later.beyond = file > number || synced_bytes > place;
            if later.beyond {
                return Ok(later);
            }
        }
        offset += 8;
    }
    Ok(later)
}

/// The next whole record behind a place, whose position follows the one that was due there by no more than what
/// the bytes between can have held. `due` is `None` where nothing is known of it.
fn next_whole(
    window: &mut Window,
    salt: u32,
    place: u64,
    due: Option<u64>,
) -> Result<Option<(u64, u64)>, StorageError> {
    let mut offset = place + 8;
    while offset < window.end() {
        let head = window.ahead(offset, PEEK_BYTES)?;
        let lost_max = (offset - place) / record::HEADER_BYTES as u64;
        let fits = |position: u64| {
            due.map_or(position > 0, |due| {
                due <= position && position - due <= lost_max
            })
        };
        if let Some(length) = record::peek_length(head)
            && record::peek_position(head).is_some_and(fits)
            && offset + u64::from(length) <= window.end()
        {
            let bytes = window.ahead(offset, length as usize)?;
            if let Some(record) = record::decode(bytes, salt) {
                return Ok(Some((offset, record.position.0)));
            }
        }
        offset += 8;
    }
    Ok(None)
}
