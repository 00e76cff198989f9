// Upload a file with tus-js-client as it is: node upload.mjs ENDPOINT FILE; prints where the upload is.
import { createReadStream, statSync } from 'node:fs'
import { basename } from 'node:path'
import * as tus from 'tus-js-client'

const [endpoint, path] = process.argv.slice(2)
const upload = new tus.Upload(createReadStream(path), {
  endpoint,
  uploadSize: statSync(path).size,
  metadata: { filename: basename(path), filetype: 'model/obj' },
  retryDelays: [0, 100, 500, 1000, 2000, 2000, 2000, 2000],
  onError(error) {
    console.error(String(error))
    process.exit(1)
  },
  onSuccess() {
    console.log(upload.url)
  },
})
upload.start()
