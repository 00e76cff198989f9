// Screenshots of each page: node shots.mjs ADDRESS CHROMIUM FOLDER [readme | WORD...]
import { chromium } from "playwright-core";

const [base, executablePath, folder, ...words] = process.argv.slice(2);
const { causes } = await (await fetch(`${base}/rejects/causes`)).json();
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const fill = async (page) => {
  await page.getByLabel("The record as JSON").fill('{"title": "Häuser am Hang", "width": "(left):"}');
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await page.locator("[aria-invalid], .note").first().waitFor();
};
const first = (selector) => async (page) => { await page.locator(selector).first().click(); await page.waitForLoadState("load"); };
const PAGES = [
  ["overview", "/"],
  ["events", "/console/events"],
  ["events-filtered", "/console/events?schema=cmoa.artwork"],
  ["events-none", "/console/events?schema=cmoa.artwork&destination=nowhere"],
  ["event-record", "/console/events?schema=tate.artwork", first("#rows a")],
  ["event-picture", "/console/events?schema=heritage.digital_object", async (page) => {
    await page.locator("#rows tr", { hasText: "rocket" }).locator("a").first().click();
    await page.waitForLoadState("load");
  }],
  ["send", "/console/send"],
  ["form", "/console/send/tate.artwork"],
  ["form-wrong", "/console/send/tate.artwork", fill],
  ["form-file", "/console/send/heritage.digital_object"],
  ["form-protobuf", "/console/send/tate.artwork.protobuf"],
  ["form-json", "/console/send/tate.artist.json"],
  ["waiting", "/console/waiting"],
  ["rejects", "/console/rejects"],
  ["cause", `/console/rejects/${causes[0].id}`],
  ["preview", `/console/rejects/${causes[0].id}`, async (page) => {
    await page.getByLabel("put there").fill("1901-01-01");
    await page.getByRole("button", { name: "Preview" }).click();
    await page.getByText("Nothing was sent yet").waitFor();
  }],
  ["schemas", "/console/schemas"],
  ["schema", "/console/schemas/tate.artist"],
  ["error", "/console/schemas/none"],
];
if (words[0] === "readme") {
  for (const [name, as, colorScheme] of [["overview", "console-overview", "light"], ["preview", "console-mend", "dark"]]) {
    const page = await browser.newPage({ viewport: { width: 1100, height: 760 }, colorScheme });
    const [, path, act] = PAGES.find((each) => each[0] === name);
    await page.goto(base + path, { waitUntil: "networkidle" });
    await act?.(page);
    await page.evaluate(() => { document.activeElement?.blur(); window.scrollTo(0, 0); });
    await page.screenshot({ path: `${folder}/${as}.png` });
  }
  await browser.close();
  process.exit();
}
for (const [width, colorScheme] of [[360, "light"], [800, "light"], [1600, "light"], [360, "dark"], [1600, "dark"]]) {
  const context = await browser.newContext({ viewport: { width, height: width < 500 ? 800 : 1000 }, colorScheme });
  const page = await context.newPage();
  for (const [name, path, act] of PAGES) {
    if (words.length && !words.some((word) => `${name}-${width}-${colorScheme}`.includes(word))) continue;
    await page.goto(base + path, { waitUntil: "load" });
    await act?.(page);
    await page.waitForTimeout(200);
    const height = await page.evaluate(() => document.documentElement.scrollHeight);
    await page.screenshot({ path: `${folder}/${name}-${width}-${colorScheme}.png`, fullPage: true, clip: { x: 0, y: 0, width, height: Math.min(height, 2600) } });
  }
  await context.close();
}
await browser.close();
