'use strict'
// A scheduler, at default settings but for its poll: with the default of 5 s it would only start later.

const { Scheduler } = require('node-resque')
const { params, say, connection } = require('./common')

async function main() {
  const options = { connection: connection() }
  if (params.timeout) options.timeout = params.timeout
  const scheduler = new Scheduler(options, {})
  scheduler.on('error', (error) => {
    console.error(error)
    process.exit(1)
  })
  await scheduler.connect()
  await scheduler.start()
  say({ ready: true })
}

main()
