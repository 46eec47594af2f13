'use strict'
// Drains a queue that is filled already; the clock starts when every processor has begun a job.
// A poll every 200 ms (the default is 5 s) so that all of them are soon at work; a check every
// 10 ms, because node-resque starts one processor a check.

const { params, say, seconds, sleep } = require('./common')
const { startWorker, startMulti } = require('./workers')

const processors = params.processors ?? 1
const begun = new Set()
let ended = 0
let endedBefore = 0
let start = 0

async function perform() {
  if (start === 0) {
    begun.add(this.name)
    if (begun.size === processors) {
      endedBefore = ended
      start = seconds()
    }
  }
  if (params.wait_ms) await sleep(params.wait_ms)
  ended++
  if (ended === params.jobs) {
    const rate = (params.jobs - endedBefore) / (seconds() - start)
    say({ result: { rate, cpu_s: process.cpuUsage().user / 1e6 } })
  }
}

async function main() {
  const jobs = { noop: { perform } }
  const options = { timeout: 200, checkTimeout: 10, maxEventLoopDelay: 1000 }
  if (params.processors) await startMulti(jobs, processors, processors, options)
  else await startWorker(jobs, { timeout: 200 })
  say({ ready: true })
}

main()
