//! What inspecting and repairing say, for people and for programs.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use storage::{Damage, FileKind, Inspection, OwnerId, RecoveredOwner, Repaired};

use super::names::QueueNames;

/// Queues that a finding names one by one; more are counted.
const QUEUES_NAMED_MAX: usize = 16;

pub(super) fn table(inspection: &Inspection, names: &QueueNames) -> String {
    let mut out = String::new();
    out.push_str("FILES\n");
    let mut rows = vec![["name", "kind", "bytes", "used", "messages", "state"].map(str::to_owned)];
    rows.extend(inspection.files.iter().map(|file| {
        [
            file.name.escape_debug().to_string(),
            kind(file.kind).to_owned(),
            file.bytes.to_string(),
            file.used_bytes.to_string(),
            file.messages.to_string(),
            if file.damaged { "DAMAGED" } else { "sound" }.to_owned(),
        ]
    }));
    columns(&mut out, &rows);
    out.push_str("\nQUEUES\n");
    let heads = [
        "number",
        "vhost",
        "name",
        "messages",
        "bytes",
        "in segments",
        "damages",
    ];
    let mut rows = vec![heads.map(str::to_owned)];
    rows.extend(inspection.owners.iter().map(|owner| {
        let name = names.find(owner.held.owner);
        let unknown = if names.failure.is_some() {
            "?"
        } else {
            "(not in the catalog)"
        };
        [
            owner.held.owner.0.to_string(),
            name.map_or("?".to_owned(), |name| name.vhost.escape_debug().to_string()),
            name.map_or(unknown.to_owned(), |name| {
                name.name.escape_debug().to_string()
            }),
            owner.held.messages.to_string(),
            owner.held.weight.to_string(),
            owner.messages_in_segments.to_string(),
            owner.damages.to_string(),
        ]
    }));
    columns(&mut out, &rows);
    if let Some(failure) = &names.failure {
        let _ = writeln!(out, "\nThe queues' names are not known: {failure}");
    }
    state(&mut out, inspection, names);
    out
}

/// How the log was left, and what is wrong with it.
fn state(out: &mut String, inspection: &Inspection, names: &QueueNames) {
    out.push('\n');
    let ended = if inspection.clean {
        "cleanly"
    } else {
        "without a clean end"
    };
    let last = inspection.last_position.0;
    let _ = writeln!(out, "The log was left {ended}, at position {last}.");
    if let Some(torn) = &inspection.torn {
        let _ = writeln!(
            out,
            "{} has unfinished writes behind byte {}: nobody was told that they were done. A start cuts them off.",
            torn.file, torn.offset
        );
    }
    if inspection.damages.is_empty() {
        out.push_str("Every checksum of what is alive is right.\n");
    } else {
        let _ = writeln!(out, "\nDAMAGE: {} places", inspection.damages.len());
        damages(out, &inspection.damages, names);
        out.push_str("\nThe broker does not start on damage that it meets. `leveret repair` keeps what is whole.\n");
    }
}

pub(super) fn json(inspection: &Inspection, names: &QueueNames) -> Value {
    let queue = |owner: OwnerId| {
        let name = names.find(owner);
        json!({
            "number": owner.0,
            "vhost": name.map(|name| &name.vhost),
            "name": name.map(|name| &name.name),
        })
    };
    let files = inspection.files.iter().map(|file| {
        json!({
            "name": file.name,
            "kind": kind(file.kind),
            "bytes": file.bytes,
            "used_bytes": file.used_bytes,
            "messages": file.messages,
            "damaged": file.damaged,
        })
    });
    let queues = inspection.owners.iter().map(|owner| {
        let mut queue = queue(owner.held.owner);
        queue["messages"] = owner.held.messages.into();
        queue["bytes"] = owner.held.weight.into();
        queue["messages_in_segments"] = owner.messages_in_segments.into();
        queue["damages"] = owner.damages.into();
        queue
    });
    let damages = inspection.damages.iter().map(|damage| {
        let queues = damage.owners.iter().map(|owner| queue(*owner));
        json!({
            "file": damage.file,
            "offset": damage.offset,
            "what": damage.what,
            "queues": queues.collect::<Vec<_>>(),
        })
    });
    let torn = inspection.torn.as_ref();
    json!({
        "damaged": !inspection.damages.is_empty(),
        "clean": inspection.clean,
        "last_position": inspection.last_position.0,
        "torn": torn.map(|torn| json!({"file": torn.file, "offset": torn.offset})),
        "catalog_error": names.failure,
        "files": files.collect::<Vec<_>>(),
        "queues": queues.collect::<Vec<_>>(),
        "damages": damages.collect::<Vec<_>>(),
    })
}

/// The report that a repair leaves.
pub(super) fn repaired(repaired: &Repaired, names: &QueueNames, folder: &Path, now: u64) -> String {
    let mut out = String::new();
    let version = env!("CARGO_PKG_VERSION");
    let _ = writeln!(
        out,
        "leveret {version} repaired the message log, {}",
        time(now)
    );
    let _ = writeln!(out, "\nDAMAGE: {} places", repaired.damages.len());
    damages(&mut out, &repaired.damages, names);
    if let Some(torn) = &repaired.torn {
        let _ = writeln!(
            out,
            "{} had unfinished writes behind byte {}.",
            torn.file, torn.offset
        );
    }
    if repaired.manifest_lost {
        out.push_str(
            "\nThe manifest was lost, and with it which messages of segments were done with: some that were \
             acknowledged may be delivered again.\n",
        );
    }
    out.push_str("\nKEPT\n");
    let mut rows = vec![["messages", "bytes", "of"].map(str::to_owned)];
    rows.extend(repaired.owners.iter().map(|owner| kept(owner, names)));
    columns(&mut out, &rows);
    if let Some(failure) = &names.failure {
        let _ = writeln!(out, "\nThe queues' names are not known: {failure}");
    }
    let _ = writeln!(out, "\nSET ASIDE in {}", folder.display());
    for name in &repaired.set_aside {
        let _ = writeln!(out, "  {}", name.escape_debug());
    }
    out.push_str(
        "Messages that are kept count as delivered before. The folder is not used any more.\n",
    );
    out
}

fn kept(owner: &RecoveredOwner, names: &QueueNames) -> [String; 3] {
    [
        owner.messages.to_string(),
        owner.weight.to_string(),
        names.describe(owner.owner),
    ]
}

fn damages(out: &mut String, damages: &[Damage], names: &QueueNames) {
    for damage in damages {
        let _ = writeln!(
            out,
            "  {} at byte {}: {}",
            damage.file, damage.offset, damage.what
        );
        for owner in damage.owners.iter().take(QUEUES_NAMED_MAX) {
            let _ = writeln!(out, "    {}", names.describe(*owner));
        }
        match damage.owners.len() {
            0 => out.push_str("    whose messages cannot be told\n"),
            hit if hit > QUEUES_NAMED_MAX => {
                let _ = writeln!(out, "    and {} more queues", hit - QUEUES_NAMED_MAX);
            }
            _ => {}
        }
    }
}

fn kind(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Manifest => "manifest",
        FileKind::Log => "log",
        FileKind::Segment => "segment",
        FileKind::Leftover => "leftover",
        FileKind::Foreign => "foreign",
    }
}

/// Rows with their columns below each other, the first row being their names.
fn columns<const N: usize>(out: &mut String, rows: &[[String; N]]) {
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    });
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "  {cell:<width$}");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

/// `2026-11-21 08:00:00 UTC`.
fn time(seconds: u64) -> String {
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = clock(seconds);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// `20261121T080000Z`.
pub(super) fn compact_time(seconds: u64) -> String {
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = clock(seconds);
    format!("{year}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

fn clock(seconds: u64) -> (u64, u64, u64) {
    (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

/// Year, month and day of a day since 1970, in the Gregorian calendar.
fn date(mut days: u64) -> (u64, u64, u64) {
    let leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut year = 1970;
    loop {
        let length = 365 + u64::from(leap(year));
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_the_calendars() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_795_248_000, "2026-11-21 08:00:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(time(seconds), expected);
        }
        assert_eq!(compact_time(1_795_248_000), "20261121T080000Z");
    }

    #[test]
    fn columns_stand_below_each_other() {
        let mut out = String::new();
        columns(
            &mut out,
            &[["a", "bb"], ["ccc", "d"]].map(|row| row.map(str::to_owned)),
        );
        assert_eq!(out, "  a    bb\n  ccc  d\n");
    }
}
