// Sends pushes with apns2 until its input ends; deploy/peers/README.md tells what it reads and prints.
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'

// It is installed in the working directory, not beside this file.
const require = createRequire(`${process.cwd()}/`)
const { ApnsClient, Notification } = require('apns2')
const { Pool } = require('undici')

const lines = createInterface({ input: process.stdin })
const settings = JSON.parse(await new Promise((resolve) => lines.once('line', resolve)))
let stopping = false
lines.once('close', () => {
  stopping = true
})

const client = new ApnsClient({
  team: settings.team_id,
  keyId: settings.key_id,
  signingKey: readFileSync(settings.key_file),
  defaultTopic: settings.topic,
})
// Its port is fixed. Its own options, but for the requests under way on a connection: at its default
// of one it is as fast as 32 of them are.
await client.client.close()
client.client = new Pool(settings.url, {
  connections: settings.connections,
  pipelining: settings.in_flight / settings.connections,
  allowH2: true,
  maxConcurrentStreams: settings.in_flight / settings.connections,
})

let [sent, delivered] = [0, 0]
async function push() {
  const token = (sent++ % settings.devices).toString(16).padStart(64, '0')
  const data = { tidings: { id: sent, event_id: `evt${sent}`, source: 'bench', type: 'like' } }
  const { title, body } = settings
  const notification = new Notification(token, { alert: { title, body }, badge: 1, sound: 'default', data })
  try {
    await client.send(notification)
    delivered++
  } catch {
    // It is counted as not delivered.
  }
}

// A connection takes one request until the first has been answered.
await push()
await Promise.all(
  Array.from({ length: settings.in_flight }, async () => {
    while (!stopping) await push()
  }),
)
console.log(JSON.stringify({ sent, delivered }))
process.exit(0)
