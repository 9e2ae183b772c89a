//! What was measured, as medians: a table in Markdown, and the same as a page.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::brokers::Running;
use super::scenarios::Scenario;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Leveret,
    Peer,
}

/// Figures of one phase, one a repetition.
#[derive(Debug, Default, Clone)]
struct Figures {
    per_second: Vec<f64>,
    cpu_ns: Vec<f64>,
    p50_us: Vec<f64>,
    p99_us: Vec<f64>,
    p999_us: Vec<f64>,
    max_us: Vec<f64>,
    peak_mib: Vec<f64>,
    kib_each: Vec<f64>,
}

/// A phase of a scenario.
#[derive(Debug)]
struct Row {
    title: String,
    unit: String,
    sides: BTreeMap<Side, Figures>,
}

/// How a broker started.
#[derive(Debug, Default, Clone)]
struct Start {
    ms: Vec<f64>,
    idle_mib: Vec<f64>,
}

/// See the module.
pub(super) struct Results {
    quick: bool,
    repetitions: usize,
    rows: Vec<Row>,
    names: BTreeMap<Side, String>,
    starts: BTreeMap<Side, Start>,
}

impl Results {
    pub(super) fn new(quick: bool, repetitions: usize) -> Results {
        Results {
            quick,
            repetitions,
            rows: Vec::new(),
            names: BTreeMap::new(),
            starts: BTreeMap::new(),
        }
    }

    /// Takes down how a broker started, if it was started here.
    pub(super) fn note_start(&mut self, side: Side, broker: Option<&Running>) {
        let Some((broker, started_in)) = broker.and_then(|b| Some((b, b.started_in?))) else {
            return;
        };
        let start = self.starts.entry(side).or_default();
        start.ms.push(started_in.as_secs_f64() * 1000.0);
        // Once it has come to rest.
        std::thread::sleep(Duration::from_millis(500));
        start.idle_mib.extend(broker.pid.and_then(resident_mib));
    }

    /// Adds what `leveret perf` reported.
    pub(super) fn add(&mut self, scenario: &Scenario, side: Side, report: &Value) {
        // Leveret's own greeting names the RabbitMQ whose place it takes.
        let name = match side {
            Side::Leveret => concat!("Leveret ", env!("CARGO_PKG_VERSION")),
            Side::Peer => report["broker"].as_str().unwrap_or_default(),
        };
        self.names.insert(side, name.to_owned());
        for phase in report["phases"].as_array().into_iter().flatten() {
            let name = phase["name"].as_str().unwrap_or_default();
            let title = match name {
                "run" | "churn" | "round trips" => scenario.title.to_owned(),
                name => format!("{}: {name}", scenario.title),
            };
            let figures = self.figures(title, phase["unit"].as_str().unwrap_or_default(), side);
            let mut add = |to: fn(&mut Figures) -> &mut Vec<f64>, value: &Value| {
                to(figures).extend(value.as_f64());
            };
            add(|f| &mut f.per_second, &phase["per_second"]);
            add(|f| &mut f.cpu_ns, &phase["broker"]["cpu_ns_per_unit"]);
            let latency = match &phase["latency_us"] {
                Value::Null => &phase["confirm_us"],
                latency => latency,
            };
            add(|f| &mut f.p50_us, &latency["p50"]);
            add(|f| &mut f.p99_us, &latency["p99"]);
            add(|f| &mut f.p999_us, &latency["p999"]);
            add(|f| &mut f.max_us, &latency["max"]);
            let peak = phase["broker"]["peak_bytes"].as_f64();
            figures
                .peak_mib
                .extend(peak.map(|bytes| bytes / 1024.0 / 1024.0));
            let each = phase["broker_bytes_per_unit"].as_f64();
            figures.kib_each.extend(each.map(|bytes| bytes / 1024.0));
        }
    }

    fn figures(&mut self, title: String, unit: &str, side: Side) -> &mut Figures {
        let index = match self.rows.iter().position(|row| row.title == title) {
            Some(index) => index,
            None => {
                self.rows.push(Row {
                    title,
                    unit: unit.to_owned(),
                    sides: BTreeMap::new(),
                });
                self.rows.len() - 1
            }
        };
        self.rows[index].sides.entry(side).or_default()
    }

    /// Writes `NAME.md` and `NAME.html`.
    pub(super) fn write(&self, folder: &Path, name: &str) -> Result<()> {
        std::fs::create_dir_all(folder)?;
        let write = |extension: &str, text: String| {
            let path = folder.join(format!("{name}.{extension}"));
            std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
        };
        write("md", self.markdown())?;
        write("html", self.page())
    }

    fn peer_name(&self) -> Option<&str> {
        self.names.get(&Side::Peer).map(String::as_str)
    }

    fn head(&self) -> Vec<String> {
        let leveret = self.names.get(&Side::Leveret).cloned().unwrap_or_default();
        let peer = self.peer_name().unwrap_or("no peer");
        let kind = if self.quick {
            "a quick run"
        } else {
            "a whole run"
        };
        vec![
            format!(
                "{leveret} and {peer}, {kind}, medians of {} repetitions in turn.",
                self.repetitions
            ),
            format!("Machine: {}. Client and broker share it.", machine()),
            "Each cell: Leveret / the peer. Only ratios mean much; CPU time is the broker's own."
                .to_owned(),
        ]
    }

    fn table(&self) -> (Vec<&'static str>, Vec<Vec<String>>) {
        let head = vec![
            "scenario",
            "a second",
            "ratio",
            "CPU each, ns",
            "p50, us",
            "p99, us",
            "p99.9, us",
            "max, us",
            "peak, MiB",
            "memory each, KiB",
        ];
        let mut rows: Vec<Vec<String>> = self.rows.iter().map(row_cells).collect();
        if let Some(start) = self.starts.get(&Side::Leveret) {
            let peer = self.starts.get(&Side::Peer).cloned().unwrap_or_default();
            let both = |a: &[f64], b: &[f64]| pair(median(a), median(b));
            let mut cells = vec![String::new(); head.len()];
            cells[0] = format!(
                "empty broker: start, ms: {}; memory, MiB: {}",
                both(&start.ms, &peer.ms),
                both(&start.idle_mib, &peer.idle_mib)
            );
            rows.push(cells);
        }
        (head, rows)
    }

    pub(super) fn markdown(&self) -> String {
        let (head, rows) = self.table();
        let mut text = "# Leveret beside a peer\n\nWritten by `cargo xtask bench`.\n\n".to_owned();
        text += &self.head().join("\n");
        let _ = write!(
            text,
            "\n\n| {} |\n|{}\n",
            head.join(" | "),
            " --- |".repeat(head.len())
        );
        for row in rows {
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
        text
    }

    fn page(&self) -> String {
        let (head, rows) = self.table();
        let cells = |tag: &str, cells: &[String]| {
            let cells = cells.iter().map(|cell| format!("<{tag}>{cell}</{tag}>"));
            format!("<tr>{}</tr>\n", cells.collect::<String>())
        };
        let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
        let rows: String = rows.iter().map(|row| cells("td", row)).collect();
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Leveret beside a peer</title><style>\
             body{{font:15px/1.5 system-ui,sans-serif;margin:2rem;color:#222}}table{{border-collapse:collapse}}\
             td,th{{padding:.3rem .8rem;border-bottom:1px solid #ddd;text-align:right}}\
             td:first-child,th:first-child{{text-align:left}}</style></head><body>\n<h1>Leveret beside a peer</h1>\n\
             <p>{}</p>\n<table>\n{}{rows}</table></body></html>\n",
            self.head().join("<br>\n"),
            cells("th", &head)
        )
    }
}

fn row_cells(row: &Row) -> Vec<String> {
    let none = Figures::default();
    let leveret = row.sides.get(&Side::Leveret).unwrap_or(&none);
    let peer = row.sides.get(&Side::Peer).unwrap_or(&none);
    let both = |of: fn(&Figures) -> &Vec<f64>| pair(median(of(leveret)), median(of(peer)));
    let ratio = match (median(&leveret.per_second), median(&peer.per_second)) {
        (Some(ours), Some(theirs)) if theirs > 0.0 => format!("{:.1}x", ours / theirs),
        _ => String::new(),
    };
    vec![
        format!("{}, each a {}", row.title, row.unit),
        both(|f| &f.per_second),
        ratio,
        both(|f| &f.cpu_ns),
        both(|f| &f.p50_us),
        both(|f| &f.p99_us),
        both(|f| &f.p999_us),
        both(|f| &f.max_us),
        both(|f| &f.peak_mib),
        both(|f| &f.kib_each),
    ]
}

/// `ours / theirs`, or ours alone.
fn pair(ours: Option<f64>, theirs: Option<f64>) -> String {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => format!("{} / {}", shown(ours), shown(theirs)),
        (Some(ours), None) => shown(ours),
        (None, _) => String::new(),
    }
}

/// Three digits of a small number, all whole ones of a large one, in groups.
fn shown(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        len if len.is_multiple_of(2) => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
        _ => Some(sorted[middle]),
    }
}

/// Memory of a process and of those that it started: RabbitMQ's server is a script's child.
fn resident_mib(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: f64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let children = children.split_ascii_whitespace();
    let theirs = children.filter_map(|pid| resident_mib(pid.parse().ok()?));
    Some(kib / 1024.0 + theirs.sum::<f64>())
}

/// What machine this is: processors, memory, system, compiler, commit.
fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, model)| model);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory_kib: u64 = memory
        .split_ascii_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse().ok())
        .unwrap_or(0);
    format!(
        "{processors} processors ({model}), {} GiB, {}, {}, commit {}",
        memory_kib / 1024 / 1024,
        said("uname", &["-sr"]),
        said("rustc", &["--version"]),
        said("git", &["rev-parse", "--short", "HEAD"])
    )
}

fn said(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_taken() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn numbers_are_short() {
        for (value, expected) in [(1.25, "1.2"), (99.96, "100.0"), (1234567.8, "1,234,568")] {
            assert_eq!(shown(value), expected);
        }
        assert_eq!(pair(Some(1.0), Some(200.0)), "1.0 / 200");
    }
}
