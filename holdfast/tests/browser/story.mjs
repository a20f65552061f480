// A person with a browser: signs in to the console, sees the device, sets it lost, and sees the
// phone's screen locked. Every page is checked: no console error, no violation that axe finds.
// Arguments: the story's `ready` object as JSON, a folder for screenshots.
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const packages = createRequire(path.join(process.env.HOLDFAST_BROWSER, "package.json"));
const { chromium } = packages("playwright-core");
const axe = readFileSync(packages.resolve("axe-core/axe.min.js"), "utf8");

const ready = JSON.parse(process.argv[2]);
const shots = process.argv[3];
mkdirSync(shots, { recursive: true });
const owner = JSON.parse(readFileSync(ready.credentials, "utf8"));
const complaints = [];

const browser = await chromium.launch({
  executablePath: process.env.HOLDFAST_CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run"],
});

async function open(width) {
  const context = await browser.newContext({
    ignoreHTTPSErrors: true, bypassCSP: false, viewport: { width, height: 844 },
  });
  const page = await context.newPage();
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(`${page.url()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => complaints.push(`${page.url()}: ${error}`));
  page.on("response", (response) => {
    if (response.status() >= 500) complaints.push(`${response.url()}: ${response.status()}`);
  });
  return page;
}

// The page's policy forbids foreign scripts, so axe is evaluated through the debugger.
async function examine(page, name) {
  await page.screenshot({ path: path.join(shots, `${name}.png`), fullPage: true });
  const result = await page.evaluate(`(() => { const module = undefined; const exports = undefined;
    ${axe}; return window.axe.run(document, { iframes: false }); })()`);
  for (const violation of result.violations) {
    const where = violation.nodes.map((node) => node.target.join(" ")).join(", ");
    complaints.push(`${name}: axe ${violation.id}: ${violation.help} (${where})`);
  }
  const wide = await page.evaluate("document.documentElement.scrollWidth - window.innerWidth");
  if (wide > 0) complaints.push(`${name}: ${wide} px wider than the window`);
}

function must(holds, what) {
  if (!holds) complaints.push(what);
}

async function text(page) {
  return page.evaluate("document.body.innerText");
}

async function until(what, holds) {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  complaints.push(`not within 10 s: ${what}`);
}

try {
  const phone = await open(390);
  await phone.goto(ready.phone);
  await examine(phone, "phone-before");

  for (const width of [390, 1280]) {
    const page = await open(width);
    await page.goto(ready.console);
    await examine(page, `console-sign-in-${width}`);
    await page.fill('input[name="login"]', owner.email);
    await page.fill('input[name="password"]', owner.password);
    await page.keyboard.press("Enter");
    await page.waitForSelector('a[href^="/devices/"]');
    await examine(page, `console-devices-${width}`);
    for (const name of ["files", "security"]) {
      await page.goto(new URL(`/${name}`, ready.console).href);
      await examine(page, `console-${name}-${width}`);
    }
    await page.goto(ready.console);
    await page.click('a[href^="/devices/"]');
    await page.waitForSelector("svg");
    await examine(page, `console-device-${width}`);
    if (width === 1280) {
      must((await text(page)).toLowerCase().includes("green"), "the device page shows no boot state");
      await page.fill('[name="message"]', "Found in the browser test");
      await page.click('form[action$="/lost"] button');
      await until("the console says that the device is lost", async () => {
        await page.reload();
        return (await text(page)).includes("Found in the browser test");
      });
    }
    await page.context().close();
  }

  await until("the phone's screen shows the message of lost mode", async () => {
    await phone.goto(ready.phone);
    return (await text(phone)).includes("Found in the browser test");
  });
  await examine(phone, "phone-lost");
  const files = await phone.goto(new URL("/files", ready.phone).href);
  must(!(await text(phone)).includes("letters"), `files are shown while locked (${files.status()})`);
} finally {
  await browser.close();
}
for (const complaint of complaints) console.log(complaint);
process.exit(complaints.length === 0 ? 0 : 1);
