//! The allocator, and how it is made to give memory back.

use mimalloc::MiMalloc;

/// Many small messages are freed on another thread than the one that made them; this allocator is good at it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Gives back what the calling thread has had and does not need. Much of it has been freed by other threads: only the
/// owner can see that a page is empty, and it looks when it allocates. One that has nothing to do would keep it all.
pub(crate) fn give_back() {
    // SAFETY: it may be called at any time, on any thread; `false` only looks at what is free.
    unsafe { libmimalloc_sys::mi_collect(false) }
}
