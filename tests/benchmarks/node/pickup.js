'use strict'
// An idle worker at default settings that says how long each job had waited since it was pushed.

const { params, say } = require('./common')
const { startWorker } = require('./workers')

const waited = []

async function perform(pushed) {
  waited.push(Number(process.hrtime.bigint() - BigInt(pushed)) / 1e6)
  say({ ran: waited.length })
  if (waited.length === params.jobs) say({ result: waited })
}

async function main() {
  await startWorker({ noop: { perform } })
  say({ ready: true })
}

main()
