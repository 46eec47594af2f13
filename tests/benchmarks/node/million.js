'use strict'
// A large queue that is there already (or is filled by us): the same steps as python/million.py.

const { Queue } = require('node-resque')
const { params, say, connection, seconds } = require('./common')

const PAGE = 50
const spent = {}

async function time(name, step) {
  const start = seconds()
  const result = await step()
  spent[name] = seconds() - start
  return result
}

async function fill(queue) {
  for (let start = 0; start < params.jobs; start += 1000) {
    const promises = []
    for (let n = start; n < start + 1000; n++) promises.push(queue.enqueue('default', 'noop', [n]))
    await Promise.all(promises)
  }
}

async function main() {
  const queue = new Queue({ connection: connection() })
  await queue.connect()
  if (params.fill_only) {
    await time('fill', () => fill(queue))
    return say({ filled: true })
  }
  const middle = params.jobs / 2
  await time('length', () => queue.length('default'))
  await time('first page', () => queue.queued('default', 0, PAGE - 1))
  await time('page in the middle', () => queue.queued('default', middle, middle + PAGE - 1))
  await time('delete by arguments', () => queue.del('default', 'noop', [7]))
  await time('clear', () => queue.delQueue('default'))
  say({ result: spent })
}

main()
