// Verify a receipt with nothing but node's own crypto: node verify-receipt.mjs KEY FILE
// It ends with 0 and the entry, or with 1 and the reason.
import { createHash, createPublicKey, verify } from 'node:crypto'
import { readFileSync } from 'node:fs'

const [, , key, file] = process.argv
const bytes = (text) => Buffer.from(text, 'base64')
const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest()
const demand = (holds, reason) => {
  if (!holds) {
    console.error(reason)
    process.exit(1)
  }
}

const [name, id, encoded] = key.split('+')
const spki = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), bytes(encoded).subarray(1)])
const publicKey = createPublicKey({ key: spki, format: 'der', type: 'spki' })

const text = readFileSync(file, 'utf8')
const gap = text.indexOf('\n\n')
const [first, extra, index, ...proof] = text.slice(0, gap).split('\n')
demand(first === 'c2sp.org/tlog-proof@v1', 'not a receipt')

const note = text.slice(gap + 2)
const end = note.lastIndexOf('\n\n')
const signed = note.slice(0, end + 1)
const mine = note.slice(end + 2).split('\n').filter((line) => line.startsWith(`\u2014 ${name} `))
const signatures = mine.map((line) => bytes(line.split(' ')[2])).filter((raw) => raw.subarray(0, 4).toString('hex') === id)
demand(signatures.length > 0, 'not signed by this key')
demand(signatures.every((raw) => verify(null, Buffer.from(signed), publicKey, raw.subarray(4))), 'the signature is wrong')

const [origin, size, root] = signed.split('\n')
demand(origin === name, 'of another log')
const parts = Object.fromEntries(
  bytes(extra.slice('extra '.length)).toString().split('\n').slice(1, -1).map((line) => [line.split(' ')[0], bytes(line.split(' ')[1])]),
)

let at = BigInt(index.slice('index '.length))
let last = BigInt(size) - 1n
demand(at <= last, 'beyond the end')
let hash = sha256(Buffer.from([0]), parts.entry)
for (const step of proof.map(bytes)) {
  demand(last > 0n && step.length === 32, 'the proof is too long')
  if (at & 1n || at === last) {
    hash = sha256(Buffer.from([1]), step, hash)
    while (at !== 0n && !(at & 1n)) [at, last] = [at >> 1n, last >> 1n]
  } else {
    hash = sha256(Buffer.from([1]), hash, step)
  }
  ;[at, last] = [at >> 1n, last >> 1n]
}
demand(last === 0n && hash.equals(bytes(root)), 'not in the log')
const entry = JSON.parse(parts.entry)
if (parts.body) demand(sha256(parts.salt, parts.body).toString('base64') === entry.body.digest, 'opened to something else')
console.log(JSON.stringify(entry))
