//! Methods: one struct each, as the specification's class chapters list them, and RabbitMQ's extensions.
//!
//! The table at the end of this file is the only place that knows a method's number, name and fields; structs,
//! decoder and encoder are made from it. Fields stand in wire order; `_` is a reserved field, `..` one after
//! the last that is kept: decoded and checked, and sent as zero or empty. Consecutive `bool`s share an octet. Deliberately absent:
//! what follows from a method (the `protocol` crate) and methods of AMQP 0-8.

use super::DecodeError;
use super::codec::{Field, Reader, Writer};
use super::table::Table;

/// Why a method frame's payload is no method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MethodError {
    /// No such class or method.
    #[error("unknown method {method} of class {class}")]
    Unknown {
        /// As sent.
        class: u16,
        /// As sent.
        method: u16,
    },
    /// Its fields are not what they must be, or it is too short to name itself: class 0, method 0.
    #[error("method {method} of class {class}: {error}")]
    Malformed {
        /// As sent.
        class: u16,
        /// As sent.
        method: u16,
        /// What is wrong.
        error: DecodeError,
    },
}

impl<'a> Method<'a> {
    /// Reads a method frame's payload: class, method and exactly its fields.
    ///
    /// # Errors
    /// If the method does not exist or its fields overrun, fall short or hold malformed text or tables.
    #[inline]
    pub fn decode(payload: &'a [u8]) -> Result<Self, MethodError> {
        let Some((&[c0, c1, m0, m1], fields)) = payload.split_first_chunk() else {
            let error = DecodeError::Truncated;
            return Err(MethodError::Malformed {
                class: 0,
                method: 0,
                error,
            });
        };
        let class = u16::from_be_bytes([c0, c1]);
        let method = u16::from_be_bytes([m0, m1]);
        match Method::decode_fields(class, method, fields) {
            Ok(Some(method)) => Ok(method),
            Ok(None) => Err(MethodError::Unknown { class, method }),
            Err(error) => Err(MethodError::Malformed {
                class,
                method,
                error,
            }),
        }
    }

    /// Appends a method frame's payload. A short string that is too long is cut.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (class, method) = self.id();
        out.extend_from_slice(&class.to_be_bytes());
        out.extend_from_slice(&method.to_be_bytes());
        self.encode_fields(&mut Writer::new(out));
    }
}

/// Reads a field that is not kept.
#[inline]
fn skip<'a, F: Field<'a>>(reader: &mut Reader<'a>) -> Result<(), DecodeError> {
    F::decode(reader).map(|_| ())
}

/// Writes a field that is not used, as zero or empty.
#[inline]
fn blank<'a, F: Field<'a> + Default>(writer: &mut Writer<'_>) {
    F::default().encode(writer);
}

/// `fields` lists the methods that say something: class, method, name, struct, `{ fields }`. `bare` lists
/// those that say nothing: class, method, name, variant, and what reserved field they have.
macro_rules! methods {
    (
        lifetime $a:lifetime;
        fields { $(
            $(#[$doc:meta])*
            $class:literal $method:literal $name:literal $variant:ident $(<$life:lifetime>)? {
                $(_: $front:ty,)*
                $($field:ident: $type:ty,)*
                $(.. $back:ty,)*
            }
        )* }
        bare { $(
            $(#[$bare_doc:meta])*
            $bare_class:literal $bare_method:literal $bare_name:literal $bare:ident $(($reserved:ty))?;
        )* }
    ) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
            #[allow(missing_docs, reason = "the specification's fields, explained there")]
            pub struct $variant $(<$life>)? {
                $(pub $field: $type,)*
            }
        )*

        /// Any method.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Method<$a> {
            $($(#[$doc])* $variant($variant $(<$life>)?),)*
            $($(#[$bare_doc])* $bare,)*
        }

        impl<$a> Method<$a> {
            /// Class and method number.
            pub fn id(&self) -> (u16, u16) {
                match self {
                    $(Method::$variant(_) => ($class, $method),)*
                    $(Method::$bare => ($bare_class, $bare_method),)*
                }
            }

            /// Class and method name, `basic.publish` for example.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Method::$variant(_) => $name,)*
                    $(Method::$bare => $bare_name,)*
                }
            }

            #[inline]
            fn decode_fields(
                class: u16,
                method: u16,
                fields: &$a [u8],
            ) -> Result<Option<Self>, DecodeError> {
                let mut reader = Reader::new(fields);
                let decoded = match (class, method) {
                    $(($class, $method) => {
                        $(skip::<$front>(&mut reader)?;)*
                        // A struct's fields are evaluated in the order they are written.
                        let fields = $variant { $($field: <$type>::decode(&mut reader)?,)* };
                        $(skip::<$back>(&mut reader)?;)*
                        Method::$variant(fields)
                    })*
                    $(($bare_class, $bare_method) => {
                        $(skip::<$reserved>(&mut reader)?;)?
                        Method::$bare
                    })*
                    _ => return Ok(None),
                };
                reader.finish()?;
                Ok(Some(decoded))
            }

            fn encode_fields(&self, writer: &mut Writer<'_>) {
                match self {
                    $(Method::$variant(fields) => {
                        $(blank::<$front>(writer);)*
                        $(fields.$field.encode(writer);)*
                        $(blank::<$back>(writer);)*
                    })*
                    $(Method::$bare => {
                        $(blank::<$reserved>(writer);)?
                    })*
                }
            }
        }

        #[cfg(test)]
        impl<$a> Method<$a> {
            /// A method of that number with fields from `samples`.
            pub(super) fn sample(
                class: u16,
                method: u16,
                samples: &mut super::codec::Samples<$a>,
            ) -> Self {
                match (class, method) {
                    $(($class, $method) => Method::$variant($variant {
                        $($field: <$type>::sample(samples),)*
                    }),)*
                    $(($bare_class, $bare_method) => Method::$bare,)*
                    _ => panic!("no method {method} of class {class}"),
                }
            }
        }

        /// Class, method and name of every method, for tests that leave none out.
        #[cfg(test)]
        pub(super) const NAMES: &[(u16, u16, &str)] = &[
            $(($class, $method, $name),)*
            $(($bare_class, $bare_method, $bare_name),)*
        ];
    };
}

methods! {
    lifetime 'a;
    fields {
        /// Server: these are my properties, choose a mechanism.
        10 10 "connection.start" ConnectionStart<'a> {
            version_major: u8,
            version_minor: u8,
            server_properties: Table<'a>,
            mechanisms: &'a [u8],
            locales: &'a [u8],
        }
        /// Client: this is who I am.
        10 11 "connection.start-ok" ConnectionStartOk<'a> {
            client_properties: Table<'a>,
            mechanism: &'a str,
            response: &'a [u8],
            locale: &'a str,
        }
        /// Server: prove it.
        10 20 "connection.secure" ConnectionSecure<'a> {
            challenge: &'a [u8],
        }
        /// Client: the proof.
        10 21 "connection.secure-ok" ConnectionSecureOk<'a> {
            response: &'a [u8],
        }
        /// Server: these are my limits. `heartbeat` is in seconds, `frame_max` in bytes.
        10 30 "connection.tune" ConnectionTune {
            channel_max: u16,
            frame_max: u32,
            heartbeat: u16,
        }
        /// Client: these are ours.
        10 31 "connection.tune-ok" ConnectionTuneOk {
            channel_max: u16,
            frame_max: u32,
            heartbeat: u16,
        }
        /// Client: to this vhost.
        10 40 "connection.open" ConnectionOpen<'a> {
            virtual_host: &'a str,
            .. &'a str,
            .. bool,
        }
        /// Either: it ends, and why.
        10 50 "connection.close" ConnectionClose<'a> {
            reply_code: u16,
            reply_text: &'a str,
            class_id: u16,
            method_id: u16,
        }
        /// Server: publish no more for now (RabbitMQ).
        10 60 "connection.blocked" ConnectionBlocked<'a> {
            reason: &'a str,
        }
        /// Client: a fresh credential (RabbitMQ).
        10 70 "connection.update-secret" ConnectionUpdateSecret<'a> {
            new_secret: &'a [u8],
            reason: &'a str,
        }

        /// Either: send contents, or stop sending.
        20 20 "channel.flow" ChannelFlow {
            active: bool,
        }
        /// The answer to [`ChannelFlow`].
        20 21 "channel.flow-ok" ChannelFlowOk {
            active: bool,
        }
        /// Either: it ends, and why.
        20 40 "channel.close" ChannelClose<'a> {
            reply_code: u16,
            reply_text: &'a str,
            class_id: u16,
            method_id: u16,
        }

        /// Client: a ticket, please. Of AMQP 0-9; old clients ask, and every ticket is 1.
        30 10 "access.request" AccessRequest<'a> {
            realm: &'a str,
            exclusive: bool,
            passive: bool,
            active: bool,
            write: bool,
            read: bool,
        }
        /// The answer to [`AccessRequest`].
        30 11 "access.request-ok" AccessRequestOk {
            ticket: u16,
        }

        /// Client: there shall be an exchange.
        40 10 "exchange.declare" ExchangeDeclare<'a> {
            _: u16,
            exchange: &'a str,
            r#type: &'a str,
            passive: bool,
            durable: bool,
            auto_delete: bool,
            internal: bool,
            nowait: bool,
            arguments: Table<'a>,
        }
        /// Client: there shall be no such exchange.
        40 20 "exchange.delete" ExchangeDelete<'a> {
            _: u16,
            exchange: &'a str,
            if_unused: bool,
            nowait: bool,
        }
        /// Client: let an exchange route to another (RabbitMQ).
        40 30 "exchange.bind" ExchangeBind<'a> {
            _: u16,
            destination: &'a str,
            source: &'a str,
            routing_key: &'a str,
            nowait: bool,
            arguments: Table<'a>,
        }
        /// Client: no longer (RabbitMQ).
        40 40 "exchange.unbind" ExchangeUnbind<'a> {
            _: u16,
            destination: &'a str,
            source: &'a str,
            routing_key: &'a str,
            nowait: bool,
            arguments: Table<'a>,
        }

        /// Client: there shall be a queue.
        50 10 "queue.declare" QueueDeclare<'a> {
            _: u16,
            queue: &'a str,
            passive: bool,
            durable: bool,
            exclusive: bool,
            auto_delete: bool,
            nowait: bool,
            arguments: Table<'a>,
        }
        /// The answer to [`QueueDeclare`].
        50 11 "queue.declare-ok" QueueDeclareOk<'a> {
            queue: &'a str,
            message_count: u32,
            consumer_count: u32,
        }
        /// Client: let an exchange route to a queue.
        50 20 "queue.bind" QueueBind<'a> {
            _: u16,
            queue: &'a str,
            exchange: &'a str,
            routing_key: &'a str,
            nowait: bool,
            arguments: Table<'a>,
        }
        /// Client: drop what is ready in a queue.
        50 30 "queue.purge" QueuePurge<'a> {
            _: u16,
            queue: &'a str,
            nowait: bool,
        }
        /// The answer to [`QueuePurge`].
        50 31 "queue.purge-ok" QueuePurgeOk {
            message_count: u32,
        }
        /// Client: there shall be no such queue.
        50 40 "queue.delete" QueueDelete<'a> {
            _: u16,
            queue: &'a str,
            if_unused: bool,
            if_empty: bool,
            nowait: bool,
        }
        /// The answer to [`QueueDelete`].
        50 41 "queue.delete-ok" QueueDeleteOk {
            message_count: u32,
        }
        /// Client: an exchange shall no longer route to a queue. It has no `nowait`.
        50 50 "queue.unbind" QueueUnbind<'a> {
            _: u16,
            queue: &'a str,
            exchange: &'a str,
            routing_key: &'a str,
            arguments: Table<'a>,
        }

        /// Client: how much may be unacknowledged.
        60 10 "basic.qos" BasicQos {
            prefetch_size: u32,
            prefetch_count: u16,
            global: bool,
        }
        /// Client: deliver to me.
        60 20 "basic.consume" BasicConsume<'a> {
            _: u16,
            queue: &'a str,
            consumer_tag: &'a str,
            no_local: bool,
            no_ack: bool,
            exclusive: bool,
            nowait: bool,
            arguments: Table<'a>,
        }
        /// The answer to [`BasicConsume`].
        60 21 "basic.consume-ok" BasicConsumeOk<'a> {
            consumer_tag: &'a str,
        }
        /// Either: no more deliveries. From the server it is RabbitMQ's.
        60 30 "basic.cancel" BasicCancel<'a> {
            consumer_tag: &'a str,
            nowait: bool,
        }
        /// The answer to [`BasicCancel`].
        60 31 "basic.cancel-ok" BasicCancelOk<'a> {
            consumer_tag: &'a str,
        }
        /// Client: a message; its content follows.
        60 40 "basic.publish" BasicPublish<'a> {
            _: u16,
            exchange: &'a str,
            routing_key: &'a str,
            mandatory: bool,
            immediate: bool,
        }
        /// Server: a message that no queue took; its content follows.
        60 50 "basic.return" BasicReturn<'a> {
            reply_code: u16,
            reply_text: &'a str,
            exchange: &'a str,
            routing_key: &'a str,
        }
        /// Server: a message for a consumer; its content follows.
        60 60 "basic.deliver" BasicDeliver<'a> {
            consumer_tag: &'a str,
            delivery_tag: u64,
            redelivered: bool,
            exchange: &'a str,
            routing_key: &'a str,
        }
        /// Client: one message, please.
        60 70 "basic.get" BasicGet<'a> {
            _: u16,
            queue: &'a str,
            no_ack: bool,
        }
        /// The answer to [`BasicGet`]; its content follows.
        60 71 "basic.get-ok" BasicGetOk<'a> {
            delivery_tag: u64,
            redelivered: bool,
            exchange: &'a str,
            routing_key: &'a str,
            message_count: u32,
        }
        /// Client: done with it. Server: it is safe.
        60 80 "basic.ack" BasicAck {
            delivery_tag: u64,
            multiple: bool,
        }
        /// Client: not this one.
        60 90 "basic.reject" BasicReject {
            delivery_tag: u64,
            requeue: bool,
        }
        /// Client: deliver the unacknowledged again, and do not answer.
        60 100 "basic.recover-async" BasicRecoverAsync {
            requeue: bool,
        }
        /// Client: deliver the unacknowledged again.
        60 110 "basic.recover" BasicRecover {
            requeue: bool,
        }
        /// Client: not these. Server: it was not taken (RabbitMQ).
        60 120 "basic.nack" BasicNack {
            delivery_tag: u64,
            multiple: bool,
            requeue: bool,
        }

        /// Client: confirm what I publish (RabbitMQ).
        85 10 "confirm.select" ConfirmSelect {
            nowait: bool,
        }
    }
    bare {
        /// Server: the vhost is open.
        10 41 "connection.open-ok" ConnectionOpenOk(&str);
        /// The answer to [`ConnectionClose`].
        10 51 "connection.close-ok" ConnectionCloseOk;
        /// Server: publish again (RabbitMQ).
        10 61 "connection.unblocked" ConnectionUnblocked;
        /// The answer to [`ConnectionUpdateSecret`] (RabbitMQ).
        10 71 "connection.update-secret-ok" ConnectionUpdateSecretOk;

        /// Client: open a channel.
        20 10 "channel.open" ChannelOpen(&str);
        /// Server: it is open.
        20 11 "channel.open-ok" ChannelOpenOk(&[u8]);
        /// The answer to [`ChannelClose`].
        20 41 "channel.close-ok" ChannelCloseOk;

        /// The answer to [`ExchangeDeclare`].
        40 11 "exchange.declare-ok" ExchangeDeclareOk;
        /// The answer to [`ExchangeDelete`].
        40 21 "exchange.delete-ok" ExchangeDeleteOk;
        /// The answer to [`ExchangeBind`] (RabbitMQ).
        40 31 "exchange.bind-ok" ExchangeBindOk;
        /// The answer to [`ExchangeUnbind`] (RabbitMQ), and it is 51 indeed.
        40 51 "exchange.unbind-ok" ExchangeUnbindOk;

        /// The answer to [`QueueBind`].
        50 21 "queue.bind-ok" QueueBindOk;
        /// The answer to [`QueueUnbind`].
        50 51 "queue.unbind-ok" QueueUnbindOk;

        /// The answer to [`BasicQos`].
        60 11 "basic.qos-ok" BasicQosOk;
        /// The answer to [`BasicGet`] of an empty queue.
        60 72 "basic.get-empty" BasicGetEmpty(&str);
        /// The answer to [`BasicRecover`].
        60 111 "basic.recover-ok" BasicRecoverOk;

        /// The answer to [`ConfirmSelect`] (RabbitMQ).
        85 11 "confirm.select-ok" ConfirmSelectOk;

        /// Client: begin transactions on this channel.
        90 10 "tx.select" TxSelect;
        /// The answer to tx.select.
        90 11 "tx.select-ok" TxSelectOk;
        /// Client: let what was published and acknowledged take effect.
        90 20 "tx.commit" TxCommit;
        /// The answer to tx.commit.
        90 21 "tx.commit-ok" TxCommitOk;
        /// Client: forget it.
        90 30 "tx.rollback" TxRollback;
        /// The answer to tx.rollback.
        90 31 "tx.rollback-ok" TxRollbackOk;
    }
}
