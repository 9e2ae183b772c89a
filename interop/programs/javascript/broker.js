// What every program needs: a connection, a bounded wait, and a reader.
//
// Programs end a stream of messages with END, published straight to the queue that is read. What a
// queue delivered is then everything up to END, so "no more than these" needs no waiting for
// silence.
'use strict'

const assert = require('node:assert/strict')
const { test } = require('node:test')
const amqp = require('amqplib')

const WAIT_MS = 20_000
const END = 'end of this queue'

// Rejects where `promise` takes longer than the limit.
async function within(promise, what) {
  let timer
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${WAIT_MS} ms: ${what}`)), WAIT_MS)
  })
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer))
}

// Runs a program with `connect`, whose connections end with it, and with `owned` removed before
// and after.
function program(name, owned, body) {
  test(name, async () => {
    const connections = []
    const connect = async (role = name) => {
      const options = { timeout: WAIT_MS, clientProperties: { connection_name: `interop javascript ${role}` } }
      const connection = await within(amqp.connect(process.env.LEVERET_AMQP_URL, options), 'connect')
      connection.on('error', () => {}) // The operation under way rejects with it.
      connections.push(connection)
      return connection
    }
    const clean = async () => {
      const channel = await (await connect('clean')).createChannel()
      for (const queue of owned.queues ?? []) await within(channel.deleteQueue(queue), 'delete')
      for (const exchange of owned.exchanges ?? []) await within(channel.deleteExchange(exchange), 'delete')
    }
    await clean()
    try {
      await body(connect)
      await clean()
    } finally {
      await Promise.all(connections.map((connection) => connection.close().catch(() => {})))
    }
  })
}

// A consumer that keeps what it was given, in order.
class Reader {
  static async on(channel, queue, options = {}) {
    const reader = new Reader()
    reader.channel = channel
    reader.messages = []
    reader.awaited = []
    const consumed = channel.consume(queue, (message) => reader.#take(message, options.ack), options)
    reader.consumerTag = (await within(consumed, 'consume')).consumerTag
    return reader
  }

  #take(message, ack) {
    this.messages.push(message)
    if (ack) this.channel.ack(message)
    this.awaited = this.awaited.filter(({ enough, resolve }) => !enough() || resolve())
  }

  bodies() {
    return this.messages.map((message) => message.content.toString())
  }

  #until(enough, what) {
    return within(new Promise((resolve) => (enough() ? resolve() : this.awaited.push({ enough, resolve }))), what)
  }

  // Waits until `count` messages in all have come.
  async take(count) {
    await this.#until(() => this.messages.length >= count, `${count} messages`)
    return this.bodies()
  }

  // Waits until END has come, and gives the bodies before it.
  async untilEnd() {
    await this.#until(() => this.bodies().includes(END), END)
    assert.equal(this.bodies().at(-1), END)
    return this.bodies().slice(0, -1)
  }
}

const send = (channel, exchange, key, body, options) => channel.publish(exchange, key, Buffer.from(body), options)
const length = async (channel, queue) => (await within(channel.checkQueue(queue), 'checkQueue')).messageCount

// Asks for the queue's length until it is the wanted one: no event tells of another's death.
async function awaitLength(channel, queue, wanted) {
  const deadline = Date.now() + WAIT_MS
  for (let found = -1; found !== wanted; found = await length(channel, queue)) {
    assert.ok(Date.now() < deadline, `${queue} has ${found} messages, not ${wanted}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

const ownQueue = async (channel) => (await channel.assertQueue('', { exclusive: true })).queue
const numbers = (count, from = 0) => Array.from({ length: count }, (_, n) => String(n + from))

module.exports = { END, WAIT_MS, Reader, awaitLength, length, numbers, ownQueue, program, send, within }
