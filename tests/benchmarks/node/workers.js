'use strict'
// A Worker, or a MultiWorker of a fixed or moving size, that is up when the promise resolves.

const { Worker, MultiWorker } = require('node-resque')
const { params, connection, sleep } = require('./common')

const loud = (error) => {
  console.error(error)
  process.exit(1)
}

async function startWorker(jobs, options = {}) {
  const queues = params.queues === '*' ? '*' : (params.queues ?? ['default'])
  const worker = new Worker({ connection: connection(), queues, ...options }, jobs)
  worker.on('error', loud)
  await worker.connect()
  await worker.start()
}

async function startMulti(jobs, least, most, options = {}) {
  const multi = new MultiWorker(
    {
      connection: connection(),
      queues: params.queues ?? ['default'],
      minTaskProcessors: least,
      maxTaskProcessors: most,
      ...options,
    },
    jobs
  )
  multi.on('error', loud)
  let up = 0
  multi.on('start', () => up++)
  multi.start()
  while (up < Math.max(1, least)) await sleep(10)
  await sleep(50)
}

module.exports = { startWorker, startMulti }
