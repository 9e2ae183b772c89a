//! What a load runs over: queues, an exchange and its bindings; declared before, deleted after.

use anyhow::Result;
use wire::amqp091::method::{
    BasicConsume, BasicQos, ExchangeDeclare, ExchangeDelete, Method, QueueBind, QueueDeclare,
    QueueDelete,
};
use wire::amqp091::table::Table;

use crate::client::Client;

/// Answers that are open while a long list is declared.
const PIPELINED_MAX: usize = 256;

pub(crate) const CHANNEL_OPEN_OK: (u16, u16) = (20, 11);
pub(crate) const DECLARE_OK: (u16, u16) = (50, 11);
pub(crate) const BIND_OK: (u16, u16) = (50, 21);
pub(crate) const DELETE_OK: (u16, u16) = (50, 41);
const EXCHANGE_DECLARE_OK: (u16, u16) = (40, 11);
const EXCHANGE_DELETE_OK: (u16, u16) = (40, 21);
const QOS_OK: (u16, u16) = (60, 11);
const CONFIRM_OK: (u16, u16) = (85, 11);

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Topology {
    pub(crate) queues: Vec<String>,
    pub(crate) durable: bool,
    /// Encoded.
    pub(crate) queue_arguments: Vec<u8>,
    /// Empty: the default exchange, and nothing is bound.
    pub(crate) exchange: String,
    pub(crate) exchange_kind: String,
    /// The exchange is there and is left alone.
    pub(crate) exchange_exists: bool,
    /// The queues are there and are left alone.
    pub(crate) queues_exist: bool,
    /// Bindings: index of the queue, routing key.
    pub(crate) bindings: Vec<(usize, String)>,
}

/// Opens channel 1.
pub(crate) async fn open_channel(client: &mut Client) -> Result<()> {
    client
        .call(1, &Method::ChannelOpen, CHANNEL_OPEN_OK)
        .await?;
    Ok(())
}

/// Says all `methods`, some at a time, and awaits an `expected` for each.
pub(crate) async fn call_all(
    client: &mut Client,
    count: usize,
    expected: (u16, u16),
    say: impl Fn(usize, &mut Client),
) -> Result<()> {
    let mut said = 0;
    for answered in 0..count {
        if said == answered {
            let until = (said + PIPELINED_MAX).min(count);
            (said..until).for_each(|index| say(index, client));
            said = until;
        }
        client.await_method(expected).await?;
    }
    Ok(())
}

/// `queue.declare` of this queue.
pub(crate) fn declare_of<'a>(queue: &'a str, durable: bool, arguments: &'a [u8]) -> Method<'a> {
    Method::QueueDeclare(QueueDeclare {
        queue,
        durable,
        arguments: Table::validate(arguments).expect("we encoded it"),
        ..QueueDeclare::default()
    })
}

/// `queue.delete` of this queue.
pub(crate) fn delete_of(queue: &str) -> Method<'_> {
    Method::QueueDelete(QueueDelete {
        queue,
        ..QueueDelete::default()
    })
}

impl Topology {
    /// Declares it all, on channel 1.
    pub(crate) async fn declare(&self, client: &mut Client) -> Result<()> {
        if !self.queues_exist {
            call_all(client, self.queues.len(), DECLARE_OK, |index, client| {
                let queue = &self.queues[index];
                let declare = declare_of(queue, self.durable, &self.queue_arguments);
                client.push(1, &declare);
            })
            .await?;
        }
        if !self.exchange.is_empty() && !self.exchange_exists {
            let declare = ExchangeDeclare {
                exchange: &self.exchange,
                r#type: &self.exchange_kind,
                durable: self.durable,
                ..ExchangeDeclare::default()
            };
            let declare = Method::ExchangeDeclare(declare);
            client.call(1, &declare, EXCHANGE_DECLARE_OK).await?;
        }
        call_all(client, self.bindings.len(), BIND_OK, |index, client| {
            let (queue, routing_key) = &self.bindings[index];
            let bind = QueueBind {
                queue: &self.queues[*queue],
                exchange: &self.exchange,
                routing_key,
                ..QueueBind::default()
            };
            client.push(1, &Method::QueueBind(bind));
        })
        .await
    }

    /// Deletes what was declared.
    pub(crate) async fn delete(&self, client: &mut Client) -> Result<()> {
        if !self.exchange.is_empty() && !self.exchange_exists {
            let delete = Method::ExchangeDelete(ExchangeDelete {
                exchange: &self.exchange,
                ..ExchangeDelete::default()
            });
            client.call(1, &delete, EXCHANGE_DELETE_OK).await?;
        }
        if self.queues_exist {
            return Ok(());
        }
        call_all(client, self.queues.len(), DELETE_OK, |index, client| {
            client.push(1, &delete_of(&self.queues[index]));
        })
        .await
    }

    /// Ready messages of all queues.
    pub(crate) async fn ready_len(&self, client: &mut Client) -> Result<u64> {
        let mut sum = 0;
        for queue in &self.queues {
            let declare = Method::QueueDeclare(QueueDeclare {
                queue,
                passive: true,
                ..QueueDeclare::default()
            });
            let answer = client.call(1, &declare, DECLARE_OK).await?;
            sum += u64::from(answer.count);
        }
        Ok(sum)
    }
}

/// Subscribes channel 1 to these queues. Once it returns, the broker knows all of them.
pub(crate) async fn subscribe(
    client: &mut Client,
    queues: &[&str],
    prefetch: u16,
    no_ack: bool,
    arguments: &[u8],
) -> Result<()> {
    let qos = Method::BasicQos(BasicQos {
        prefetch_size: 0,
        prefetch_count: prefetch,
        global: false,
    });
    client.call(1, &qos, QOS_OK).await?;
    for (index, queue) in queues.iter().enumerate() {
        let consumer_tag = format!("c{index}");
        let consume = Method::BasicConsume(BasicConsume {
            queue,
            consumer_tag: &consumer_tag,
            no_ack,
            nowait: true,
            arguments: Table::validate(arguments).expect("we encoded it"),
            ..BasicConsume::default()
        });
        client.push(1, &consume);
    }
    // An answer to what came after them says that they were heard.
    client.call(1, &qos, QOS_OK).await?;
    Ok(())
}

/// Puts channel 1 into confirm mode.
pub(crate) async fn select_confirms(client: &mut Client) -> Result<()> {
    let select = wire::amqp091::method::ConfirmSelect { nowait: false };
    client
        .call(1, &Method::ConfirmSelect(select), CONFIRM_OK)
        .await?;
    Ok(())
}
