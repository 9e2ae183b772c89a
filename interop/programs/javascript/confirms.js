// Publisher confirms: one by one, in batches, and as they come.
'use strict'

const assert = require('node:assert/strict')
const { length, numbers, program, within } = require('./broker')

const QUEUE = 'javascript.confirms'
const OWNED = { queues: [QUEUE] }

async function confirmer(connect, options = { durable: true }) {
  const channel = await (await connect('publisher')).createConfirmChannel()
  await channel.assertQueue(QUEUE, options)
  return channel
}

// Publishes, and promises true where the broker acknowledges and false where it refuses.
function publish(channel, key, body, options = { persistent: true }) {
  const confirmed = new Promise((resolve) => {
    channel.publish('', key, Buffer.from(body), options, (refusal) => resolve(refusal === null))
  })
  return within(confirmed, `confirm of ${body}`)
}

async function assertStored(channel, bodies) {
  assert.equal(await length(channel, QUEUE), bodies.length)
  for (const body of bodies) {
    assert.equal(String((await channel.get(QUEUE, { noAck: true })).content), body)
  }
}

program('confirms one by one', OWNED, async (connect) => {
  const channel = await confirmer(connect)
  for (const body of numbers(100)) {
    assert.equal(await publish(channel, QUEUE, body), true)
    assert.equal(await length(channel, QUEUE), Number(body) + 1)
  }
  await assertStored(channel, numbers(100))
})

program('confirms in batches', OWNED, async (connect) => {
  const channel = await confirmer(connect)
  for (let batch = 0; batch < 10; batch++) {
    for (const body of numbers(100, batch * 100)) channel.sendToQueue(QUEUE, Buffer.from(body), { persistent: true })
    await within(channel.waitForConfirms(), 'confirms of a batch')
    assert.equal(await length(channel, QUEUE), (batch + 1) * 100)
  }
  await assertStored(channel, numbers(1000))
})

program('confirms as they come', OWNED, async (connect) => {
  const channel = await confirmer(connect)
  const order = []
  const outcomes = numbers(2000).map(async (body) => {
    const acked = await publish(channel, QUEUE, body)
    order.push(body)
    return acked
  })
  assert.ok((await Promise.all(outcomes)).every((acked) => acked))
  assert.deepEqual(new Set(order), new Set(numbers(2000)))
  await assertStored(channel, numbers(2000))
})

program('confirms: a full queue refuses', OWNED, async (connect) => {
  const channel = await confirmer(connect, { durable: true, arguments: { 'x-max-length': 3, 'x-overflow': 'reject-publish' } })
  const outcomes = []
  for (const body of numbers(6)) outcomes.push(await publish(channel, QUEUE, body))
  assert.deepEqual(outcomes, [true, true, true, false, false, false])
  await assertStored(channel, numbers(3))
})

program('confirms: unroutable is returned and then confirmed', {}, async (connect) => {
  const channel = await (await connect('publisher')).createConfirmChannel()
  const events = []
  channel.on('return', ({ fields, content }) => events.push([fields.replyCode, fields.replyText, fields.routingKey, String(content)]))
  assert.equal(await publish(channel, 'javascript.nowhere', 'returned', { mandatory: true }), true)
  assert.deepEqual(events, [[312, 'NO_ROUTE', 'javascript.nowhere', 'returned']])
})
