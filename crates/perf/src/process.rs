//! CPU time and memory of a process and its children, as the system counts them.

use std::fs;
use std::time::Duration;

/// The kernel's clock ticks a second in `/proc`: the same on every Linux that people run.
const TICKS_PER_S: u64 = 100;

/// How a process stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// In user and system mode, of all threads.
    pub(crate) cpu: Duration,
    /// In memory now.
    pub(crate) resident_bytes: u64,
    /// In memory at its peak.
    pub(crate) peak_bytes: u64,
}

/// The usage of `pid` and everything it started. `None` if there is no such process.
pub(crate) fn usage(pid: u32) -> Option<Usage> {
    let mut sum = Usage::default();
    let mut found = false;
    let mut pids = vec![pid];
    while let Some(pid) = pids.pop() {
        let Some(usage) = usage_of_one(pid) else {
            continue;
        };
        found |= true;
        sum.cpu += usage.cpu;
        sum.resident_bytes += usage.resident_bytes;
        sum.peak_bytes += usage.peak_bytes;
        pids.extend(children(pid));
    }
    found.then_some(sum)
}

/// The usage of this very process.
pub(crate) fn own_usage() -> Usage {
    usage_of_one(std::process::id()).unwrap_or_default()
}

fn usage_of_one(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(Usage {
        cpu: parse_cpu(&stat)?,
        resident_bytes: parse_kib(&status, "VmRSS:"),
        peak_bytes: parse_kib(&status, "VmHWM:"),
    })
}

/// Fields 14 and 15 of `stat`. The second field is the program's name in brackets, which may hold anything.
fn parse_cpu(stat: &str) -> Option<Duration> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 1000 / TICKS_PER_S))
}

fn parse_kib(status: &str, name: &str) -> u64 {
    let line = status.lines().find(|line| line.starts_with(name));
    let number = line.and_then(|line| line.split_ascii_whitespace().nth(1));
    1024 * number.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0)
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let lists = threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| {
            let pids: Vec<u32> = list
                .split_ascii_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect();
            pids
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_hides_no_field() {
        let stat = "1 (a) b) S 2 3 4 5 6 7 8 9 10 11 150 50 1 2 3";
        assert_eq!(parse_cpu(stat), Some(Duration::from_secs(2)));
        assert_eq!(parse_cpu("nonsense"), None);
    }

    #[test]
    fn this_process_has_memory() {
        let usage = usage(std::process::id()).expect("we run");
        assert!(0 < usage.resident_bytes && usage.resident_bytes <= usage.peak_bytes);
    }
}
