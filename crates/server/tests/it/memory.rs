//! An allocator that counts what the broker holds: all that is allocated, but for the threads of clients.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicIsize, Ordering};

use node::settings::Settings;
use server::Listeners;

use crate::broker::{Broker, wait_until};

struct Counting;

static ALLOCATED: AtomicIsize = AtomicIsize::new(0);

thread_local! {
    static IS_CLIENT: Cell<bool> = const { Cell::new(false) };
}

fn count(bytes: isize) {
    if !IS_CLIENT.try_with(Cell::get).unwrap_or(true) {
        ALLOCATED.fetch_add(bytes, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(bytes as isize - layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// From now on this thread is a client's, and what it allocates is not the broker's.
pub(crate) fn be_a_client() {
    IS_CLIENT.with(|is_client| is_client.set(true));
}

/// Bytes that the broker has allocated and not freed.
pub(crate) fn broker_bytes() -> isize {
    ALLOCATED.load(Ordering::Relaxed)
}

/// The names of the threads that gave memory back.
static GAVE_BACK: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn give_back() {
    let name = std::thread::current().name().map(str::to_owned);
    GAVE_BACK.lock().expect("no panic").extend(name);
}

#[test]
fn workers_that_have_nothing_to_do_give_memory_back() {
    let listeners = Listeners {
        give_back_memory: Some(give_back),
        ..Listeners::default()
    };
    let _broker = Broker::start_with(Settings::default(), listeners);
    let workers = std::thread::available_parallelism().expect("a number");
    let names = (0..workers.get()).map(|index| format!("worker-{index}"));
    let expected: BTreeSet<String> = names.collect();
    for round in ["at the start", "later"] {
        wait_until(round, || *GAVE_BACK.lock().expect("no panic") == expected);
        GAVE_BACK.lock().expect("no panic").clear();
    }
}
