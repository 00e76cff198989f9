// Pages of other origins that use a gateway and its store from a real browser: node origins.mjs GATEWAY CHROMIUM PORT KEY
// The page is at 127.0.0.1:PORT, which the gateway lets in, and at localhost:PORT, which it does not.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { chromium } from "playwright-core";

const [gateway, executablePath, port, key] = process.argv.slice(2);
const tus = readFileSync(join(dirname(createRequire(import.meta.url).resolve("tus-js-client/package.json")), "dist/tus.min.js"));
const server = createServer((request, response) => {
  const isScript = request.url === "/tus.js";
  response.writeHead(200, { "Content-Type": isScript ? "text/javascript" : "text/html" });
  response.end(isScript ? tus : '<!doctype html><title>An app</title><script src="/tus.js"></script>');
});
await new Promise((resolve) => server.listen(Number(port), "127.0.0.1", resolve));
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });

/** The ways of a page to use the gateway, each with what came of it: what was answered, or that the browser refused. */
async function used(origin) {
  const page = await browser.newPage();
  await page.goto(origin, { waitUntil: "load" });
  return page.evaluate(async ([base, key]) => {
    const authorization = { Authorization: `Bearer ${key}` };
    const ask = (path, body, method = "POST") => fetch(base + path, { method, body: body && JSON.stringify(body), headers: { ...authorization, "Content-Type": "application/json" } });
    const claim = async (puuid) => (await ask("/ingress/record-json?schema=note", { title: "a", __resource_path__: puuid })).json();
    const bytes = new Blob([new Uint8Array(700_000).fill(7)]);
    const ways = {
      async record() {
        const answer = await ask("/ingress/record-json?schema=note", { title: "a" });
        return [answer.status, (await answer.json()).topic];
      },
      async refused() {
        const answer = await ask("/ingress/record-json?schema=note", { title: 1 });
        return [answer.status, (await answer.json()).errors[0].pointer];
      },
      async tus() {
        const upload = await new Promise((resolve, reject) => {
          const made = new tus.Upload(bytes, { endpoint: `${base}/uploads`, chunkSize: 300_000, retryDelays: null, headers: authorization, metadata: { filename: "a.bin" }, onError: reject, onSuccess: () => resolve(made) });
          made.start();
        });
        return (await claim(upload.url.split("/").pop())).resource.size;
      },
      async direct() {
        const { puuid, put } = await (await ask("/promises", { filename: "b.bin", size: bytes.size, content_type: "application/octet-stream" })).json();
        const stored = await fetch(put.url, { method: put.method, headers: put.headers, body: bytes });
        const whole = await ask(`/promises/${puuid}/complete`);
        return [stored.status, whole.status, (await claim(puuid)).resource.size];
      },
      async page() {
        return (await (await fetch(`${base}/`, { credentials: "include" })).text()).length;
      },
    };
    const outcomes = {};
    for (const [name, way] of Object.entries(ways)) outcomes[name] = await way().catch(() => "refused");
    return outcomes;
  }, [gateway, key]);
}

assert.deepEqual(await used(`http://127.0.0.1:${port}/`), {
  record: [201, "inlake.note"], refused: [422, "/title"], tus: 700_000, direct: [200, 200, 700_000], page: "refused",
});
assert.deepEqual(await used(`http://localhost:${port}/`), { record: "refused", refused: "refused", tus: "refused", direct: "refused", page: "refused" });

// the store knows which pages it takes files from, whoever signed the URL
const signed = await fetch(`${gateway}/promises`, {
  method: "POST", body: JSON.stringify({ filename: "c.bin", size: 3, content_type: "text/plain" }),
  headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
}).then((answer) => answer.json());
const stranger = await browser.newPage();
await stranger.goto(`http://localhost:${port}/`);
const outcome = await stranger.evaluate(({ put }) => fetch(put.url, { method: put.method, headers: put.headers, body: "abc" }).then(() => "sent", () => "refused"), signed);
assert.equal(outcome, "refused");
await browser.close();
server.close();
