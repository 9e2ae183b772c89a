// Tutorial one: one sender, one queue, one receiver.
'use strict'

const assert = require('node:assert/strict')
const { END, Reader, length, numbers, ownQueue, program, send } = require('./broker')

const QUEUE = 'javascript.hello'

program('hello world', { queues: [QUEUE] }, async (connect) => {
  const sender = await (await connect('sender')).createChannel()
  await sender.assertQueue(QUEUE, { durable: false })
  sender.sendToQueue(QUEUE, Buffer.from('Hello World!'))
  sender.sendToQueue(QUEUE, Buffer.from(END))

  const receiver = await (await connect('receiver')).createChannel()
  assert.equal((await receiver.assertQueue(QUEUE, { durable: false })).queue, QUEUE)
  const reader = await Reader.on(receiver, QUEUE, { noAck: true })
  assert.deepEqual(await reader.untilEnd(), ['Hello World!'])
  const { consumerTag, deliveryTag, exchange, redelivered, routingKey } = reader.messages[0].fields
  assert.deepEqual(
    { consumerTag, deliveryTag, exchange, redelivered, routingKey },
    { consumerTag: reader.consumerTag, deliveryTag: 1, exchange: '', redelivered: false, routingKey: QUEUE }
  )
  assert.equal(await length(receiver, QUEUE), 0)
})

program('hello world: many messages keep their order and sizes', {}, async (connect) => {
  const channel = await (await connect()).createChannel()
  const queue = await ownQueue(channel)
  assert.match(queue, /^amq\.gen-/)
  const sent = [...[0, 1, 4088, 131064, 131065, 400_000].map((size) => 'x'.repeat(size)), ...numbers(1000)]
  const reader = await Reader.on(channel, queue, { noAck: true })
  for (const body of [...sent, END]) send(channel, '', queue, body)
  assert.deepEqual(await reader.untilEnd(), sent)
})

program('hello world: properties arrive as sent', {}, async (connect) => {
  const channel = await (await connect()).createChannel()
  const queue = await ownQueue(channel)
  const sent = {
    headers: {
      text: 'täxt', yes: true, nothing: null, byte: -5, short: 300, int: -70000, long: 2 ** 40, half: 0.5, bytes: Buffer.from([0, 255]),
      list: [1, 'two', { three: 3 }], table: { a: { b: 'c' } }, when: { '!': 'timestamp', value: 1_700_000_000 },
      money: { '!': 'decimal', value: { digits: 314, places: 2 } },
    },
    contentType: 'application/json', contentEncoding: 'utf-8', deliveryMode: 2, priority: 3, correlationId: 'c-1',
    replyTo: 'somewhere', expiration: '60000', messageId: 'm-1', timestamp: 1_700_000_000, type: 'greeting',
    userId: 'guest', appId: 'interop',
  }
  send(channel, '', queue, '{}', sent)
  const message = await channel.get(queue, { noAck: true })
  const { clusterId, ...found } = message.properties
  assert.equal(clusterId, undefined)
  assert.deepEqual(found, sent)
  assert.equal(await channel.get(queue), false)
})
