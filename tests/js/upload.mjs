// Upload a file with tus-js-client as it is: node upload.mjs ENDPOINT FILE [PARALLEL UPLOADS]; prints where the upload is.
import { createReadStream, statSync } from 'node:fs'
import { basename } from 'node:path'
import * as tus from 'tus-js-client'

const [endpoint, path, parallel = '1'] = process.argv.slice(2)
const upload = new tus.Upload(createReadStream(path), {
  endpoint,
  uploadSize: parallel === '1' ? statSync(path).size : null,
  parallelUploads: Number(parallel), // it takes the size from the file itself
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
