//! One wake-up a batch, and nothing lost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use super::*;

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn closed(code: u16) -> Event {
    Event::Close {
        code,
        text: "bye".into(),
    }
}

#[test]
fn a_batch_wakes_once() {
    let mailbox = Mailbox::new();
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut context = Context::from_waker(&waker);
    assert!(mailbox.poll_signalled(&mut context).is_pending());
    for _ in 0..10 {
        mailbox.notify(Event::AlarmsChanged);
        mailbox.wake();
    }
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert!(mailbox.poll_signalled(&mut context).is_ready());
    assert!(mailbox.poll_signalled(&mut context).is_pending());
    assert_eq!(mailbox.take_events(), [Event::AlarmsChanged]);
    mailbox.wake();
    assert_eq!(count.0.load(Ordering::SeqCst), 2);
}

#[test]
fn what_came_before_anybody_looked_is_there() {
    let mailbox = Mailbox::new();
    mailbox.notify(closed(320));
    let mut context = Context::from_waker(Waker::noop());
    assert!(mailbox.poll_signalled(&mut context).is_ready());
    assert_eq!(mailbox.take_events(), [closed(320)]);
    assert!(mailbox.take_events().is_empty());
}

#[test]
fn the_same_news_waits_once() {
    let mailbox = Mailbox::new();
    let gone = Event::ConsumerCancelled(ConsumerId(1));
    for event in [gone.clone(), closed(320), closed(320), closed(541)] {
        mailbox.notify(event);
    }
    assert_eq!(mailbox.take_events(), [gone, closed(320), closed(541)]);
}
