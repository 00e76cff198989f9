// Upload a file with Uppy in Chromium, from a page under /app/x/, paused in the middle: node uppy.mjs GATEWAY FILE CHROMIUM
// prints where the upload is, how much had come at the pause, and what was asked.
import { build } from 'esbuild'
import { chromium } from 'playwright-core'

const [gateway, path, executablePath] = process.argv.slice(2)
const BYTES_A_SECOND = 8 << 20 // so that there is a middle
const page = `<!doctype html><html lang="en"><title>Upload</title><input type="file"><script>PROGRAM</script></html>`
const bundled = await build({ entryPoints: ['uppy.js'], bundle: true, write: false, format: 'iife' })
const html = page.replace('PROGRAM', () => bundled.outputFiles[0].text.replaceAll('</script', '<\\/script'))

const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
try {
  const tab = await browser.newPage()
  const asked = []
  tab.on('request', (request) => {
    if (request.url().includes('/uploads')) asked.push([request.method(), request.headers()['upload-concat'] ?? ''])
  })
  await tab.route('**/app/x/**', (route) => route.fulfill({ contentType: 'text/html', body: html }))
  await tab.goto(`${gateway}/app/x/upload.html`)
  const network = await tab.context().newCDPSession(tab)
  await network.send('Network.enable')
  const limits = { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: BYTES_A_SECOND }
  await network.send('Network.emulateNetworkConditions', limits)
  await tab.setInputFiles('input', path)
  const told = await tab.evaluate(async () => {
    const part = (share) =>
      new Promise((resolve) => {
        window.uppy.on('upload-progress', (_, { bytesUploaded, bytesTotal }) => {
          if (bytesUploaded > share * bytesTotal) resolve(bytesUploaded)
        })
      })
    const done = window.uppy.upload()
    const paused = await part(0.3)
    window.uppy.pauseAll()
    await new Promise((resolve) => setTimeout(resolve, 1000))
    window.uppy.resumeAll()
    const { successful, failed } = await done
    return { paused, url: successful[0]?.uploadURL, failed: failed.map((file) => file.error) }
  })
  console.log(JSON.stringify({ ...told, asked }))
} finally {
  await browser.close()
}
