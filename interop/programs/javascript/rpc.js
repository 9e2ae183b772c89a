// Tutorial six: calls over queues, with a reply queue of one's own and with direct reply-to.
'use strict'

const assert = require('node:assert/strict')
const { Reader, ownQueue, program, send, within } = require('./broker')

const QUEUE = 'javascript.rpc_queue'

function fibonacci(n) {
  let [a, b] = [0, 1]
  for (; n > 0; n--) [a, b] = [b, a + b]
  return a
}

async function serve(connection) {
  const channel = await connection.createChannel()
  await channel.assertQueue(QUEUE, { durable: false })
  await channel.prefetch(1)
  await channel.consume(QUEUE, (request) => {
    const { correlationId, replyTo } = request.properties
    channel.sendToQueue(replyTo, Buffer.from(String(fibonacci(Number(request.content)))), { correlationId })
    channel.ack(request)
  })
}

// Makes its calls at once, and asserts that each answer comes once, in the order asked.
async function call(connection, name, replyTo) {
  const channel = await connection.createChannel()
  replyTo ??= await ownQueue(channel)
  const replies = await Reader.on(channel, replyTo, { noAck: true })
  for (let n = 0; n < 20; n++) send(channel, '', QUEUE, String(n), { correlationId: `${name}-${n}`, replyTo })
  await replies.take(20)
  const found = replies.messages.map((reply) => [reply.properties.correlationId, Number(reply.content)])
  assert.deepEqual(found, Array.from({ length: 20 }, (_, n) => [`${name}-${n}`, fibonacci(n)]))
}

for (const replyTo of [undefined, 'amq.rabbitmq.reply-to']) {
  program(`rpc over ${replyTo ?? 'a reply queue'}`, { queues: [QUEUE] }, async (connect) => {
    await serve(await connect('server'))
    await Promise.all([call(await connect('one'), 'one', replyTo), call(await connect('two'), 'two', replyTo)])
  })
}

program('rpc: direct reply-to needs a consumer', { queues: [QUEUE] }, async (connect) => {
  const channel = await (await connect()).createChannel()
  await channel.assertQueue(QUEUE, { durable: false })
  const errors = new Promise((resolve) => channel.once('error', resolve))
  send(channel, '', QUEUE, '1', { replyTo: 'amq.rabbitmq.reply-to' })
  const error = await within(errors, 'the channel closes')
  assert.equal(error.code, 406)
  assert.match(error.message, /fast reply consumer does not exist/)
})
