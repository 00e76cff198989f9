// The console's pages as a browser has them, whoever looks and whatever was sent: node console.mjs ADDRESS CHROMIUM ADDRESS_WITH_KEYS KEY
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [base, executablePath, keyed, key] = process.argv.slice(2);
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
let picture; // the path of an event with one
page.on("pageerror", (error) => faults.push(error.message));
page.on("dialog", (dialog) => { faults.push("a dialog"); return dialog.dismiss(); });

const open = (path) => page.goto(base + path, { waitUntil: "load" });
const post = (path, body, headers = {}) => fetch(base + path, { method: "POST", body, headers: { "Content-Type": "application/json", ...headers } });
const step = async (name, work) => {
  const began = Date.now();
  await work();
  console.log(`${name}: ${Date.now() - began} ms`);
};

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

await step("a record that is not sent is there again, until it is sent or given up", async () => {
  await page.getByRole("link", { name: "Events", exact: true }).click();
  await open("/console/send/note.avro");
  await page.getByText("Not sent yet, as you left it.").waitFor();
  assert.match(await page.getByLabel("The record as JSON").inputValue(), /12345678901234567890/);
  assert.equal(await page.getByLabel(/^title( required)?$/).inputValue(), "y");
  await Promise.all([page.waitForEvent("load"), page.getByRole("button", { name: "Start anew" }).click()]);
  assert.equal(await page.getByLabel(/^title( required)?$/).inputValue(), "");
  await page.getByLabel(/^title( required)?$/).fill("kept");
  await page.getByLabel("Destination, if any").fill("prints/2026");
  await page.reload();
  await page.getByText("Not sent yet, as you left it.").waitFor();
  assert.equal(await page.getByLabel("Destination, if any").inputValue(), "prints/2026");
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await page.getByRole("link", { name: "see it" }).waitFor();
  await page.reload();
  assert.equal(await page.getByLabel(/^title( required)?$/).inputValue(), "");
  assert.equal(await page.getByText("Not sent yet").count(), 0);
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
});

await step("a record is not called unsent while its answer is awaited, and what is typed meanwhile is kept", async () => {
  let release;
  const held = new Promise((resolve) => { release = resolve; });
  await page.route("**/ingress/record-json?*", async (route) => { await held; await route.continue().catch(() => {}); });
  await open("/console/send/note.avro");
  await page.getByLabel(/^title( required)?$/).fill("on its way");
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await page.reload();
  await page.getByText("Nobody knows whether it was sent").waitFor();
  assert.equal(await page.getByText("Not sent yet").count(), 0);
  await page.reload();
  await page.getByText("Nobody knows whether it was sent").waitFor();
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await page.getByLabel(/^title( required)?$/).fill("the next one");
  release();
  await page.getByRole("link", { name: "see it" }).waitFor();
  await page.unroute("**/ingress/record-json?*");
  await page.reload();
  await page.getByText("Not sent yet, as you left it.").waitFor();
  assert.equal(await page.getByLabel(/^title( required)?$/).inputValue(), "the next one");
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await page.getByRole("link", { name: "see it" }).click();
  await page.getByRole("heading", { name: "the next one" }).waitFor();
});

await step("a form works where the browser lets no page keep anything", async () => {
  const blocked = await browser.newContext();
  await blocked.addInitScript(() => Object.defineProperty(window, "sessionStorage", { get() { throw new DOMException("blocked", "SecurityError"); } }));
  const one = await blocked.newPage();
  const wrong = [];
  one.on("pageerror", (error) => wrong.push(error.message));
  one.on("dialog", (dialog) => { wrong.push("a dialog"); return dialog.accept(); });
  await one.goto(`${base}/console/send/note.avro`);
  await one.getByLabel(/^title( required)?$/).fill("blocked");
  await one.getByRole("button", { name: "Send", exact: true }).click();
  await one.getByRole("link", { name: "see it" }).click();
  await one.getByRole("heading", { name: "blocked" }).waitFor();
  assert.deepEqual(wrong, []);
  await blocked.close();
});

await step("an empty value is asked about, and nothing is sent", async () => {
  await post("/ingress/record-json?schema=note.avro", '{"title": "x", "tags": [7]}');
  await open("/console/rejects");
  await page.getByRole("link", { name: /^1 of note\.avro/ }).first().click();
  await page.getByRole("button", { name: "Preview" }).click();
  await page.getByText("Write what is to stand there.").waitFor();
  assert.equal(await page.getByLabel("put there").getAttribute("aria-invalid"), "true");
});

await step("older events follow, and filters find them", async () => {
  const lines = Array.from({ length: 120 }, (_, n) => `{"title": "No. ${n}"}`).join("\n");
  await post("/ingress/record-json?schema=note.avro", lines, { "Content-Type": "application/x-ndjson" });
  await post("/ingress/record-json?schema=note.json", '{"title": "the only one"}');
  await open("/console/events?schema=note.avro");
  await page.getByText("The newest 100 that fit.").waitFor();
  await page.getByRole("link", { name: "Older" }).click();
  await page.getByText(/^\d+ older events?, from /).waitFor();
  await page.getByRole("link", { name: "Newest" }).click();
  await page.getByLabel("Schema").fill("note.json");
  await page.getByRole("button", { name: "Show" }).click();
  await page.getByText("1 event that fits, all there are.").waitFor();
});

await step("a picture is sent by form and shown", async () => {
  await open("/console/send/note.avro");
  await page.getByLabel(/^title( required)?$/).fill("picture");
  const png = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==", "base64");
  await page.getByLabel("The file that belongs to it").setInputFiles({ name: "dot.png", mimeType: "image/png", buffer: png });
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await page.getByRole("link", { name: "see it" }).click();
  await page.waitForFunction(() => document.querySelector("img.shown")?.naturalWidth === 1);
  picture = new URL(page.url()).pathname;
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
    for (const path of [...(colorScheme === "light" ? paths : paths.slice(1, 5)), `${keyed}/console/sign-in`]) {
      await other.goto(path.startsWith("/") ? base + path : path, { waitUntil: "load" });
      assert.ok(await other.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${path} is too wide`);
      await other.evaluate(axe);
      const found = await other.evaluate(() => globalThis.axe.run());
      assert.deepEqual(found.violations.map((each) => `${path} ${each.id} ${each.nodes[0].html}`), []);
    }
    await looked.close();
  }
});

await step("pages are small, soon there, and nothing moves", async () => {
  const { causes } = await (await fetch(`${base}/rejects/causes`)).json();
  const fresh = await browser.newContext({ viewport: { width: 1200, height: 900 } });
  await fresh.addInitScript(() => {
    window.moved = 0;
    new PerformanceObserver((list) => { for (const entry of list.getEntries()) window.moved += entry.value; }).observe({ type: "layout-shift", buffered: true });
  });
  const looked = await fresh.newPage();
  const paint = async (path) => {
    await looked.goto(base + path, { waitUntil: "networkidle" });
    await looked.waitForFunction(() => performance.getEntriesByName("first-contentful-paint").length);
    return looked.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime);
  };
  for (const path of ["/", "/console/events", picture, "/console/send", "/console/send/note.avro", "/console/waiting", "/console/rejects",
    `/console/rejects/${causes[0].id}`, "/console/schemas", "/console/schemas/note.avro"]) {
    const paints = [];
    do paints.push(Math.round(await paint(path))); // again, since the machine may be busy with something else
    while (paints.at(-1) >= 300 && paints.length < 5);
    const bytes = await looked.evaluate(() => performance.getEntriesByType("navigation")[0].decodedBodySize
      + performance.getEntriesByType("resource").filter((entry) => entry.name.includes("/console/static/")).reduce((sum, entry) => sum + entry.decodedBodySize, 0));
    const moved = await looked.evaluate(() => window.moved);
    console.log(`  ${path}: ${bytes} bytes, first content after ${paints} ms, moved by ${moved}`);
    assert.ok(bytes < 150_000, `${path} has ${bytes} bytes`);
    assert.ok(Math.min(...paints) < 1000, `${path} shows its first content after ${paints} ms`); // 300, where nothing else runs
    assert.ok(moved < 0.001, `${path} moves`);
  }
  await fresh.close();
});

/** Press Tab until what has the focus is called so. */
async function tabTo(name) {
  const passed = [];
  for (let n = 0; n < 200; n += 1) {
    await page.keyboard.press("Tab");
    const called = await page.evaluate(() => {
      const e = document.activeElement;
      return (e.getAttribute("aria-label") || e.labels?.[0]?.firstChild?.textContent || e.textContent || "").trim();
    });
    if (name.test(called)) return;
    passed.push(called.slice(0, 30));
  }
  assert.fail(`Tab never came to ${name}, but to ${passed.slice(0, 40)}`);
}
/** Press Enter where that leads to another page. */
async function enter() {
  await Promise.all([page.waitForEvent("load"), page.keyboard.press("Enter")]);
}
const press = async (...keys) => { for (const each of keys) await page.keyboard.press(each); };

await step("one signs in, sends, mends, adds a version and signs out by keyboard alone", async () => {
  await page.goto(`${keyed}/`);
  await page.getByLabel("API key").waitFor();
  await page.keyboard.type("no such key");
  await enter();
  await page.getByRole("alert").waitFor();
  await page.keyboard.type(key);
  await enter();
  await page.getByText("token:curator").waitFor();
  for (const language of ["avro", "protobuf", "json"]) {
    await tabTo(/^Send$/);
    await enter();
    await tabTo(new RegExp(`^note.${language}$`));
    await enter();
    await tabTo(/^title/);
    await page.keyboard.type(`By keyboard, ${language}`);
    await tabTo(/^Send$/);
    await press("Enter");
    await page.getByRole("link", { name: "see it" }).waitFor();
  }
  await fetch(`${keyed}/ingress/record-json?schema=note.avro`, { method: "POST", body: '{"title": "x", "tags": [7]}', headers: { "Content-Type": "application/json", Authorization: `Bearer ${key}` } });
  await page.goto(`${keyed}/console/events`);
  await page.getByRole("link", { name: "By keyboard, json" }).waitFor();
  await tabTo(/^Rejects$/);
  await enter();
  await tabTo(/^1 of note\.avro/);
  await enter();
  await tabTo(/^put there/);
  await page.keyboard.type("etching");
  await enter();
  await page.getByText("1 of 1 fits then").waitFor();
  await enter(); // the preview leads to what sends
  await page.getByText("1 sent and accepted, 0 still refused.").waitFor();
  await tabTo(/^Schemas$/);
  await enter();
  await tabTo(/^note.json$/);
  await enter();
  await tabTo(/^Add a version$/);
  await press("Enter");
  await tabTo(/^Text of the new version/);
  await press("Control+a");
  await page.keyboard.type('{"type": "object", "properties": {"title": {"type": "string"}}}');
  await tabTo(/^Add version 2$/);
  await enter();
  await page.getByRole("heading", { name: "What version 2 changed" }).waitFor();
  await tabTo(/^Sign out$/);
  await enter();
  await page.getByLabel("API key").waitFor();
  await page.goto(`${keyed}/console/events`);
  await page.getByLabel("API key").waitFor();
});

await step("another page cannot frame it", async () => {
  await page.setContent(`<iframe src="${base}/"></iframe>`);
  await page.waitForTimeout(500);
  const [, frame] = page.frames();
  assert.doesNotMatch(await frame.evaluate(() => document.body.textContent).catch(() => ""), /Overview/);
});

assert.deepEqual(faults, []);
await browser.close();
