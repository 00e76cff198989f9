// Press each "Execute" of /docs twice in Chromium, with all fields as they stand and a file where one is to be chosen:
//   node docs.mjs GATEWAY CHROMIUM
// prints the statuses of the answers by operation and media type, and what was asked of other hosts. Operations on what a
// client has made before (a puuid in the path) are left out.
import { chromium } from 'playwright-core'

const [gateway, executablePath] = process.argv.slice(2)
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage'] })
try {
  const tab = await browser.newPage()
  tab.setDefaultTimeout(60_000)
  const elsewhere = []
  tab.on('request', (request) => {
    if (!/^(data|blob):/.test(request.url()) && !request.url().startsWith(gateway)) elsewhere.push(request.url())
  })
  await tab.goto(`${gateway}/docs`)
  await tab.waitForSelector('.opblock')
  const pressed = {}
  for (const block of await tab.locator('.opblock').all()) {
    const method = await block.locator('.opblock-summary-method').innerText()
    const path = await block.locator('.opblock-summary-path').getAttribute('data-path')
    if (path.replace('{name}', '').includes('{')) continue
    await block.locator('.opblock-summary-control').click()
    await block.locator('button.execute').waitFor()
    const choice = block.locator('.opblock-section-request-body select.content-type')
    const kinds = (await choice.count()) ? await choice.locator('option').allInnerTexts() : ['']
    for (const kind of kinds) {
      if (kinds.length > 1) await choice.selectOption(kind)
      for (const file of await block.locator('input[type=file]').all()) {
        await file.setInputFiles({ name: 'a.txt', mimeType: 'text/plain', buffer: Buffer.from('text') })
      }
      const answers = (pressed[`${method} ${path} ${kind}`.trim()] = [])
      for (let time = 0; time < 2; time++) {
        const answer = tab.waitForResponse((response) => new URL(response.url()).pathname !== '/openapi.json')
        await block.locator('button.execute').click()
        answers.push((await answer).status())
      }
    }
    await block.locator('.opblock-summary-control').click()
  }
  console.log(JSON.stringify({ pressed, elsewhere }))
} finally {
  await browser.close()
}
