//! Moves bytes between one socket and its protocol state machine.
//!
//! One task a connection. Each turn it looks at everything there is: the mailbox, the timer, the socket's
//! input, the socket's output; it ends when none of them moved. Input is read into one buffer that all
//! connections of a worker share, so an idle connection owns none; only a frame that is not whole yet is kept.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use protocol::amqp091::Connection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::clock::Clock;

/// What a worker reads at once. A frame longer than this is read in pieces, into a buffer as long as it takes.
const READ_BYTES: usize = 128 * 1024;

/// Of a read longer than this, the system acknowledges the most part by itself: it is no piece that a client waits
/// with the next one for.
const PIECE_BYTES_MAX: usize = READ_BYTES / 2;

/// Turns of one connection before the others of its worker have theirs.
const TURNS_MAX: usize = 8;

/// How long a socket whose conversation is over has to close.
const CLOSE_GRACE_MS: u64 = 3000;

/// Pieces of output that are written at once.
const PIECES_MAX: usize = 128;

thread_local! {
    static READ_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct Driver<S> {
    socket: S,
    connection: Connection,
    clock: Clock,
    /// Input that was read and not used yet.
    kept: Vec<u8>,
    /// Whether feeding `kept` once more may use some of it.
    kept_is_fresh: bool,
    timer: Pin<Box<Sleep>>,
    timer_at_ms: u64,
    /// Something was written since the system was last told to acknowledge at once: it may have taken to waiting
    /// for more of that.
    answered: bool,
    /// The conversation is over and the socket is being closed; given up when the timer fires.
    closing: bool,
}

/// What a connection is driven over.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin {
    /// Acknowledges what was read at once, for there is no answer that would carry the acknowledgement. Many
    /// clients write in pieces with Nagle's algorithm on: their next piece waits for this, 40 ms otherwise.
    fn acknowledge_now(&self);

    /// Ready when what was written has left for the system: a socket that encrypts keeps some back while the
    /// system takes no more.
    fn poll_sent(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// Drives a connection until it is over.
pub(crate) async fn drive<S: Socket>(socket: S, connection: Connection, clock: Clock) {
    let mut driver = Driver {
        socket,
        connection,
        clock,
        kept: Vec::new(),
        kept_is_fresh: false,
        timer: Box::pin(sleep_until(Instant::now())),
        timer_at_ms: 0,
        answered: true,
        closing: false,
    };
    poll_fn(|context| driver.poll(context)).await;
}

impl<S: Socket> Driver<S> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        for _ in 0..TURNS_MAX {
            let mut moved = self.poll_mailbox(context);
            moved |= self.poll_timer(context);
            moved |= self.poll_input(context);
            moved |= self.poll_output(context);
            if self.connection.is_finished() {
                return self.poll_close(context);
            }
            if !moved {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// The socket closes as it is dropped; what could not be written by then is lost with the client. TLS has a
    /// last word to say, for which the client's system may have no room.
    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.closing {
            self.closing = true;
            self.set_timer(self.clock.now_ms() + CLOSE_GRACE_MS);
        }
        if Pin::new(&mut self.socket).poll_shutdown(context).is_ready() {
            return Poll::Ready(());
        }
        self.timer.as_mut().poll(context)
    }

    fn poll_mailbox(&mut self, context: &mut Context<'_>) -> bool {
        if self.connection.poll_wake(context).is_pending() {
            return false;
        }
        self.connection.handle_wake(self.clock.now_ms());
        // An alarm may be over: publishes that waited are served.
        self.kept_is_fresh = true;
        true
    }

    /// The timer is only ever moved forward; when it fires too early it is set again.
    fn poll_timer(&mut self, context: &mut Context<'_>) -> bool {
        let Some(next_ms) = self.connection.poll_timeout() else {
            return false;
        };
        if self.timer_at_ms == 0 || next_ms < self.timer_at_ms {
            self.set_timer(next_ms);
        }
        let mut moved = false;
        while self.timer.as_mut().poll(context).is_ready() {
            let now_ms = self.clock.now_ms();
            self.connection.handle_timeout(now_ms);
            moved = true;
            let Some(next_ms) = self.connection.poll_timeout() else {
                break;
            };
            self.set_timer(next_ms.max(now_ms + 1));
        }
        moved
    }

    fn set_timer(&mut self, at_ms: u64) {
        self.timer_at_ms = at_ms;
        let at = Instant::from_std(self.clock.instant_at(at_ms));
        self.timer.as_mut().reset(at);
    }

    fn poll_input(&mut self, context: &mut Context<'_>) -> bool {
        if !self.connection.wants_input() {
            return false;
        }
        if self.kept_is_fresh && !self.kept.is_empty() {
            self.kept_is_fresh = false;
            let used = self
                .connection
                .handle_input(self.clock.now_ms(), &self.kept);
            self.kept.drain(..used);
            // Who has just begun to ask an authority is looked at again, so that this is polled.
            if used > 0 || self.connection.is_asking() {
                return true;
            }
        }
        READ_BUFFER.with_borrow_mut(|buffer| self.read(context, buffer))
    }

    fn read(&mut self, context: &mut Context<'_>, buffer: &mut Vec<u8>) -> bool {
        let kept = self.kept.len();
        if buffer.len() < kept + READ_BYTES {
            buffer.resize(kept + READ_BYTES, 0);
        }
        buffer[..kept].copy_from_slice(&self.kept);
        let mut read = ReadBuf::new(&mut buffer[kept..]);
        let count = match Pin::new(&mut self.socket).poll_read(context, &mut read) {
            Poll::Pending => return false,
            Poll::Ready(Ok(())) => read.filled().len(),
            Poll::Ready(Err(_)) => 0,
        };
        let now_ms = self.clock.now_ms();
        if count == 0 {
            self.connection.hang_up(now_ms);
            return true;
        }
        let used = self
            .connection
            .handle_input(now_ms, &buffer[..kept + count]);
        let in_pieces = used < kept + count && count < PIECE_BYTES_MAX;
        if self.connection.unsent_bytes() == 0 && (self.answered || in_pieces) {
            self.socket.acknowledge_now();
            self.answered = false;
        }
        self.kept.clear();
        self.kept.extend_from_slice(&buffer[used..kept + count]);
        // If it stopped for want of room in the output, feeding it again helps once some is written.
        self.kept_is_fresh = !self.connection.wants_input();
        if self.kept.is_empty() {
            self.kept = Vec::new();
        }
        true
    }

    fn poll_output(&mut self, context: &mut Context<'_>) -> bool {
        let mut moved = false;
        loop {
            let written = match self.connection.writes_in_pieces() {
                true => self.poll_write_pieces(context),
                false => self.poll_write(context),
            };
            let Some(written) = written else {
                if let Poll::Ready(Err(_)) = self.socket.poll_sent(context) {
                    self.connection.hang_up(self.clock.now_ms());
                    return true;
                }
                return moved;
            };
            match written {
                Poll::Pending => return moved,
                Poll::Ready(Ok(count)) if count > 0 => {
                    let now_ms = self.clock.now_ms();
                    self.connection.advance(now_ms, count);
                    self.connection.deliver(now_ms);
                    self.answered = true;
                    moved = true;
                }
                Poll::Ready(_) => {
                    self.connection.hang_up(self.clock.now_ms());
                    return true;
                }
            }
        }
    }

    /// Writes what is writable; `None` if nothing is.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Option<Poll<io::Result<usize>>> {
        let writable = self.connection.writable();
        if writable.is_empty() {
            return None;
        }
        Some(Pin::new(&mut self.socket).poll_write(context, writable))
    }

    /// The same when it does not stand in one place.
    fn poll_write_pieces(&mut self, context: &mut Context<'_>) -> Option<Poll<io::Result<usize>>> {
        let mut pieces = [IoSlice::new(&[]); PIECES_MAX];
        let count = self.connection.writable_pieces(&mut pieces);
        let pieces = pieces.get(..count).filter(|pieces| !pieces.is_empty())?;
        Some(Pin::new(&mut self.socket).poll_write_vectored(context, pieces))
    }
}
