// Tutorial two: durable tasks, shared among workers that acknowledge what they have done.
'use strict'

const assert = require('node:assert/strict')
const { spawn } = require('node:child_process')
const { once } = require('node:events')
const { END, Reader, awaitLength, length, numbers, program, send, within } = require('./broker')

const QUEUE = 'javascript.task_queue'
const OWNED = { queues: [QUEUE] }

// Declares the queue and fills it, and comes back when the broker has taken all of it.
async function tasks(connection, count) {
  const channel = await connection.createConfirmChannel()
  await channel.assertQueue(QUEUE, { durable: true })
  for (const body of numbers(count)) send(channel, '', QUEUE, body, { persistent: true })
  await within(channel.waitForConfirms(), 'confirms')
  assert.equal(await length(channel, QUEUE), count)
  return channel
}

async function worker(connection, options) {
  const channel = await connection.createChannel()
  await channel.assertQueue(QUEUE, { durable: true })
  await channel.prefetch(1)
  return Reader.on(channel, QUEUE, options)
}

program('work queue: a busy worker gets nothing more, a free one all the rest', OWNED, async (connect) => {
  const boss = await tasks(await connect('boss'), 20)
  const slow = await worker(await connect('slow'))
  assert.deepEqual(await slow.take(1), ['0'])
  assert.equal(slow.messages[0].properties.deliveryMode, 2)
  const quick = await worker(await connect('quick'), { ack: true })
  assert.deepEqual(await quick.take(19), numbers(19, 1))
  assert.deepEqual(slow.bodies(), ['0'])
  slow.channel.ack(slow.messages[0])
  await within(slow.channel.cancel(slow.consumerTag), 'cancel')
  send(boss, '', QUEUE, END)
  assert.deepEqual(await quick.untilEnd(), numbers(19, 1))
  assert.ok(quick.messages.every((message) => !message.fields.redelivered))
})

program('work queue: round robin', OWNED, async (connect) => {
  const channel = await (await connect()).createChannel()
  await channel.assertQueue(QUEUE, { durable: true })
  const readers = []
  for (let n = 0; n < 3; n++) readers.push(await Reader.on(channel, QUEUE, { noAck: true }))
  for (const body of numbers(30)) send(channel, '', QUEUE, body)
  for (const [turn, reader] of readers.entries()) {
    assert.deepEqual(await reader.take(10), numbers(30).filter((n) => n % 3 === turn))
  }
})

program('work queue: redelivery when a worker dies', OWNED, async (connect) => {
  const boss = await tasks(await connect('boss'), 5)
  const dying = spawn(process.execPath, [require.resolve('./dying_worker'), QUEUE], { stdio: ['ignore', 'pipe', 'inherit'] })
  try {
    const [line] = await within(once(dying.stdout, 'data'), 'the dying worker')
    assert.equal(String(line).trim(), '0')
    assert.equal(await length(boss, QUEUE), 4)
  } finally {
    dying.kill('SIGKILL')
  }
  await awaitLength(boss, QUEUE, 5)
  const heir = await worker(await connect('heir'), { ack: true })
  assert.deepEqual(await heir.take(5), numbers(5))
  assert.deepEqual(heir.messages.map((message) => message.fields.redelivered), [true, false, false, false, false])
})

program('work queue: what a closed channel held goes back to its place', OWNED, async (connect) => {
  const connection = await connect()
  const boss = await tasks(connection, 6)
  const channel = await connection.createChannel()
  await channel.prefetch(4)
  const held = await Reader.on(channel, QUEUE)
  await held.take(4)
  channel.ack(held.messages[1])
  await held.take(5)
  await within(channel.close(), 'close')
  await awaitLength(boss, QUEUE, 5)
  const reader = await Reader.on(boss, QUEUE, { noAck: true })
  assert.deepEqual(await reader.take(5), ['0', '2', '3', '4', '5'])
  assert.deepEqual(reader.messages.map((message) => message.fields.redelivered), [true, true, true, true, false])
})

program('work queue: nack puts back or drops', OWNED, async (connect) => {
  const channel = await tasks(await connect(), 3)
  const taken = []
  for (let n = 0; n < 3; n++) taken.push(await channel.get(QUEUE))
  channel.nack(taken[1], true, true)
  channel.reject(taken[2], false)
  for (const body of numbers(2)) {
    const again = await channel.get(QUEUE, { noAck: true })
    assert.deepEqual([again.content.toString(), again.fields.redelivered], [body, true])
  }
  assert.equal(await channel.get(QUEUE), false)
})

program('work queue: a redeclare must agree', OWNED, async (connect) => {
  const channel = await (await connect()).createChannel()
  channel.on('error', () => {}) // The rejection below is this error.
  await channel.assertQueue(QUEUE, { durable: true })
  await assert.rejects(within(channel.assertQueue(QUEUE, { durable: false }), 'declare'), (error) => {
    assert.equal(error.code, 406)
    assert.match(error.message, /PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'javascript\.task_queue' in vhost '.*': received 'false' but current is 'true'/)
    return true
  })
})
