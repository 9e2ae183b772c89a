// Tutorials three to five: publish/subscribe, routing and topics.
'use strict'

const assert = require('node:assert/strict')
const { END, Reader, numbers, ownQueue, program, send } = require('./broker')

async function bound(channel, exchange, ...keys) {
  const queue = await ownQueue(channel)
  for (const key of keys) await channel.bindQueue(queue, exchange, key)
  const reader = await Reader.on(channel, queue, { noAck: true })
  reader.queue = queue
  return reader
}

program('publish/subscribe: every subscriber gets a copy', { exchanges: ['javascript.logs'] }, async (connect) => {
  const exchange = 'javascript.logs'
  const emitter = await (await connect('emitter')).createConfirmChannel()
  await emitter.assertExchange(exchange, 'fanout', { durable: false })
  send(emitter, exchange, '', 'nobody listens yet')
  await emitter.waitForConfirms()
  const early = await bound(await (await connect('early')).createChannel(), exchange, '')
  for (const line of numbers(10)) send(emitter, exchange, 'the key plays no part', line)
  await emitter.waitForConfirms()
  const late = await bound(await (await connect('late')).createChannel(), exchange, '')
  for (const line of [...numbers(10, 10), END]) send(emitter, exchange, '', line)
  assert.deepEqual(await early.untilEnd(), numbers(20))
  assert.deepEqual(await late.untilEnd(), numbers(10, 10))
  assert.equal(early.messages[0].fields.exchange, exchange)
})

program('routing: keys select', { exchanges: ['javascript.direct_logs'] }, async (connect) => {
  const exchange = 'javascript.direct_logs'
  const inbox = await (await connect('receivers')).createChannel()
  const emitter = await (await connect('emitter')).createChannel()
  await inbox.assertExchange(exchange, 'direct', { durable: false })
  const disk = await bound(inbox, exchange, 'error')
  const screen = await bound(inbox, exchange, 'info', 'warning', 'error', 'error')
  const keys = ['info', 'error', 'debug', 'warning', 'error', 'errors', '']
  for (const [n, key] of keys.entries()) send(emitter, exchange, key, String(n))
  for (const { queue } of [disk, screen]) send(emitter, '', queue, END)
  assert.deepEqual(await disk.untilEnd(), ['1', '4'])
  assert.deepEqual(await screen.untilEnd(), ['0', '1', '3', '4'])
  assert.equal(screen.messages[2].fields.routingKey, 'warning')

  await inbox.unbindQueue(disk.queue, exchange, 'error')
  await inbox.bindQueue(disk.queue, exchange, 'debug')
  send(inbox, exchange, 'error', 'unbound')
  send(inbox, exchange, 'debug', 'bound')
  assert.deepEqual((await disk.take(4)).slice(3), ['bound'])
})

program('topics: patterns select', { exchanges: ['javascript.topic_logs'] }, async (connect) => {
  const exchange = 'javascript.topic_logs'
  const inbox = await (await connect('receivers')).createChannel()
  const emitter = await (await connect('emitter')).createChannel()
  await inbox.assertExchange(exchange, 'topic', { durable: false })
  const keys = [
    'kern.info', 'kern.critical', 'cron.critical', 'kern', 'kern.a.critical', 'quick.orange.rabbit', 'lazy.orange.elephant',
    'quick.orange.fox', 'lazy.pink.rabbit', 'quick.brown.fox', 'quick.orange.new.rabbit', 'lazy.orange.new.rabbit', 'lazy', '',
    'a.z', 'a.b.c.z', 'a..z', 'a.z.b',
  ]
  const receivers = [
    [['#'], keys],
    [['kern.*'], ['kern.info', 'kern.critical']],
    [['*.critical'], ['kern.critical', 'cron.critical']],
    [['kern.*', '*.critical'], ['kern.info', 'kern.critical', 'cron.critical']],
    [['*.orange.*'], ['quick.orange.rabbit', 'lazy.orange.elephant', 'quick.orange.fox']],
    [['*.*.rabbit', 'lazy.#'], ['quick.orange.rabbit', 'lazy.orange.elephant', 'lazy.pink.rabbit', 'lazy.orange.new.rabbit', 'lazy']],
    [['a.#.z'], ['a.z', 'a.b.c.z', 'a..z']],
  ]
  const readers = []
  for (const [patterns] of receivers) readers.push(await bound(inbox, exchange, ...patterns))
  for (const key of keys) send(emitter, exchange, key, key)
  for (const { queue } of readers) send(emitter, '', queue, END)
  for (const [n, [patterns, wanted]] of receivers.entries()) {
    assert.deepEqual(await readers[n].untilEnd(), wanted, patterns.join(' '))
  }
})
