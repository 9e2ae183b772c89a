//! The memory watch: publishers are blocked while the process holds more than its part of the machine.

use std::fs;

use node::alarms::Alarm;
use node::node::Node;

/// Sets or clears the memory alarm. Does nothing where the system does not say how much there is.
pub(crate) fn check(node: &Node) {
    if let (Some(limit_bytes), Some(resident_bytes)) = (limit_bytes(node), resident_bytes()) {
        node.set_alarm(Alarm::Memory, limit_bytes < resident_bytes);
    }
}

/// Bytes of memory that this process may hold before publishers are blocked.
pub(crate) fn limit_bytes(node: &Node) -> Option<u64> {
    total_bytes(node).map(|total_bytes| node.memory.limit_bytes(total_bytes))
}

/// Bytes of memory that there are: as configured (`total_memory_available_override_value`), or what the system says.
pub(crate) fn total_bytes(node: &Node) -> Option<u64> {
    node.settings.memory_total_bytes.or_else(system_bytes)
}

/// Bytes of memory the machine, or the control group around us, has.
fn system_bytes() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim()
            .strip_suffix("kB")?
            .trim()
            .parse::<u64>()
            .ok()
            .map(|kib| kib * 1024)
    });
    let group = fs::read_to_string("/sys/fs/cgroup/memory.max");
    let group = group.ok().and_then(|text| text.trim().parse::<u64>().ok());
    match (machine, group) {
        (Some(machine), Some(group)) => Some(machine.min(group)),
        (machine, group) => machine.or(group),
    }
}

/// Bytes of memory this process holds.
pub(crate) fn resident_bytes() -> Option<u64> {
    /// Linux counts in pages; on every machine we run on they have 4 KiB.
    const PAGE_BYTES: u64 = 4096;
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE_BYTES)
}
