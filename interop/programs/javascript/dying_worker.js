// A worker that takes one task, says so, and then does nothing until it is killed.
'use strict'

const amqp = require('amqplib')
const { WAIT_MS } = require('./broker')

async function work(queue) {
  const channel = await (await amqp.connect(process.env.LEVERET_AMQP_URL)).createChannel()
  await channel.prefetch(1)
  await channel.consume(queue, (message) => console.log(message.content.toString()))
  setTimeout(() => process.exit(1), 3 * WAIT_MS)
}

work(process.argv[2])
