//! A socket with its read buffer, for those who carry the load.

use anyhow::{Result, bail};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Read at once. A frame of [`crate::client::FRAME_BYTES_MAX`] fits in.
const READ_BYTES: usize = 256 * 1024;

/// What an idle link's buffer holds at least: thousands of links must be cheap.
const READ_BYTES_FIRST: usize = 4 * 1024;

/// See the module.
pub(crate) struct Link {
    pub(crate) socket: TcpStream,
    input: Vec<u8>,
    start: usize,
    end: usize,
}

impl Link {
    /// A link that has read `input` already.
    pub(crate) fn new(socket: TcpStream, mut input: Vec<u8>) -> Link {
        let end = input.len();
        input.resize(end.max(READ_BYTES_FIRST), 0);
        Link {
            socket,
            input,
            start: 0,
            end,
        }
    }

    /// Bytes that were read and not used.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.input[self.start..self.end]
    }

    /// `count` bytes of [`Link::unread`] are done with.
    pub(crate) fn use_up(&mut self, count: usize) {
        self.start += count;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Reads what is there. `false` when nothing is.
    ///
    /// # Errors
    /// When the broker hung up.
    pub(crate) fn try_read(&mut self) -> Result<bool> {
        if 0 < self.start {
            self.input.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.input.len() {
            // It was filled by one read: there is more where that came from.
            let larger = (self.input.len() * 4).clamp(READ_BYTES_FIRST, READ_BYTES);
            self.input
                .resize(larger.max(self.end + READ_BYTES_FIRST), 0);
        }
        match self.socket.try_read(&mut self.input[self.end..]) {
            Ok(0) => bail!("the broker closed the connection"),
            Ok(count) => {
                self.end += count;
                Ok(true)
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes as much as goes now; how much that was.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> Result<usize> {
        match self.socket.try_write(bytes) {
            Ok(count) => Ok(count),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until there is something to read, or room to write if `writing`.
    pub(crate) async fn ready(&self, writing: bool) -> Result<()> {
        let interest = if writing {
            Interest::READABLE | Interest::WRITABLE
        } else {
            Interest::READABLE
        };
        self.socket.ready(interest).await?;
        Ok(())
    }
}
