// The whole way of a curator at the console, in a real browser: node curator.mjs ADDRESS CHROMIUM KEY FOLDER
import assert from "node:assert/strict";
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [base, executablePath, key, folder] = process.argv.slice(2);
// what has no graphics card draws by SwiftShader
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"] });
const context = await browser.newContext({ viewport: { width: 1100, height: 900 } });
const page = await context.newPage();
page.setDefaultTimeout(60_000);
const devtools = await context.newCDPSession(page);
const faults = [];
page.on("pageerror", (error) => faults.push(error.message));

const open = (path) => page.goto(base + path, { waitUntil: "load" });
const send = (path, body, headers = {}) => fetch(base + path, { method: "POST", body, headers: { Authorization: `Bearer ${key}`, ...headers } });
const step = async (name, work) => {
  const began = Date.now();
  await work();
  console.log(`${name}: ${Date.now() - began} ms`);
};

/** Drop a file of this machine there, as a person does. */
async function drop(selector, path) {
  const place = page.locator(selector);
  await place.scrollIntoViewIfNeeded();
  const box = await place.boundingBox();
  const at = { x: box.x + box.width / 2, y: box.y + Math.min(box.height / 2, 30), data: { items: [], files: [path], dragOperationsMask: 1 } };
  for (const type of ["dragEnter", "dragOver", "drop"]) await devtools.send("Input.dispatchDragEvent", { type, ...at });
}

async function withTitle(title) {
  await page.getByLabel(/^title( required)?$/).fill(title);
}

await step("one signs in with a key", async () => {
  await open("/");
  await page.getByLabel("API key").fill(key);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("token:curator").waitFor();
});

for (const language of ["avro", "protobuf", "json"])
  await step(`a record is sent by form, ${language}`, async () => {
    await open(`/console/send/note.${language}`);
    await withTitle("Häuser <b>");
    await page.getByLabel(/^year/).fill("1889");
    const add = page.getByRole("button", { name: "Add to tags" });
    if (!(await add.isVisible())) await page.getByLabel("tags is").selectOption("given");
    await add.click();
    await page.getByRole("group", { name: "tags" }).getByRole("textbox").fill("etching");
    const record = JSON.parse(await page.getByLabel("The record as JSON").inputValue());
    assert.deepEqual([record.title, String(record.year), record.tags], ["Häuser <b>", "1889", ["etching"]]);
    await page.getByRole("button", { name: "Send", exact: true }).click();
    await page.getByRole("link", { name: "see it" }).click();
    await page.getByText('"title": "Häuser <b>"').waitFor();
  });

await step("an event shows up on an open page within a second of its 201", async () => {
  await open("/console/events");
  const took = [];
  do { // the page may not look yet, and the machine may be busy with something else
    const mark = `live${took.length}`;
    assert.equal((await send(`/ingress/record-json?schema=note.avro&destination=${mark}`, '{"title": "x"}', { "Content-Type": "application/json" })).status, 201);
    const began = Date.now();
    await page.locator("tr.new", { hasText: mark }).waitFor({ timeout: 2000 }).catch(() => {});
    took.push(Date.now() - began);
  } while (took.at(-1) > 1000 && took.length < 10);
  console.log(`  after ${took} ms`);
  assert.ok(took.at(-1) <= 1000);
});

await step("a large file is dropped, paused, and goes on after the page was loaded again", async () => {
  const file = join(folder, "large.bin");
  const megabytes = Number(process.env.INLAKE_TEST_UPLOAD_MB ?? 40);
  const [piece, out] = [Buffer.alloc(1 << 20, 7), openSync(file, "w")];
  for (let n = 0; n < megabytes; n += 1) writeSync(out, piece);
  closeSync(out);
  const choose = async () => {
    await withTitle("large");
    await drop("#file", file);
    await page.getByRole("button", { name: "Send", exact: true }).click();
  };
  let patches = 0;
  page.on("request", (request) => { patches += request.method() === "PATCH"; });
  await open("/console/send/note.avro");
  await choose();
  await page.waitForFunction(() => document.querySelector("#progress progress").value >= 20);
  await page.getByRole("button", { name: "Pause" }).click();
  const before = patches;
  await page.reload();
  await page.getByText("Not sent yet, as you left it. Choose large.bin once more: what came in of it is not sent again.").waitFor();
  await choose();
  await page.getByRole("link", { name: "see it" }).waitFor({ timeout: 200_000 });
  const pieces = Math.ceil(megabytes / 8);
  assert.ok(patches - before < pieces, `${patches - before} of ${pieces} pieces were sent again`);
});

await step("a table of 50 rows with 5 bad cells is dropped, mended in place, there after the page was left, and sent", async () => {
  const file = join(folder, "objects.csv");
  const lines = Array.from({ length: 50 }, (_, n) => `"No. ${n}; <b>",${n % 10 === 3 ? "about 1889" : 1800 + n},`);
  writeFileSync(file, ["title,year,tags", ...lines].join("\n"));
  await open("/console/send/note.avro");
  await drop("#table", file);
  await page.getByText("45 rows fit, 5 do not.").waitFor();
  const mend = async (rows) => { for (const row of rows) await page.getByLabel(`year of row ${row}`, { exact: true }).fill("1889"); };
  await mend([5, 15]);
  await page.reload();
  await page.getByText("objects.csv, as you left it. 45 rows fit, 5 do not.").waitFor();
  assert.equal(await page.getByLabel("year of row 15", { exact: true }).inputValue(), "1889");
  await mend([25, 35, 45]);
  await page.getByRole("button", { name: "Check again" }).click();
  await page.getByText("50 rows fit, 0 do not.").waitFor();
  await page.getByRole("button", { name: "Send 50 rows" }).click();
  await page.getByText("50 rows sent and accepted. That is all of the table.").waitFor();
  await page.reload();
  assert.equal(await page.getByText("as you left it").count(), 0);
});

/** Send a file with a record; the page of its event is open then. */
async function sent(name, type) {
  const form = new FormData();
  form.append("record", new Blob(['{"title": "x"}'], { type: "application/json" }));
  form.append("file", new Blob([readFileSync(join(folder, name))], { type }), name);
  const answer = await send("/ingress/record-json-and-binary?schema=note.avro", form);
  assert.equal(answer.status, 201);
  const { topic, partition, offset } = await answer.json();
  await open(`/console/events/${topic}/${partition}/${offset}`);
}

await step("a picture and the first page of a PDF are seen", async () => {
  await sent("picture.png", "image/png");
  await page.waitForFunction(() => document.querySelector("img.shown")?.naturalWidth === 300);
  await sent("page.pdf", "application/pdf");
  await page.waitForFunction(() => document.querySelector("img.shown")?.naturalWidth === 1200);
});

await step("a model is drawn in 3D", async () => {
  await page.setViewportSize({ width: 360, height: 500 }); // few pixels: they are computed one by one
  await sent("form.obj", "model/obj");
  await page.locator("[data-mesh] canvas").waitFor();
  await open("/console/rejects");
  await page.setViewportSize({ width: 1100, height: 900 });
});

await step("a cause of 100 rejects is mended at once", async () => {
  const lines = Array.from({ length: 100 }, (_, n) => `{"title": "${n}", "tags": ["a", ${n}]}`).join("\n");
  await send("/ingress/record-json?schema=note.avro", lines, { "Content-Type": "application/x-ndjson" });
  await open("/console/rejects");
  await page.getByRole("link", { name: /^100 of note\.avro/ }).click();
  await page.getByLabel("put there").fill("etching");
  await page.getByRole("button", { name: "Preview" }).click();
  await page.getByText("100 of 100 fit then").waitFor();
  await page.getByRole("button", { name: "Send 100 again" }).click();
  await page.getByText("100 sent and accepted, 0 still refused.").waitFor();
});

await step("a version of a schema is added, and its difference shown", async () => {
  await open("/console/schemas/note.avro");
  const schema = JSON.parse(await page.getByLabel("Text of the new version").inputValue());
  schema.fields.push({ name: "maker", type: ["null", "string"], default: null });
  await page.getByLabel("Text of the new version").fill(JSON.stringify(schema));
  await page.getByRole("button", { name: "Add version 2" }).click();
  await page.getByRole("heading", { name: "What version 2 changed" }).waitFor();
  assert.match(await page.getByLabel("Changes").textContent(), /\+.*"maker"/);
});

await step("who signs out leaves nothing", async () => {
  const file = join(folder, "bad.csv");
  writeFileSync(file, "title,year\nx,soon");
  await open("/console/send/note.avro");
  await drop("#table", file);
  await page.getByText("0 rows fit, 1 does not.").waitFor();
  await withTitle("of whoever sits here");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("API key").waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  await open("/console/events");
  await page.getByLabel("API key").waitFor();
});

await step("one signs in at the issuer, which is another site, and out", async () => {
  await page.getByRole("link", { name: /^Sign in at localhost/ }).click();
  await page.getByPlaceholder("Enter any login").fill("ann");
  await page.getByPlaceholder("and password").fill("any");
  await page.getByRole("button", { name: "Sign-in" }).click();
  await page.getByRole("button", { name: "Continue" }).click();
  await page.getByText("oidc:ann").first().waitFor();
  await page.waitForURL(`${base}/`);
  await open("/console/send/note.json");
  await withTitle("by ann");
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await page.getByRole("link", { name: "see it" }).waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("API key").waitFor();
});

assert.deepEqual(faults, []);
await browser.close();
