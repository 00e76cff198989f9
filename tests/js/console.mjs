// What a curator does at the console, in a real browser: node console.mjs ADDRESS CHROMIUM
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [base, executablePath] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const HOSTILE = [
  "<script>window.ran=1</script>", '"><img src=x onerror="window.ran=1">', "</textarea><script>window.ran=1</script>",
  "</script><script>window.ran=1</script>", "javascript:window.ran=1", "' onmouseover='window.ran=1", "<svg onload=window.ran=1>",
];
const SVG = '<svg xmlns="http://www.w3.org/2000/svg" onload="window.ran=1"><script>window.ran=1</script><rect width="9" height="9"/></svg>';
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const context = await browser.newContext({ viewport: { width: 1200, height: 900 } });
const page = await context.newPage();
const faults = [];
page.on("pageerror", (error) => faults.push(error.message));
page.on("dialog", (dialog) => { faults.push("a dialog"); return dialog.dismiss(); });

const open = (path) => page.goto(base + path, { waitUntil: "load" });
const post = (path, body, headers = {}) => fetch(base + path, { method: "POST", body, headers: { "Content-Type": "application/json", ...headers } });
const step = async (name, work) => {
  const began = Date.now();
  await work();
  console.log(`${name}: ${Date.now() - began} ms`);
};

for (const language of ["avro", "protobuf", "json"]) {
  await step(`a record is sent by form, ${language}`, async () => {
    await open(`/console/send/note.${language}`);
    await page.getByLabel(/^title( required)?$/).fill("Häuser <b>");
    await page.getByLabel(/^year/).fill("1889");
    await page.getByRole("group", { name: "tags" }).getByRole("button", { name: "Add to tags" }).isVisible().then(async (shown) => {
      if (!shown) await page.getByLabel("tags is").selectOption("given");
    });
    await page.getByRole("button", { name: "Add to tags" }).click();
    await page.getByRole("group", { name: "tags" }).getByRole("textbox").fill("etching");
    const record = JSON.parse(await page.getByLabel("The record as JSON").inputValue());
    assert.deepEqual([record.title, String(record.year), record.tags], ["Häuser <b>", "1889", ["etching"]]);
    await page.getByRole("button", { name: "Send", exact: true }).click();
    await page.getByRole("link", { name: "see it" }).click();
    await page.getByText('"title": "Häuser <b>"').waitFor();
  });
}

await step("an error stands at its field, numbers and unknown members stay as they were pasted", async () => {
  await open("/console/send/note.avro");
  await page.getByLabel("The record as JSON").fill('{"title": "x", "year": 1.50, "more": 12345678901234567890}');
  await page.getByLabel(/^title( required)?$/).fill("y");
  const text = await page.getByLabel("The record as JSON").inputValue();
  assert.match(text, /1\.50/);
  assert.match(text, /12345678901234567890/);
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await page.locator("[aria-invalid]").waitFor();
  assert.match(await page.locator(".field", { has: page.locator("[aria-invalid]") }).textContent(), /int/);
});

await step("an event shows up on an open page within a second of its 201", async () => {
  await open("/console/events");
  await page.waitForTimeout(1500);
  assert.equal((await post("/ingress/record-json?schema=note.avro&destination=live", '{"title": "x"}')).status, 201);
  await page.locator("tr.new", { hasText: "live" }).waitFor({ timeout: 1000 });
});

await step("a cause of 100 rejects is mended at once", async () => {
  const lines = Array.from({ length: 100 }, (_, n) => `{"title": "${n}", "tags": ["a", ${n}]}`).join("\n");
  await post("/ingress/record-json?schema=note.avro", lines, { "Content-Type": "application/x-ndjson" });
  await open("/console/rejects");
  await page.getByRole("link", { name: /^100 of note\.avro/ }).click();
  await page.getByLabel("put there").fill("etching");
  await page.getByRole("button", { name: "Preview" }).click();
  await page.getByText("100 of 100 fit then").waitFor();
  await page.getByRole("button", { name: "Send 100 again" }).click();
  await page.getByText("100 sent and accepted, 0 still refused.").waitFor();
});

await step("a picture is sent by form and shown", async () => {
  await open("/console/send/note.avro");
  await page.getByLabel(/^title( required)?$/).fill("picture");
  const png = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==", "base64");
  await page.getByLabel("The file that belongs to it").setInputFiles({ name: "dot.png", mimeType: "image/png", buffer: png });
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await page.getByRole("link", { name: "see it" }).click();
  await page.waitForFunction(() => document.querySelector("img.shown")?.naturalWidth === 1);
});

await step("a large file goes by tus, is paused, and goes on after the page was closed", async () => {
  const file = join(mkdtempSync(join(tmpdir(), "console-")), "large.bin");
  writeFileSync(file, Buffer.alloc(40 << 20, 7));
  const choose = async () => {
    await open("/console/send/note.avro");
    await page.getByLabel(/^title( required)?$/).fill("large");
    await page.getByLabel("The file that belongs to it").setInputFiles(file);
    await page.getByRole("button", { name: "Send", exact: true }).click();
  };
  let patches = 0;
  page.on("request", (request) => { patches += request.method() === "PATCH"; });
  await choose();
  await page.waitForFunction(() => document.querySelector("#progress progress").value >= 20);
  await page.getByRole("button", { name: "Pause" }).click();
  const before = patches;
  await choose();
  await page.getByRole("link", { name: "see it" }).waitFor({ timeout: 60000 });
  assert.ok(patches - before < 5, `${patches - before} of 5 pieces were sent again`);
});

await step("nothing that clients send runs", async () => {
  const paths = ["/", "/console/events", "/console/rejects"];
  for (const text of HOSTILE) {
    const form = new FormData();
    form.append("record", new Blob([JSON.stringify({ title: text })], { type: "application/json" }));
    form.append("file", new Blob([SVG], { type: "image/svg+xml" }), `${text.replaceAll("/", "")}.svg`);
    const receipt = await (await fetch(`${base}/ingress/record-json-and-binary?schema=note.avro`, { method: "POST", body: form })).json();
    await post("/ingress/record-json?schema=note.avro", JSON.stringify({ title: text, [text]: 1 }));
    await post(`/ingress/record-json?schema=${encodeURIComponent(text)}`, "{}");
    paths.push(`/console/events/${receipt.topic}/${receipt.partition}/${receipt.offset}`, `/console/events?schema=${encodeURIComponent(text)}`);
  }
  const { causes } = await (await fetch(`${base}/rejects/causes`)).json();
  paths.push(...causes.map((cause) => `/console/rejects/${cause.id}`));
  for (const path of paths) {
    await open(path);
    assert.equal(await page.evaluate(() => window.ran), undefined, `something ran at ${path}`);
  }
  await open("/console/send/note.avro");
  for (const text of HOSTILE) {
    await page.getByLabel("The record as JSON").fill(JSON.stringify({ title: text, [text]: text }));
    await page.getByRole("button", { name: "Send", exact: true }).click();
    await page.locator("#outcome .note").waitFor();
    assert.equal(await page.evaluate(() => window.ran), undefined, `${text} ran in the form`);
  }
});

await step("axe finds nothing, and no page is wider than its window", async () => {
  const { causes } = await (await fetch(`${base}/rejects/causes`)).json();
  const paths = ["/", "/console/events", "/console/events/inlake.note.avro/0/1", "/console/send", "/console/send/note.avro", "/console/waiting",
    "/console/rejects", `/console/rejects/${causes[0].id}`, "/console/schemas", "/console/schemas/note.avro", "/console/schemas/none"];
  for (const colorScheme of ["light", "dark"]) {
    const looked = await browser.newContext({ colorScheme, bypassCSP: true, viewport: { width: 360, height: 800 } });
    const other = await looked.newPage();
    for (const path of colorScheme === "light" ? paths : paths.slice(1, 5)) {
      await other.goto(base + path, { waitUntil: "load" });
      assert.ok(await other.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${path} is too wide`);
      await other.evaluate(axe);
      const found = await other.evaluate(() => globalThis.axe.run());
      assert.deepEqual(found.violations.map((each) => `${path} ${each.id} ${each.nodes[0].html}`), []);
    }
    await looked.close();
  }
});

await step("another page cannot frame it", async () => {
  await page.setContent(`<iframe src="${base}/"></iframe>`);
  await page.waitForTimeout(500);
  const [, frame] = page.frames();
  assert.doesNotMatch(await frame.evaluate(() => document.body.textContent).catch(() => ""), /Overview/);
});

assert.deepEqual(faults, []);
await browser.close();
