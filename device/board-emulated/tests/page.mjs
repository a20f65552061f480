// The person at the trusted screen, in a real browser: every input by mouse, touch and keyboard,
// and another origin's page that tries to get in between. The test that starts this shows the
// prompts, in this order, and judges the answers.
// Arguments: where the trusted screen is, a folder for pictures.
import http from "node:http";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const packages = createRequire(path.join(process.env.HOLDFAST_BROWSER, "package.json"));
const { chromium } = packages("playwright-core");
const axe = readFileSync(packages.resolve("axe-core/axe.min.js"), "utf8");
const [url, shots] = process.argv.slice(2);
mkdirSync(shots, { recursive: true });
setTimeout(() => { console.log("! not over within two minutes"); process.exit(1); }, 120_000).unref();

const complaints = [];
function must(holds, what) {
  if (!holds) complaints.push(what);
}

const browser = await chromium.launch({
  executablePath: process.env.HOLDFAST_CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"],
});
const context = await browser.newContext({ viewport: { width: 390, height: 844 }, hasTouch: true });
context.setDefaultTimeout(20_000);
const page = await context.newPage();
page.on("pageerror", (error) => complaints.push(String(error)));
page.on("console", (message) => {
  if (message.type() === "error" && !/status of (409|422)/.test(message.text())) complaints.push(message.text());
});
let scriptBytes = 0;
page.on("response", async (response) => {
  if (response.url().endsWith(".js")) scriptBytes = (await response.body()).length;
});

const LOOKS = [[390, 844], [1280, 800]];

async function look(name) {
  for (const [width, height] of LOOKS) {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ reducedMotion: "reduce" });
    await page.screenshot({ path: path.join(shots, `${name}-${width}.png`) });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
    must(!wide, `${name} at ${width}: wider than the window`);
    const found = await page.evaluate(`(async () => {
      if (!window.axe) { const module = undefined; const exports = undefined; ${axe}; }
      return (await window.axe.run(document, { resultTypes: ["violations"] })).violations
        .map(({ id, nodes }) => id + " " + nodes.map((node) => node.target.join(" ")).join(", "));
    })()`);
    for (const violation of found) complaints.push(`${name} at ${width}: axe ${violation}`);
  }
  await page.setViewportSize({ width: 390, height: 844 });
}

let last = 0;

/** Waits for the next prompt, whose visible part `selector` names, until it takes answers. */
async function prompt(selector) {
  last = await page.waitForFunction((last) => {
    const { prompt } = document.getElementById("form").dataset;
    return Number(prompt) > last && Number(prompt);
  }, last).then((it) => it.jsonValue());
  await page.locator(selector).waitFor();
  await page.waitForFunction(() => !document.getElementById("cancel").disabled);
}

const mark = () => page.locator("#mark").getAttribute("aria-label");

async function choose() {
  await page.goto(url);
  await page.locator("#change").waitFor();
  await look("trusted-idle");
  await page.click("#change");
  await prompt("#choose");
  must(await page.locator("#mark").isHidden(), "a picture stands there before one was chosen");
  await page.click("#enter");
  must((await page.innerText("#problem")).includes("pictures"), "no picture is no mistake");
  await page.focus("[name=picture]");
  await page.keyboard.press("ArrowRight");
  await page.check("[value=fish]");
  await page.fill("#word", "Kelpie");
  await look("trusted-choose");
  await page.click("#enter");
}

async function pin() {
  await prompt("#pad");
  must((await mark()) === "Your picture and word: fish, Kelpie", `the mark is ${await mark()}`);
  for (const digit of "123") await page.click(`[data-digit="${digit}"]`);
  await page.click("#enter");
  must((await page.innerText("#problem")).includes("at least 4"), "a short PIN is no mistake");
  for (const digit of "4567") await page.click(`[data-digit="${digit}"]`);
  await page.click("#erase");
  const field = page.locator("#text");
  const masked = await field.evaluate((it) => getComputedStyle(it).webkitTextSecurity);
  must(masked === "disc", "the PIN stands there for all to read");
  must(await field.evaluate((it) => it.type === "text" && it.autocomplete === "off"), "browsers offer to keep the PIN");
  await look("trusted-pin");
  await page.click("#enter");
}

async function password() {
  await prompt("#text");
  must((await page.inputValue("#text")) === "", "the PIN is still in the field");
  must(await page.locator("#pad").isHidden(), "a password has no digits' pad");
  await page.locator("#text").fill("t!de-Pool7");
  await look("trusted-password");
  await page.locator("#text").press("Enter");
}

/** Where a dot of the pattern is. */
async function at(dot) {
  const box = await page.locator(`[data-dot="${dot}"]`).boundingBox();
  return [box.x + box.width / 2, box.y + box.height / 2];
}

async function patterns() {
  await prompt("#grid");
  await page.mouse.move(...await at(1));
  await page.mouse.down();
  await page.mouse.move(...await at(7), { steps: 3 });
  await page.mouse.move(...await at(9), { steps: 8 });
  await look("trusted-pattern");
  await page.mouse.move(...await at(9));
  await page.mouse.up();
  await prompt("#grid");
  must((await page.locator(".dot[aria-pressed=true]").count()) === 0, "the last pattern still shows");
  // By finger.
  const finger = await context.newCDPSession(page);
  const touch = async (type, dot) => {
    const [x, y] = dot ? await at(dot) : [];
    const touchPoints = dot ? [{ x, y }] : [];
    await finger.send("Input.dispatchTouchEvent", { type, touchPoints });
  };
  await touch("touchStart", 2);
  for (const dot of [5, 8, 9]) await touch("touchMove", dot);
  await touch("touchEnd");
  await prompt("#grid");
  // By keyboard: dots with space, then digits.
  await page.focus('[data-dot="3"]');
  await page.keyboard.press("Space");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Space");
  for (const digit of "98") await page.keyboard.press(digit);
  must((await page.getAttribute('[data-dot="9"]', "aria-label")) === "Dot 9, number 3 of the pattern", "dots do not say their place");
  await page.click("#enter");
}

async function transactions() {
  await prompt("#transaction");
  must(await page.locator("#enter").isDisabled(), "a text can be confirmed before it was read");
  must(await page.locator("#more").isVisible(), "nothing says that there is more");
  await look("trusted-transaction");
  await page.locator("#words").focus();
  await page.keyboard.press("End");
  await page.waitForFunction(() => !document.getElementById("enter").disabled);
  const words = await page.locator("#words").evaluate((it) => it.textContent);
  must(words.startsWith("Pay 12.50 €") && words.endsWith("The end."), "the text is not whole");
  await page.click("#enter");
  await prompt("#transaction");
  must(await page.locator("#enter").isEnabled(), "a short text can't be confirmed");
  await look("trusted-short-transaction");
  await page.click("#cancel");
}

/** A prompt is swapped for another just as the finger comes down. */
async function swapped() {
  await prompt("#title");
  const [x, y] = await page.locator("#enter").boundingBox().then((box) => [box.x + box.width / 2, box.y + 10]);
  console.log("swap");
  await page.waitForFunction(() => document.getElementById("words").textContent.includes("everything"));
  await page.mouse.click(x, y);
  const id = await page.evaluate(async () => (await (await fetch("/state")).json()).prompt.id);
  const raw = await page.evaluate(async (id) => (await fetch("/entered", {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ id, text: "" }),
  })).status, id);
  must(raw === 409, `an answer right after the swap: ${raw}`);
  await prompt("#transaction");
  await strangers(id);
  await page.click("#cancel");
}

/** The system's own page, on another origin, while a prompt stands. */
async function strangers(id) {
  const evil = http.createServer((_, answer) => {
    answer.setHeader("content-type", "text/html");
    answer.end(`<!doctype html><iframe src="${url}"></iframe><button>open</button>`);
  });
  await new Promise((resolve) => evil.listen(0, "127.0.0.1", resolve));
  const other = await (await browser.newContext()).newPage();
  await other.goto(`http://127.0.0.1:${evil.address().port}`);
  await other.waitForFunction(() => frames.length === 1);
  const framed = other.frames()[1];
  must(framed.url().startsWith("chrome-error:") || framed.url() === "about:blank", `it is framed: ${framed.url()}`);
  const tried = await other.evaluate(async ([url, id]) => {
    const attempt = async (path, init) => {
      try { const answer = await fetch(url + path, init); return `${answer.type} ${answer.status}`; }
      catch { return "refused"; }
    };
    const json = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ id, text: "" }) };
    return {
      read: await attempt("/state"),
      opaque: await attempt("/state", { mode: "no-cors" }),
      answer: await attempt("/entered", json),
      simple: await attempt("/cancelled", { ...json, mode: "no-cors", headers: { "content-type": "text/plain" } }),
      mark: await attempt("/mark", { method: "POST", mode: "no-cors" }),
    };
  }, [url, id]);
  must(tried.read === "refused" && tried.answer === "refused", `another origin reads: ${JSON.stringify(tried)}`);
  must([tried.opaque, tried.simple, tried.mark].every((it) => it === "refused" || it === "opaque 0"), `another origin: ${JSON.stringify(tried)}`);
  // A window that it opens is out of its hands.
  const [popup] = await Promise.all([other.context().waitForEvent("page"), other.evaluate((url) => { window.held = window.open(url); }, url)]);
  await popup.locator("#transaction").waitFor();
  const held = await other.evaluate(() => {
    try { return window.held.closed ? "closed" : window.held.document.title; } catch { return "refused"; }
  });
  must(held === "closed" || held === "refused", `another origin holds the window: ${held}`);
  const opener = await popup.evaluate(() => window.opener === null);
  must(opener, "the window knows who opened it");
  await other.context().close();
  await new Promise((resolve) => evil.close(resolve));
}

try {
  await choose();
  await pin();
  await password();
  await patterns();
  await transactions();
  await swapped();
  await page.locator("#change").waitFor();
  must(await page.locator("#mark").isHidden(), "the mark stands there while nobody asks");
  must(scriptBytes > 0 && scriptBytes < 15 * 1024, `${scriptBytes} bytes of script`);
} catch (error) {
  complaints.push(error.stack);
  await page.screenshot({ path: path.join(shots, "where-it-failed.png") });
}
await browser.close();
for (const complaint of complaints) console.log(`! ${complaint}`);
process.exit(complaints.length ? 1 : 0);
