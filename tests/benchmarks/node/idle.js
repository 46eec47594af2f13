'use strict'
// A worker with nothing to do, at default settings.

const { params, say } = require('./common')
const { startWorker, startMulti } = require('./workers')

async function main() {
  const jobs = { noop: { perform: async () => {} } }
  if (params.processors) {
    const [least, most] = [].concat(params.processors)
    // the size is reached at the default pace of two a second, so hurry
    await startMulti(jobs, least, most ?? least, { checkTimeout: 50 })
  } else await startWorker(jobs)
  say({ ready: true })
}

main()
