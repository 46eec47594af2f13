'use strict'
// A worker at default settings that says how late each job was; its argument is the second it was due.

const { params, say } = require('./common')
const { startMulti } = require('./workers')

const late = []

async function perform(due) {
  late.push(Date.now() - due * 1000)
  if (late.length === params.jobs) say({ result: late })
}

async function main() {
  const jobs = { late: { perform }, noop: { perform: async () => {} } }
  await startMulti(jobs, params.processors, params.processors, { checkTimeout: 20 })
  say({ ready: true })
}

main()
