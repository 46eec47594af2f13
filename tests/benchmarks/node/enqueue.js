'use strict'
// Enqueues: awaited one by one, or a thousand (ten thousand) at once.

const { Queue } = require('node-resque')
const { params, say, connection, seconds } = require('./common')

async function atOnce(queue, jobs, step) {
  for (let start = 0; start < jobs; start += step) {
    const promises = []
    for (let n = start; n < Math.min(start + step, jobs); n++) {
      promises.push(queue.enqueue('default', 'noop', [n]))
    }
    await Promise.all(promises)
  }
}

const ways = {
  single: async (queue, jobs) => {
    for (let n = 0; n < jobs; n++) await queue.enqueue('default', 'noop', [n])
  },
  gathered: (queue, jobs) => atOnce(queue, jobs, 1000),
  many: (queue, jobs) => atOnce(queue, jobs, 10000),
}

async function main() {
  const queue = new Queue({ connection: connection() })
  await queue.connect()
  const way = ways[params.way]
  await way(queue, Math.min(500, params.jobs))
  const start = seconds()
  await way(queue, params.jobs)
  say({ result: params.jobs / (seconds() - start) })
}

main()
