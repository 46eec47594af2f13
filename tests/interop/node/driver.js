'use strict'
// The real node-resque behind JSON lines, for the interop tests (NodeDriver in
// tests/support/foreign.py).
//
//   in    {"id":1,"op":"queue.enqueue","args":["q","Echo",[1]]}
//   out   {"id":1,"ok":true,"result":true}
//         {"id":1,"ok":false,"error":"...","name":"TypeError"}
//         {"event":"success","role":"worker","handle":"worker","args":[...]}
//
// The one argument is JSON: {"socket"|"host","port","db","username","password",
// "namespace"}. The process ends when its stdin does.

const readline = require('node:readline')
const { Redis } = require('ioredis')
const { Queue, Worker, MultiWorker, Scheduler } = require('node-resque')
const { version } = require('node-resque/package.json')
const { Jobs } = require('./jobs')

const target = JSON.parse(process.argv[2] ?? '{}')
const POLL_MS = 100 // node-resque's own default is 5000; tests should not wait
const QUIET = ['poll', 'pause', 'ping'] // several a second from each idle worker

// ---- the wire to the test; nothing else may write to stdout (Noop logs) ----

const say = (message) => process.stdout.write(JSON.stringify(message) + '\n')
console.log = console.info = console.error

const plain = (value) =>
  value instanceof Error ? { name: value.name, message: value.message } : value

function forward(role, handle, emitter, options = {}) {
  const mute = options.mute ?? QUIET
  const emit = emitter.emit
  const listeners = options.errorListener === false ? [] : ['error']
  for (const name of listeners) emitter.on(name, () => {})
  emitter.emit = function (event, ...args) {
    if (!mute.includes(event)) say({ event, role, handle, args: args.map(plain) })
    return emit.call(this, event, ...args)
  }
  return emitter
}

function trap(event) {
  process.on(event, (error) => {
    say({ event, role: 'driver', handle: null, args: [plain(error)] })
    if (target.crash) process.exit(1)
  })
}
trap('unhandledRejection')
trap('uncaughtException')

// ---- connections: each role gets its own, as separate programs would ----

function redisOptions() {
  const { socket, username, password, db = 0 } = target
  return { db, username, password, ...(socket ? { path: socket } : {}) }
}

const connection = () => ({
  host: target.host,
  port: target.port,
  database: target.db ?? 0,
  namespace: target.namespace ?? 'resque',
  options: redisOptions(),
})

const redis = new Redis(target.port ?? 6379, target.host ?? '127.0.0.1', redisOptions())
const jobs = new Jobs(redis)
const queue = forward('queue', 'queue', new Queue({ connection: connection() }, jobs.all))
const running = new Map() // handle -> Worker, MultiWorker or Scheduler

function known(handle) {
  if (!running.has(handle)) throw new Error(`nothing is running as "${handle}"`)
  return running.get(handle)
}

// ---- starting and stopping the roles ----

const own = ({ handle, mute, errorListener, min, max, ...options }) => ({
  connection: connection(),
  timeout: POLL_MS,
  ...options,
})

function place(role, made, options) {
  const handle = options.handle ?? role
  if (running.has(handle)) throw new Error(`"${handle}" is running already`)
  running.set(handle, forward(role, handle, made, options))
  return handle
}

async function startWorker(options = {}) {
  const worker = new Worker(own({ queues: ['interop'], ...options }), jobs.all)
  const handle = place('worker', worker, options)
  await worker.connect()
  await worker.start()
  return { handle, name: worker.name, queues: [].concat(worker.queues).join(',') }
}

async function startMulti(options = {}) {
  const settings = own({ queues: ['interop'], checkTimeout: 50, ...options })
  settings.minTaskProcessors ??= options.min
  settings.maxTaskProcessors ??= options.max
  const multi = new MultiWorker(settings, jobs.all)
  const handle = place('multiWorker', multi, options)
  multi.start()
  return { handle, name: multi.name }
}

async function startScheduler(options = {}) {
  const scheduler = new Scheduler(own(options), jobs.all)
  const handle = place('scheduler', scheduler, options)
  await scheduler.connect()
  await scheduler.start()
  return { handle, name: scheduler.name }
}

const stop = (role) => async (handle = role) => {
  const it = known(handle)
  running.delete(handle)
  await it.end()
  return handle
}

// ---- what a test may ask ----

async function performInline(name, args = []) {
  const worker = new Worker(own({ queues: ['interop'], name: 'inline:' + process.pid }), jobs.all)
  worker.on('error', () => {})
  await worker.connect()
  try {
    return await worker.performInline(name, args)
  } finally {
    await worker.queueObject.end()
  }
}

function workerState(handle = 'worker') {
  const { name, queues, running, working, job } = known(handle)
  return { name, queues, running, working, job }
}

function multiState(handle = 'multiWorker') {
  const { workers, running, working, eventLoopDelay } = known(handle)
  const names = workers.map((worker) => worker.name)
  return { names, busy: workers.filter((w) => w.working).length, running, working, eventLoopDelay }
}

async function enqueueAll(q, name, argsList) {
  const replies = await Promise.all(argsList.map((args) => queue.enqueue(q, name, args)))
  return replies.filter((reply) => reply !== false).length
}

async function shutdown() {
  await Promise.allSettled([...running.values()].map((it) => it.end()))
  running.clear()
  return true
}

const ops = {
  ping: () => 'pong',
  define: (spec) => jobs.define(spec),
  enqueueAll,
  shutdown,
  'worker.start': startWorker,
  'worker.stop': stop('worker'),
  'worker.state': workerState,
  'worker.performInline': performInline,
  'multiWorker.start': startMulti,
  'multiWorker.stop': stop('multiWorker'),
  'multiWorker.state': multiState,
  'scheduler.start': startScheduler,
  'scheduler.stop': stop('scheduler'),
  'scheduler.leader': (handle = 'scheduler') => known(handle).leader,
}

function find(op) {
  if (Object.hasOwn(ops, op)) return ops[op]
  const [role, method] = op.split('.')
  if (role === 'queue' && typeof queue[method] === 'function') return queue[method].bind(queue)
  throw new Error(`unknown op: ${op}`)
}

async function answer(line) {
  const { id, op, args = [] } = JSON.parse(line)
  try {
    const result = await find(op)(...args)
    say({ id, ok: true, result: result ?? null })
  } catch (error) {
    say({ id, ok: false, error: error?.message ?? String(error), name: error?.name ?? null })
  }
}

async function main() {
  redis.on('error', (error) => say({ event: 'error', role: 'driver', handle: null, args: [plain(error)] }))
  await queue.connect()
  say({ event: 'ready', role: 'driver', handle: null, args: [{ pid: process.pid, version }] })
  const lines = readline.createInterface({ input: process.stdin })
  lines.on('line', (line) => void answer(line))
  lines.on('close', () => process.exit(0))
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
