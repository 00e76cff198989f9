// Files at the console, in a real browser: what was sent is seen, as far as it can be: node files.mjs ADDRESS CHROMIUM FOLDER
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join } from "node:path";
import { chromium } from "playwright-core";

const [base, executablePath, folder] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
// what has no graphics card draws by SwiftShader
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"] });
const page = await browser.newPage({ viewport: { width: 900, height: 700 } });
page.setDefaultTimeout(60_000);
const faults = [];
page.on("pageerror", (error) => faults.push(error.message));
page.on("console", (message) => { if (message.type() === "error" && /Content Security/.test(message.text())) faults.push(message.text()); });
page.on("request", (request) => { if (!/^(data|blob):/.test(request.url()) && !request.url().startsWith(base)) faults.push(`asks ${request.url()}`); });
const step = async (name, work) => {
  const began = Date.now();
  await work();
  console.log(`${name}: ${Date.now() - began} ms`);
};

/** Sends a file with a record; the path of its event's page. */
async function sent(name, type) {
  const form = new FormData();
  form.append("record", new Blob(['{"title": "x"}'], { type: "application/json" }));
  form.append("file", new Blob([readFileSync(join(folder, name))], { type }), basename(name));
  const answer = await fetch(`${base}/ingress/record-json-and-binary?schema=note`, { method: "POST", body: form });
  assert.equal(answer.status, 201);
  const { topic, partition, offset } = await answer.json();
  return `${base}/console/events/${topic}/${partition}/${offset}`;
}

/** How much of what is shown is of another colour than its corner. */
async function drawn(selector) {
  const shot = (await page.locator(selector).screenshot({ timeout: 120_000 })).toString("base64");
  return page.evaluate(async (content) => {
    const image = new Image();
    image.src = `data:image/png;base64,${content}`;
    await image.decode();
    const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, image.width, image.height);
    const at = 4 * (20 * image.width + 20); // inside of the border
    let others = 0;
    for (let n = 0; n < data.length; n += 4) others += Math.abs(data[n] - data[at]) + Math.abs(data[n + 1] - data[at + 1]) + Math.abs(data[n + 2] - data[at + 2]) > 60;
    return (4 * others) / data.length;
  }, shot);
}

await page.setViewportSize({ width: 360, height: 500 }); // few pixels: they are computed one by one
for (const [name, type] of [["cube.glb", "model/gltf-binary"], ["form.obj", "model/obj"], ["form.stl", "model/stl"]])
  await step(`${name} is drawn`, async () => {
    await page.goto(await sent(name, type));
    let share = 0;
    for (let tries = 0; tries < 30 && share < 0.05; tries += 1) {
      await page.waitForTimeout(500);
      share = await drawn("model-viewer, [data-mesh]");
    }
    assert.ok(share > 0.05 && share < 0.8, `${name}: ${share} of it is drawn`);
  });

await page.setViewportSize({ width: 900, height: 700 });
await step("a TIFF has a preview", async () => {
  await page.goto(await sent("scan.tif", "image/tiff"));
  await page.waitForFunction(() => document.querySelector("img.shown")?.naturalWidth === 1200);
});

await step("what cannot be drawn says so", async () => {
  await page.goto(await sent("broken.stl", "image/tiff"));
  await page.getByText("No preview. The file is no picture that can be read").waitFor();
  await page.goto(await sent("broken.stl", "model/obj"));
  await page.getByText("It cannot be drawn: there is nothing in it.").waitFor();
});

await step("a table whose rows do not fit reads well", async () => {
  await page.goto(`${base}/console/send/note`);
  const lines = ["title,year,tags", ...Array.from({ length: 5 }, (_, n) => `"No. ${n}; <b>",about 1889,`)];
  await page.getByLabel("A table whose columns").setInputFiles({ name: "objects.csv", mimeType: "text/csv", buffer: Buffer.from(lines.join("\n")) });
  await page.getByText("0 rows fit, 5 do not.").waitFor();
  await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run());
  assert.deepEqual(found.violations.map((each) => `${each.id} ${each.nodes[0].html}`), []);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "the table makes the page too wide");
  await page.getByRole("button", { name: "Remove the table" }).click();
  await page.reload();
  assert.equal(await page.getByText("do not.").count(), 0);
});

assert.deepEqual(faults, []);
await browser.close();
