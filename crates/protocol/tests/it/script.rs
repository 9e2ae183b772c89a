//! Conversations as text: what a client says, a line a method, and what it hears, a line a method or message.
//!
//! ```text
//! [1] queue.declare q durable x-message-ttl=1000
//! [1] basic.publish - q hello expiration=5     ("-" is an empty name; 100* is a body of 100 bytes)
//! [1] basic.deliver c 1 hello                  ("1!" is redelivered)
//! [1] basic.ack ..3                            (".." is multiple)
//! ```
//! Deliberately absent: whatever no test says. Strange bytes are sent as bytes.

use wire::amqp091::frame::{
    FrameKind, decode_content_header, decode_frame, encode_body, encode_content_header,
    encode_heartbeat, encode_method,
};
use wire::amqp091::method::*;
use wire::amqp091::properties::{Properties, PropertiesBuf};
use wire::amqp091::table::{FieldTable, FieldValue, Table, Value};

/// A line, cut up.
struct Words<'a> {
    line: &'a str,
    names: Vec<&'a str>,
    flags: Vec<&'a str>,
    settings: Vec<(&'a str, &'a str)>,
}

const FLAGS: [&str; 15] = [
    "durable",
    "exclusive",
    "auto-delete",
    "passive",
    "internal",
    "no-wait",
    "no-ack",
    "mandatory",
    "immediate",
    "requeue",
    "global",
    "if-unused",
    "if-empty",
    "inactive",
    "multiple",
];

impl<'a> Words<'a> {
    fn cut(line: &'a str, words: impl Iterator<Item = &'a str>) -> Self {
        let (mut names, mut flags, mut settings) = (Vec::new(), Vec::new(), Vec::new());
        for word in words {
            match word.split_once('=') {
                Some(setting) => settings.push(setting),
                None if FLAGS.contains(&word) => flags.push(word),
                None if word == "-" => names.push(""),
                None => names.push(word),
            }
        }
        Words {
            line,
            names,
            flags,
            settings,
        }
    }

    fn name(&self, index: usize) -> &'a str {
        self.names.get(index).copied().unwrap_or_default()
    }

    fn number(&self, index: usize) -> u64 {
        let word = self.name(index).trim_start_matches("..");
        word.parse()
            .unwrap_or_else(|_| panic!("no number in {}", self.line))
    }

    fn is_multiple(&self) -> bool {
        self.name(0).starts_with("..")
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.contains(&flag)
    }

    fn table(&self) -> FieldTable {
        let mut table = FieldTable::new();
        for (key, value) in &self.settings {
            table.set(*key, field(value));
        }
        table
    }
}

fn field(text: &str) -> FieldValue {
    match (text, text.parse::<i64>()) {
        ("true", _) => FieldValue::Bool(true),
        ("false", _) => FieldValue::Bool(false),
        (_, Ok(number)) => FieldValue::I64(number),
        _ => FieldValue::LongStr(text.as_bytes().to_vec()),
    }
}

/// Appends the frames of one line.
pub(crate) fn encode(out: &mut Vec<u8>, line: &str, frame_max: u32) {
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    let channel = words.next().unwrap_or_default();
    let number = channel.trim_start_matches('[').trim_end_matches(']');
    let channel: u16 = number
        .parse()
        .unwrap_or_else(|_| panic!("no channel in {line}"));
    let name = words
        .next()
        .unwrap_or_else(|| panic!("no method in {line}"));
    let words = Words::cut(line, words);
    if name == "heartbeat" {
        return encode_heartbeat(out);
    }
    if name == "basic.publish" {
        return encode_publish(out, channel, &words, frame_max);
    }
    let arguments = words.table().encode();
    let arguments = Table::validate(&arguments).expect("we encoded it");
    let method = connection_method(name, &words)
        .or_else(|| topology_method(name, &words, arguments))
        .or_else(|| basic_method(name, &words, arguments));
    let method = method.unwrap_or_else(|| panic!("no such method: {line}"));
    encode_method(out, channel, &method);
}

fn connection_method<'a>(name: &str, words: &Words<'a>) -> Option<Method<'a>> {
    Some(match name {
        "connection.close" => Method::ConnectionClose(ConnectionClose {
            reply_code: 200,
            reply_text: "bye",
            ..ConnectionClose::default()
        }),
        "connection.close-ok" => Method::ConnectionCloseOk,
        "connection.update-secret" => Method::ConnectionUpdateSecret(ConnectionUpdateSecret {
            new_secret: words.name(0).as_bytes(),
            reason: "",
        }),
        "channel.open" => Method::ChannelOpen,
        "channel.close" => Method::ChannelClose(ChannelClose::default()),
        "channel.close-ok" => Method::ChannelCloseOk,
        "channel.flow" => Method::ChannelFlow(ChannelFlow {
            active: !words.has("inactive"),
        }),
        "confirm.select" => Method::ConfirmSelect(ConfirmSelect {
            nowait: words.has("no-wait"),
        }),
        "tx.select" => Method::TxSelect,
        "tx.commit" => Method::TxCommit,
        "tx.rollback" => Method::TxRollback,
        _ => return None,
    })
}

fn topology_method<'a>(name: &str, words: &Words<'a>, arguments: Table<'a>) -> Option<Method<'a>> {
    let (first, second, third) = (words.name(0), words.name(1), words.name(2));
    let (passive, durable) = (words.has("passive"), words.has("durable"));
    let (auto_delete, nowait) = (words.has("auto-delete"), words.has("no-wait"));
    Some(match name {
        "exchange.declare" => Method::ExchangeDeclare(ExchangeDeclare {
            exchange: first,
            r#type: second,
            passive,
            durable,
            auto_delete,
            internal: words.has("internal"),
            nowait,
            arguments,
        }),
        "exchange.delete" => Method::ExchangeDelete(ExchangeDelete {
            exchange: first,
            if_unused: words.has("if-unused"),
            nowait,
        }),
        "exchange.bind" => Method::ExchangeBind(ExchangeBind {
            destination: first,
            source: second,
            routing_key: third,
            nowait,
            arguments,
        }),
        "exchange.unbind" => Method::ExchangeUnbind(ExchangeUnbind {
            destination: first,
            source: second,
            routing_key: third,
            nowait,
            arguments,
        }),
        "queue.declare" => Method::QueueDeclare(QueueDeclare {
            queue: first,
            passive,
            durable,
            exclusive: words.has("exclusive"),
            auto_delete,
            nowait,
            arguments,
        }),
        "queue.bind" => Method::QueueBind(QueueBind {
            queue: first,
            exchange: second,
            routing_key: third,
            nowait,
            arguments,
        }),
        "queue.unbind" => Method::QueueUnbind(QueueUnbind {
            queue: first,
            exchange: second,
            routing_key: third,
            arguments,
        }),
        "queue.purge" => Method::QueuePurge(QueuePurge {
            queue: first,
            nowait,
        }),
        "queue.delete" => Method::QueueDelete(QueueDelete {
            queue: first,
            if_unused: words.has("if-unused"),
            if_empty: words.has("if-empty"),
            nowait,
        }),
        _ => return None,
    })
}

fn basic_method<'a>(name: &str, words: &Words<'a>, arguments: Table<'a>) -> Option<Method<'a>> {
    let (nowait, no_ack, requeue) = (
        words.has("no-wait"),
        words.has("no-ack"),
        words.has("requeue"),
    );
    Some(match name {
        "basic.qos" => Method::BasicQos(BasicQos {
            prefetch_size: 0,
            prefetch_count: words.number(0) as u16,
            global: words.has("global"),
        }),
        "basic.consume" => Method::BasicConsume(BasicConsume {
            queue: words.name(0),
            consumer_tag: words.name(1),
            no_local: false,
            no_ack,
            exclusive: words.has("exclusive"),
            nowait,
            arguments,
        }),
        "basic.cancel" => Method::BasicCancel(BasicCancel {
            consumer_tag: words.name(0),
            nowait,
        }),
        "basic.get" => Method::BasicGet(BasicGet {
            queue: words.name(0),
            no_ack,
        }),
        "basic.ack" => Method::BasicAck(BasicAck {
            delivery_tag: words.number(0),
            multiple: words.is_multiple(),
        }),
        "basic.nack" => Method::BasicNack(BasicNack {
            delivery_tag: words.number(0),
            multiple: words.is_multiple(),
            requeue,
        }),
        "basic.reject" => Method::BasicReject(BasicReject {
            delivery_tag: words.number(0),
            requeue,
        }),
        "basic.recover" => Method::BasicRecover(BasicRecover { requeue }),
        "basic.recover-async" => Method::BasicRecoverAsync(BasicRecoverAsync { requeue }),
        _ => return None,
    })
}

fn encode_publish(out: &mut Vec<u8>, channel: u16, words: &Words<'_>, frame_max: u32) {
    let method = BasicPublish {
        exchange: words.name(0),
        routing_key: words.name(1),
        mandatory: words.has("mandatory"),
        immediate: words.has("immediate"),
    };
    encode_method(out, channel, &Method::BasicPublish(method));
    let mut properties = PropertiesBuf::default();
    let mut headers = FieldTable::new();
    for (key, value) in &words.settings {
        let text = Some((*value).to_owned());
        match *key {
            "expiration" => properties.expiration = text,
            "reply_to" => properties.reply_to = text,
            "correlation_id" => properties.correlation_id = text,
            "user_id" => properties.user_id = text,
            "priority" => properties.priority = value.parse().ok(),
            "delivery_mode" => properties.delivery_mode = value.parse().ok(),
            "CC" | "BCC" => {
                let keys = value.split(',').map(|key| FieldValue::LongStr(key.into()));
                headers.set(*key, FieldValue::Array(keys.collect()));
            }
            key => headers.set(key, field(value)),
        }
    }
    if !headers.is_empty() {
        properties.headers = Some(headers);
    }
    let body = match words.name(2).strip_suffix('*') {
        Some(count) => vec![b'x'; count.parse().expect("a number of bytes")],
        None => words.name(2).as_bytes().to_vec(),
    };
    encode_content_header(out, channel, 60, body.len() as u64, &properties.encode());
    encode_body(out, channel, &body, frame_max);
}

/// A method that announced content, and what came of it.
struct Content {
    line: String,
    properties: Vec<u8>,
    missing: u64,
    body: Vec<u8>,
}

/// Takes whole lines off what the broker wrote. Panics if it is not well formed.
pub(crate) fn decode(bytes: &mut Vec<u8>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut at = 0;
    let mut content: Option<Content> = None;
    if bytes.starts_with(b"AMQP") {
        lines.push(format!("AMQP {:?}", &bytes[4..8]));
        at = 8;
    }
    while let Some((frame, count)) = decode_frame(&bytes[at..], u32::MAX).expect("a frame of ours")
    {
        at += count;
        match frame.kind {
            FrameKind::Heartbeat => lines.push("heartbeat".into()),
            FrameKind::Method => {
                assert!(content.is_none(), "a method inside a content");
                let method = Method::decode(frame.payload).expect("a method of ours");
                let line = show(frame.channel, &method);
                match method {
                    Method::BasicDeliver(_) | Method::BasicGetOk(_) | Method::BasicReturn(_) => {
                        content = Some(Content {
                            line,
                            properties: Vec::new(),
                            missing: u64::MAX,
                            body: Vec::new(),
                        });
                    }
                    _ => lines.push(line),
                }
            }
            FrameKind::Header => {
                let header = decode_content_header(frame.payload).expect("a header of ours");
                let content = content.as_mut().expect("a method before its header");
                content.properties = header.properties.to_vec();
                content.missing = header.body_bytes;
            }
            FrameKind::Body => {
                let content = content.as_mut().expect("a header before its body");
                content.missing -= frame.payload.len() as u64;
                content.body.extend_from_slice(frame.payload);
            }
        }
        if let Some(whole) = content.take_if(|content| content.missing == 0) {
            lines.push(whole.show());
        }
    }
    assert!(content.is_none(), "a content was cut");
    bytes.drain(..at);
    lines
}

impl Content {
    fn show(&self) -> String {
        let properties = Properties::validate(&self.properties).expect("properties of ours");
        let mut line = self.line.clone();
        if let Some(reply_to) = properties.reply_to() {
            line += &format!(" reply_to={reply_to}");
        }
        if let Some(expiration) = properties.expiration() {
            line += &format!(" expiration={expiration}");
        }
        if let Some(headers) = properties.headers() {
            for (key, value) in headers.iter() {
                line += &format!(" {key}={}", show_value(&value));
            }
        }
        match self.body.len() {
            0..100 => line + " " + &String::from_utf8_lossy(&self.body),
            bytes => format!("{line} {bytes}*"),
        }
    }
}

fn show_value(value: &Value<'_>) -> String {
    match value {
        Value::LongStr(text) => String::from_utf8_lossy(text).into_owned(),
        Value::Table(table) => {
            let fields = table.iter();
            let fields: Vec<_> = fields
                .filter(|(key, _)| *key != "time")
                .map(|(key, value)| format!("{key}:{}", show_value(&value)))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(array) => {
            let values: Vec<_> = array.iter().map(|value| show_value(&value)).collect();
            format!("[{}]", values.join(","))
        }
        Value::Bool(value) => value.to_string(),
        value => value
            .as_integer()
            .map_or_else(|| format!("{value:?}"), |integer| integer.to_string()),
    }
}

fn dash(name: &str) -> &str {
    if name.is_empty() { "-" } else { name }
}

fn show(channel: u16, method: &Method<'_>) -> String {
    let name = method.name();
    let head = format!("[{channel}] {name}");
    let tag = |tag: u64, redelivered: bool| format!("{tag}{}", if redelivered { "!" } else { "" });
    let multiple = |tag: u64, multiple: bool| format!("{}{tag}", if multiple { ".." } else { "" });
    match method {
        Method::ConnectionTune(tune) => format!(
            "{head} {} {} {}",
            tune.channel_max, tune.frame_max, tune.heartbeat
        ),
        Method::ConnectionClose(close) => {
            format!("{head} {} {}", close.reply_code, close.reply_text)
        }
        Method::ConnectionBlocked(blocked) => format!("{head} {}", blocked.reason),
        Method::ChannelClose(close) => format!("{head} {} {}", close.reply_code, close.reply_text),
        Method::QueueDeclareOk(ok) => format!(
            "{head} {} {} {}",
            ok.queue, ok.message_count, ok.consumer_count
        ),
        Method::QueuePurgeOk(ok) => format!("{head} {}", ok.message_count),
        Method::QueueDeleteOk(ok) => format!("{head} {}", ok.message_count),
        Method::BasicConsumeOk(ok) => format!("{head} {}", ok.consumer_tag),
        Method::BasicCancel(cancel) => format!("{head} {}", cancel.consumer_tag),
        Method::BasicCancelOk(ok) => format!("{head} {}", ok.consumer_tag),
        Method::BasicDeliver(deliver) => format!(
            "{head} {} {}",
            deliver.consumer_tag,
            tag(deliver.delivery_tag, deliver.redelivered)
        ),
        Method::BasicGetOk(ok) => format!(
            "{head} {} left={}",
            tag(ok.delivery_tag, ok.redelivered),
            ok.message_count
        ),
        Method::BasicReturn(back) => format!(
            "{head} {} {} {} {}",
            back.reply_code,
            back.reply_text,
            dash(back.exchange),
            dash(back.routing_key)
        ),
        Method::BasicAck(ack) => format!("{head} {}", multiple(ack.delivery_tag, ack.multiple)),
        Method::BasicNack(nack) => format!("{head} {}", multiple(nack.delivery_tag, nack.multiple)),
        _ => head,
    }
}
