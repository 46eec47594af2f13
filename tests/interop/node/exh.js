'use strict'
// The real SDK of Extra Horizon against `/tasks/v1` (tests/interop/test_horizon_sdk.py).
//
// The one argument is JSON: {"port", "token"}. The SDK insists on https and a host `api.<name>`: the test serves
// with exh.test.pem, which NODE_EXTRA_CA_CERTS makes known, and that name leads to this machine here.
// Prints one line of JSON: what each call gave.

const dns = require('node:dns')
dns.lookup = (_name, options, done) =>
  options.all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4)

const { createOAuth2Client, rqlBuilder } = require('@extrahorizon/javascript-sdk')
const { port, token } = JSON.parse(process.argv[2])

const failed = (error) => ({
  class: error.constructor.name,
  status: error.status,
  name: error.name,
  message: error.message,
})

const main = async () => {
  const exh = createOAuth2Client({ host: `https://api.exh.test:${port}`, clientId: 'tests' })
  await exh.auth.authenticate({ refreshToken: token })
  const said = {}
  const tried = async (name, call) => {
    said[name] = await call().catch(failed)
    return said[name]
  }
  const made = await tried('created', () =>
    exh.tasks.create({
      functionName: 'Mail',
      data: { myKey: 'My Value', nested_key: { someKey: 1 } },
      priority: 1,
      startTimestamp: new Date('2999-01-01T00:00:00.000Z'),
      tags: ['my tag (1)'],
    })
  )
  for (let number = 0; number < 60; number++) {
    await exh.tasks.create({ functionName: 'Many', data: { number } })
  }
  const rql = rqlBuilder().eq('tags', 'my tag (1)').eq('status', 'new').sort('-creationTimestamp').limit(10).build()
  await tried('found', () => exh.tasks.find({ rql }))
  await tried('foundById', () => exh.tasks.findById(made.id))
  await tried('foundFirst', () => exh.tasks.findFirst({ rql: rqlBuilder().eq('functionName', 'Mail').build() }))
  await tried('foundNone', () => exh.tasks.findById('none'))
  const all = await tried('all', () => exh.tasks.findAll({ rql: rqlBuilder().eq('functionName', 'Many').build() }))
  said.all = Array.isArray(all) ? [...new Set(all.map((each) => each.data.number))].length : all
  await tried('recent', () =>
    exh.tasks.find({ rql: rqlBuilder().ge('creationTimestamp', '2020-01-01T00:00:00.000Z').limit(1).build() })
  )
  await tried('cancelled', () => exh.tasks.cancel(made.id))
  await tried('cancelledAgain', () => exh.tasks.cancel(made.id))
  await tried('cancelledUnknown', () => exh.tasks.cancel('none'))
  await tried('impossible', () => exh.tasks.find({ rql: rqlBuilder().ne('status', 'new').build() }))
  await tried('wrong', () => exh.tasks.create({ functionName: 'Mail', priority: 99 }))
  await tried('functions', () => exh.tasks.functions.find())
  said.isDate = made.creationTimestamp instanceof Date
  console.log(JSON.stringify(said))
}

main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
