//! A plain AMQP client: says methods, waits for their answers. Sets loads up, and is itself the load where
//! connections, channels and declarations are measured.
//!
//! Answers come in the order of the questions, so that any number may be asked before the first answer is
//! awaited. Content that comes in between is kept for the one who reads deliveries.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wire::amqp091::PROTOCOL_HEADER;
use wire::amqp091::frame::{Frame, FrameKind, decode_frame, encode_method};
use wire::amqp091::method::{
    ConnectionClose, ConnectionOpen, ConnectionStartOk, ConnectionTuneOk, Method,
};
use wire::amqp091::table::{FieldTable, FieldValue, Table};

use crate::link::Link;
use crate::uri::Uri;

/// The largest frame that we offer.
pub(crate) const FRAME_BYTES_MAX: u32 = 128 * 1024;

/// How long a broker may take for an answer. Declaring at a busy broker is slow, but not this slow.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// Read at once.
const READ_BYTES: usize = 16 * 1024;

/// What is of interest of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Class and method.
    pub(crate) id: (u16, u16),
    /// Messages, of `queue.declare-ok`.
    pub(crate) count: u32,
}

/// See the module.
pub(crate) struct Client {
    socket: TcpStream,
    input: Vec<u8>,
    used: usize,
    output: Vec<u8>,
    /// Frames of deliveries that came before an answer.
    kept: Vec<u8>,
    frame_bytes_max: u32,
    /// What the broker calls itself.
    pub(crate) product: String,
}

impl Client {
    /// Connects, logs in and opens the vhost.
    pub(crate) async fn connect(uri: &Uri) -> Result<Client> {
        let connecting = TcpStream::connect((uri.host.as_str(), uri.port));
        let socket = timeout(ANSWER_TIMEOUT, connecting)
            .await
            .context("the broker does not accept")?
            .with_context(|| format!("cannot connect to {}:{}", uri.host, uri.port))?;
        socket.set_nodelay(true)?;
        let mut client = Client {
            socket,
            input: Vec::new(),
            used: 0,
            output: PROTOCOL_HEADER.to_vec(),
            kept: Vec::new(),
            frame_bytes_max: FRAME_BYTES_MAX,
            product: String::new(),
        };
        client.open(uri).await?;
        Ok(client)
    }

    async fn open(&mut self, uri: &Uri) -> Result<()> {
        self.await_method((10, 10)).await?;
        let response = format!("\0{}\0{}", uri.user, uri.password);
        let properties = client_properties();
        let start_ok = ConnectionStartOk {
            client_properties: Table::validate(&properties).expect("we encoded it"),
            mechanism: "PLAIN",
            response: response.as_bytes(),
            locale: "en_US",
        };
        self.push(0, &Method::ConnectionStartOk(start_ok));
        self.await_method((10, 30))
            .await
            .context("logging in (is the password right?)")?;
        let tune_ok = ConnectionTuneOk {
            channel_max: 2047,
            frame_max: self.frame_bytes_max,
            // Silence is not a failure here: an idle connection is there to be idle.
            heartbeat: 0,
        };
        self.push(0, &Method::ConnectionTuneOk(tune_ok));
        let open = ConnectionOpen {
            virtual_host: &uri.vhost,
        };
        self.push(0, &Method::ConnectionOpen(open));
        self.await_method((10, 41)).await?;
        Ok(())
    }

    /// Largest frame, as agreed.
    pub(crate) fn frame_bytes_max(&self) -> u32 {
        self.frame_bytes_max
    }

    /// Says a method once [`Client::flush`] or an awaited answer comes.
    pub(crate) fn push(&mut self, channel: u16, method: &Method<'_>) {
        encode_method(&mut self.output, channel, method);
    }

    /// Writes what was said.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        self.socket.write_all(&self.output).await?;
        self.output.clear();
        Ok(())
    }

    /// Says a method and awaits the answer `expected`.
    pub(crate) async fn call(
        &mut self,
        channel: u16,
        method: &Method<'_>,
        expected: (u16, u16),
    ) -> Result<Answer> {
        self.push(channel, method);
        self.await_method(expected)
            .await
            .with_context(|| method.name())
    }

    /// The next method, which must be `expected`.
    pub(crate) async fn await_method(&mut self, expected: (u16, u16)) -> Result<Answer> {
        let answer = self.next().await?;
        if answer.id != expected {
            bail!(
                "the broker said {}.{} where {}.{} was expected",
                answer.id.0,
                answer.id.1,
                expected.0,
                expected.1
            );
        }
        Ok(answer)
    }

    /// The next method that is an answer.
    pub(crate) async fn next(&mut self) -> Result<Answer> {
        if !self.output.is_empty() {
            self.flush().await?;
        }
        loop {
            while let Some(answer) = self.take()? {
                if let Some(answer) = answer {
                    return Ok(answer);
                }
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<()> {
        self.input.drain(..self.used);
        self.used = 0;
        self.input.reserve(READ_BYTES);
        let reading = self.socket.read_buf(&mut self.input);
        let count = timeout(ANSWER_TIMEOUT, reading)
            .await
            .context("the broker does not answer")??;
        if count == 0 {
            bail!("the broker closed the connection without a word");
        }
        Ok(())
    }

    /// Takes a frame off the input: `None` if none is whole, `Some(None)` if it was no answer.
    fn take(&mut self) -> Result<Option<Option<Answer>>> {
        let rest = &self.input[self.used..];
        if rest.starts_with(b"AMQP") {
            bail!("the broker does not speak AMQP 0-9-1");
        }
        let Some((frame, bytes)) = decode_frame(rest, 0)? else {
            return Ok(None);
        };
        let whole = &rest[..bytes];
        self.used += bytes;
        match frame.kind {
            FrameKind::Heartbeat => Ok(Some(None)),
            FrameKind::Header | FrameKind::Body => {
                self.kept.extend_from_slice(whole);
                Ok(Some(None))
            }
            FrameKind::Method => {
                let (answer, keep) =
                    read_answer(&frame, &mut self.product, &mut self.frame_bytes_max)?;
                if keep {
                    self.kept.extend_from_slice(whole);
                }
                Ok(Some(answer))
            }
        }
    }

    /// Says good-bye and waits for the answer.
    pub(crate) async fn close(mut self) -> Result<()> {
        self.push(0, &good_bye());
        self.flush().await?;
        loop {
            match self.next().await {
                Ok(answer) if answer.id == (10, 51) => return Ok(()),
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The socket, for one who reads deliveries or publishes; with what was read already.
    pub(crate) fn into_link(self) -> Link {
        let mut input = self.kept;
        input.extend_from_slice(&self.input[self.used..]);
        Link::new(self.socket, input)
    }
}

/// What a client that is done says.
pub(crate) fn good_bye() -> Method<'static> {
    Method::ConnectionClose(ConnectionClose {
        reply_code: 200,
        reply_text: "bye",
        ..ConnectionClose::default()
    })
}

/// The answer in a method frame, and whether the frame is part of a delivery.
fn read_answer(
    frame: &Frame<'_>,
    product: &mut String,
    frame_bytes_max: &mut u32,
) -> Result<(Option<Answer>, bool)> {
    let method = Method::decode(frame.payload)?;
    let mut answer = Answer {
        id: method.id(),
        count: 0,
    };
    match method {
        Method::BasicDeliver(_) | Method::BasicReturn(_) | Method::BasicAck(_) => {
            return Ok((None, true));
        }
        Method::ConnectionBlocked(_) | Method::ConnectionUnblocked => return Ok((None, false)),
        Method::ConnectionClose(close) => {
            bail!(
                "the broker closed the connection: {} {}",
                close.reply_code,
                close.reply_text
            )
        }
        Method::ChannelClose(close) => {
            bail!(
                "the broker closed the channel: {} {}",
                close.reply_code,
                close.reply_text
            )
        }
        Method::ConnectionStart(start) => {
            let text = |name| match start.server_properties.find(name) {
                Some(value) => value.as_str().unwrap_or_default().to_owned(),
                None => String::new(),
            };
            *product = format!("{} {}", text("product"), text("version"));
        }
        // 0 is no limit.
        Method::ConnectionTune(tune) if tune.frame_max != 0 => {
            *frame_bytes_max = tune.frame_max.min(FRAME_BYTES_MAX);
        }
        Method::QueueDeclareOk(declared) => answer.count = declared.message_count,
        _ => {}
    }
    Ok((Some(answer), false))
}

fn client_properties() -> Vec<u8> {
    let mut capabilities = FieldTable::new();
    for name in [
        "publisher_confirms",
        "basic.nack",
        "connection.blocked",
        "consumer_cancel_notify",
        "authentication_failure_close",
    ] {
        capabilities.set(name, true);
    }
    let mut properties = FieldTable::new();
    properties.set("product", "leveret perf");
    properties.set("version", env!("CARGO_PKG_VERSION"));
    properties.set("capabilities", FieldValue::Table(capabilities));
    properties.encode()
}
