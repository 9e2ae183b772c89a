//! Alarms of a whole broker: by what they are set.

use node::alarms::Alarm;
use node::settings::{DiskFreeLimit, Settings};
use server::Listeners;

use crate::broker::{Broker, wait_until};

/// `disk_free_limit.relative` is of the memory that `total_memory_available_override_value` says there is.
#[test]
fn a_relative_limit_of_the_disk_follows_the_configured_memory() {
    let settings = Settings {
        memory_total_bytes: Some(1 << 60),
        memory_watermark_bytes: Some(u64::MAX),
        disk_free_limit: DiskFreeLimit::OfMemory(1000),
        ..Settings::default()
    };
    let broker = Broker::start_with(settings, Listeners::default());
    wait_until("no disk has so much room", || {
        broker.node.alarms.is_on(Alarm::Disk)
    });
    assert!(!broker.node.alarms.is_on(Alarm::Memory));
}
