'use strict'
// The job classes that the Node side knows. Each exists under a small and a
// capital first letter, so that Ruby and Python tests can use the same names.

const { setTimeout: wait } = require('node:timers/promises')

const RAN = 'interop:ran' // every run that ended well, in the order they ended
const BEGAN = 'interop:began' // slow jobs, when they begin
const OPEN = 'interop:open' // lets those go on that wait

const WITH_PLUGIN = {
  withJobLock: 'JobLock',
  withQueueLock: 'QueueLock',
  withDelayQueueLock: 'DelayQueueLock',
  withRetry: 'Retry',
  withNoop: 'Noop',
}

const capital = (name) => name[0].toUpperCase() + name.slice(1)

const block = (ms) => {
  const end = Date.now() + ms
  while (Date.now() < end);
}

// A perform is made for one class name, since node-resque does not hand it over.
function makePerforms(redis) {
  const note = (key, name, args) =>
    redis.rpush(key, JSON.stringify({ by: 'node', class: name, args }))
  const slow = (pause) => (name) => async (...args) => {
    await note(BEGAN, name, args)
    await pause(args[0])
    await note(RAN, name, args)
    return args
  }
  return {
    echo: (name) => async (...args) => {
      await note(RAN, name, args)
      return args
    },
    noop: () => async () => null,
    fail: () => async (message) => {
      throw new Error(String(message))
    },
    throwString: () => async (message) => {
      throw String(message) // no `exception`, no `error`, backtrace null
    },
    noStack: () => async (message) => {
      const error = new RangeError(String(message))
      error.stack = undefined
      throw error
    },
    sleep: slow((ms) => wait(ms)), // milliseconds, event loop free
    wait: slow(async () => {
      while (!(await redis.exists(OPEN))) await wait(20)
    }),
    freeze: slow((ms) => block(ms)), // milliseconds, event loop blocked
  }
}

class Jobs {
  constructor(redis) {
    this.performs = makePerforms(redis)
    this.all = {} // shared by reference with the queue and every worker
    for (const name of Object.keys(this.performs)) this.defineBoth({ name, perform: name })
    for (const [name, plugin] of Object.entries(WITH_PLUGIN)) {
      this.defineBoth({ name, perform: 'echo', plugins: [plugin] })
    }
  }

  defineBoth(spec) {
    this.define(spec)
    this.define({ ...spec, name: capital(spec.name) })
  }

  define({ name, perform = 'echo', plugins = [], pluginOptions = {} }) {
    if (!(perform in this.performs)) throw new Error(`no such perform: ${perform}`)
    this.all[name] = { perform: this.performs[perform](name), plugins, pluginOptions }
    return name
  }
}

module.exports = { Jobs }
