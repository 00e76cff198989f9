// Screenshots of each page: node shots.mjs ADDRESS ADDRESS_WITH_KEYS CHROMIUM FOLDER [readme | WORD...]
import { chromium } from "playwright-core";

const [base, keyed, executablePath, folder, ...words] = process.argv.slice(2);
const { causes } = await (await fetch(`${base}/rejects/causes`)).json();
// what has no graphics card draws by SwiftShader
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"] });
const fill = async (page) => {
  await page.getByLabel("The record as JSON").fill('{"title": "Häuser am Hang", "width": "(left):"}');
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await page.locator("[aria-invalid], .note").first().waitFor();
};
const TABLE = `constituentid,preferreddisplayname,forwarddisplayname,displaydate,beginyear,endyear,artistofngaobject,constituenttype
900001,"Kollwitz, Käthe",Käthe Kollwitz,"German, 1867 - 1945",1867,1945,true,individual
900002,"Homer, Winslow",Winslow Homer,"American, 1836 - 1910",about 1836,1910,true,individual
900003,"Cassatt, Mary",Mary Cassatt,"American, 1844 - 1926",1844,1926,perhaps,individual
number four,"Unknown",Unknown,active 16th century,,,true,one person
`;
const drop = async (page) => {
  await page.getByLabel(/^A table whose columns/).setInputFiles({ name: "objects.csv", mimeType: "text/csv", buffer: Buffer.from(TABLE) });
  await page.locator("#rows-of-table .note").filter({ hasText: /fit|read/ }).waitFor();
  return page.locator("#table"); // below a form that is longer than a picture
};
const mended = async (page) => {
  await drop(page);
  await page.getByLabel("beginyear of row 3").fill("1836");
  await page.getByRole("button", { name: "Check again" }).click();
  await page.getByText("Checked again.").waitFor();
  return page.locator("#table");
};
const leave = async (page) => {
  await page.getByLabel("The record as JSON").fill('{"title": "Häuser am Hang", "medium": "Etching on paper"}');
  await page.reload();
  await page.getByText("Not sent yet").waitFor();
};
const file = (name, seen) => async (page) => {
  await page.locator("#rows tr", { hasText: name }).locator("a").first().click();
  await page.waitForLoadState("load");
  await page.locator(seen).first().waitFor({ timeout: 60_000 });
  await page.waitForTimeout(1_000);
};
const first = (selector) => async (page) => { await page.locator(selector).first().click(); await page.waitForLoadState("load"); };
const signIn = (path) => async (page) => {
  if (await page.getByLabel("API key").count()) {
    await page.getByLabel("API key").fill("curator");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByText("token:curator").waitFor();
  }
  await page.goto(keyed + path, { waitUntil: "load" });
};
const PAGES = [
  ["overview", "/"],
  ["events", "/console/events"],
  ["events-filtered", "/console/events?schema=cmoa.artwork"],
  ["events-none", "/console/events?schema=cmoa.artwork&destination=nowhere"],
  ["event-record", "/console/events?schema=tate.artwork", first("#rows a")],
  ["event-picture", "/console/events?schema=heritage.digital_object", file("rocket", "img.shown")],
  ["event-pdf", "/console/events?schema=heritage.digital_object", file("slides.pdf", "img.shown")],
  ["event-model", "/console/events?schema=heritage.digital_object", file("spot.ply", ".mesh canvas")],
  ["event-text", "/console/events?schema=heritage.digital_object", file("locations.csv", "pre")],
  ["send", "/console/send"],
  ["form", "/console/send/tate.artwork"],
  ["form-wrong", "/console/send/tate.artwork", fill],
  ["form-left", "/console/send/tate.artwork", leave],
  ["table", "/console/send/nga.constituent", drop],
  ["table-mended", "/console/send/nga.constituent", mended],
  ["table-of-other", "/console/send/tate.artwork", drop],
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
  ["sign-in", `${keyed}/console/sign-in`],
  ["sign-in-wrong", `${keyed}/console/sign-in`, async (page) => {
    await page.getByLabel("API key").fill("no such key");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("alert").waitFor();
  }],
  ["empty-overview", keyed, signIn("/")],
  ["empty-events", keyed, signIn("/console/events")],
  ["empty-send", keyed, signIn("/console/send")],
  ["empty-waiting", keyed, signIn("/console/waiting")],
  ["empty-rejects", keyed, signIn("/console/rejects")],
  ["empty-schemas", keyed, signIn("/console/schemas")],
];
if (words[0] === "readme" || !words.length) {
  for (const [name, as, colorScheme] of [["overview", "console-overview", "light"], ["preview", "console-mend", "dark"]]) {
    const page = await browser.newPage({ viewport: { width: 1100, height: 760 }, colorScheme });
    const [, path, act] = PAGES.find((each) => each[0] === name);
    await page.goto(base + path, { waitUntil: "networkidle" });
    await act?.(page);
    await page.evaluate(() => { document.activeElement?.blur(); window.scrollTo(0, 0); });
    await page.screenshot({ path: `${folder}/${as}.png` });
    await page.close();
  }
}
for (const [width, colorScheme] of [[360, "light"], [1600, "dark"], [800, "light"], [1600, "light"], [360, "dark"], [800, "dark"]]) {
  const context = await browser.newContext({ viewport: { width, height: width < 500 ? 800 : 1000 }, colorScheme });
  for (const [name, path, act] of PAGES) {
    if (words[0] === "readme" || (words.length && !words.some((word) => `${name}-${width}-${colorScheme}`.includes(word)))) continue;
    const page = await context.newPage(); // a tab of its own, which keeps nothing of another
    await page.goto(path.startsWith("/") ? base + path : path, { waitUntil: "load" });
    const part = await act?.(page);
    await page.waitForFunction(() => [...document.images].every((image) => image.complete || image.loading === "lazy"));
    await page.waitForTimeout(name.includes("overview") ? 1_500 : 200); // previews are made when they are asked for
    const [y, height] = await page.evaluate((from) => [Math.max(0, (from?.getBoundingClientRect().top ?? 0) + window.scrollY - 16), document.documentElement.scrollHeight], await part?.elementHandle());
    await page.screenshot({ path: `${folder}/${name}-${width}-${colorScheme}.png`, fullPage: true, clip: { x: 0, y, width, height: Math.min(height - y, 2600) } });
    await page.close();
  }
  await context.close();
}
await browser.close();
