//! What the management API is told of the process and its machine: asked of the system each time.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use management::{Host, HostFacts, Listening};
use node::node::Node;
use protocol::amqp091::LOGIN_REFUSED_DELAY_MS;

use crate::clock::Clock;
use crate::memory;
use crate::tls::Tls;

/// The process as the management API sees it. `tls` is what is spoken on the listeners of a protocol.
pub(crate) fn host(
    node: &Arc<Node>,
    clock: Clock,
    data_dir: &Path,
    listeners: Vec<Listening>,
    tls: Vec<(&'static str, Arc<Tls>)>,
) -> Host {
    let node = Arc::clone(node);
    let directory = data_dir.to_owned();
    Host {
        now_ms: Box::new(move || clock.now_ms()),
        started_ms: clock.now_ms() - clock.uptime().as_millis() as u64,
        facts: Box::new(move || facts(&node, &directory)),
        listeners,
        certificates: Arc::new(move || {
            let shown = tls.iter().map(|(protocol, tls)| tls.certificate(protocol));
            shown.collect()
        }),
        login_refused_delay: Duration::from_millis(LOGIN_REFUSED_DELAY_MS),
        data_dir: data_dir.display().to_string(),
        config_files: Vec::new(),
    }
}

fn facts(node: &Node, data_dir: &Path) -> HostFacts {
    let space = node.log.as_ref().and_then(|log| log.space().ok());
    let machine_bytes = memory::total_bytes(node).unwrap_or(0);
    let disk_limit = node.settings.disk_free_limit;
    HostFacts {
        memory_bytes: memory::resident_bytes().unwrap_or(0),
        memory_limit_bytes: memory::limit_bytes(node).unwrap_or(0),
        disk_free_bytes: disk_free_bytes(data_dir).unwrap_or(0),
        disk_limit_bytes: space.map_or(0, |space| {
            disk_limit.bytes(space.total_bytes, machine_bytes)
        }),
        files: fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64),
        files_max: files_max(),
        threads: status("Threads:"),
        processors: std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
        context_switches: status("voluntary_ctxt_switches:")
            + status("nonvoluntary_ctxt_switches:"),
    }
}

/// A number of `/proc/self/status`; 0 where the system has no such file.
fn status(key: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|value| value.trim().parse().ok())
        .unwrap_or(0)
}

fn files_max() -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a live value of the type that the call fills in.
    match unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } {
        0 => limit.rlim_cur,
        _ => 0,
    }
}

fn disk_free_bytes(data_dir: &Path) -> Option<u64> {
    let path = std::ffi::CString::new(data_dir.as_os_str().as_bytes()).ok()?;
    // SAFETY: all-zero bytes are a value of this plain C structure.
    let mut facts: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends with a zero byte and the pointer is to a live value that the call fills in.
    match unsafe { libc::statvfs(path.as_ptr(), &raw mut facts) } {
        0 => Some(facts.f_bavail as u64 * facts.f_frsize as u64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_says_what_is_used() {
        assert!(disk_free_bytes(Path::new("/")).is_some_and(|bytes| bytes > 0));
        assert!(files_max() > 0);
        assert!(status("Threads:") > 0);
    }
}
