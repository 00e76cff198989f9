// A client in TypeScript's types, made by openapi-typescript for openapi-fetch: node fetch.mjs GATEWAY
// sends a record, a stream, a binary and a tus upload, and prints what came back.
import createClient from 'openapi-fetch'

const gateway = /** @type {any} */ (globalThis).process.argv[2]
/** @type {import('openapi-fetch').Client<import('./generated.d.ts').paths>} */
const client = createClient({ baseUrl: gateway })
const query = { schema: 'note' }
const header = /** @type {const} */ ({ 'Tus-Resumable': '1.0.0' })
/** @param {unknown} body */
const asItIs = (body) => /** @type {string} */ (body)

const record = await client.POST('/ingress/record-json', { params: { query }, body: { title: 'one' } })
const stream = await client.POST('/ingress/record-json', {
  params: { query },
  headers: { 'Content-Type': 'application/x-ndjson' },
  body: '{"title": "two"}\n{"title": 3}\n',
  bodySerializer: asItIs,
  parseAs: 'text',
})
const binary = await client.POST('/ingress/binary', {
  params: { query: { filename: 'spot.obj' } },
  headers: { 'Content-Type': 'application/octet-stream' },
  body: 'v 0 0 0\n',
  bodySerializer: asItIs,
})
const made = await client.POST('/uploads', { params: { header: { ...header, 'Upload-Length': '8' } } })
const puuid = made.response.headers.get('location')?.split('/').at(-1) ?? ''
const sent = await client.PATCH('/uploads/{puuid}', {
  params: { path: { puuid }, header: { ...header, 'Upload-Offset': '0' } },
  headers: { 'Content-Type': 'application/offset+octet-stream' },
  body: 'v 0 0 0\n',
  bodySerializer: asItIs,
})
const claimed = await client.POST('/ingress/record-json', {
  params: { query },
  body: { title: 'four', __resource_path__: puuid },
})
console.log(
  JSON.stringify({
    record: record.data,
    stream: stream.data,
    binary: binary.data,
    upload: [made.response.status, sent.response.status],
    claimed: claimed.data,
  }),
)
