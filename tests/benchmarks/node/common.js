'use strict'
// What the measured Node programs share. NODE_PATH names the packages; the one argument is JSON.

const params = JSON.parse(process.argv[2])

const say = (message) => process.stdout.write(JSON.stringify(message) + '\n')

const connection = () => ({
  host: '127.0.0.1',
  port: 6379,
  database: 0,
  namespace: 'resque',
  options: { path: params.socket },
})

const seconds = () => Number(process.hrtime.bigint()) / 1e9

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

// The runner closes our stdin when it needs us no more; what is left behind is flushed by it.
process.stdin.resume()
process.stdin.on('end', () => process.exit(0))
process.on('unhandledRejection', (error) => {
  console.error(error)
  process.exit(1)
})

module.exports = { params, say, connection, seconds, sleep }
