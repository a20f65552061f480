// What every act of the story needs: a browser whose pages are watched, checks that collect
// complaints, waiting with a limit, and the sockets that a person's programs would use.
import http from "node:http";
import https from "node:https";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const packages = createRequire(path.join(process.env.HOLDFAST_BROWSER, "package.json"));
const { chromium } = packages("playwright-core");
const axe = readFileSync(packages.resolve("axe-core/axe.min.js"), "utf8");

/** The story's `ready` object, and where screenshots go. */
export const ready = JSON.parse(process.argv[2]);
const shots = process.argv[3];
mkdirSync(shots, { recursive: true });

export const state = path.dirname(ready.credentials);
export const owner = JSON.parse(readFileSync(ready.credentials, "utf8"));
export const complaints = [];

/** At most this much waiting for anything that should happen. */
const LIMIT_MS = 10_000;
/** At most this long for everything: a busy machine needs a third of it. */
const WHOLE_MS = 180_000;
/** The most script that a page may bring, in bytes. */
const MAX_SCRIPT = 15 * 1024;
/** Widths that every page is looked at, each in one of the two colour schemes. */
const LOOKS = [[390, 844, "dark"], [1280, 800, "light"]];

setTimeout(() => {
  console.log([`not over within ${WHOLE_MS / 1000} s`, ...complaints].join("\n"));
  process.exit(1);
}, WHOLE_MS).unref();

export function must(holds, what) {
  if (!holds) complaints.push(what);
  return holds;
}

/** Asks again and again, until it holds or the limit is over. */
export async function until(what, holds) {
  const end = Date.now() + LIMIT_MS;
  while (Date.now() < end) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`not within ${LIMIT_MS / 1000} s: ${what}`);
}

/** An act of the story: what goes wrong in it is told with its name. */
export async function act(name, play) {
  const start = Date.now();
  try {
    await play();
  } catch (error) {
    throw new Error(`${name}: ${error.message}`, { cause: error });
  } finally {
    console.log(`${name}: ${Date.now() - start} ms`);
  }
}

export function launch() {
  return chromium.launch({
    executablePath: process.env.HOLDFAST_CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", "--no-first-run"],
  });
}

/** Bytes of script that came, by address. */
const scripts = new Map();

/** A page, watched: no error, no answer without its policy, no script that is too large. */
export async function open(browser) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  context.setDefaultTimeout(LIMIT_MS);
  const page = await context.newPage();
  // While the phone is off its page rightly finds nobody: the story says so here.
  page.offline = false;
  page.on("console", (message) => {
    if (message.type() !== "error" || page.offline) return;
    // The story itself gives wrong passwords; the browser notes the status of the answer.
    const refused = /status of (401|403|429)/.test(message.text()) && page.refusalDue;
    if (!refused) complaints.push(`${page.url()}: console: ${message.text()}`);
  });
  page.on("pageerror", (error) => complaints.push(`${page.url()}: ${error}`));
  page.on("response", (response) => check(response));
  return page;
}

async function check(response) {
  const [url, status] = [response.url(), response.status()];
  must(status < 500, `${url}: ${status}`);
  const kind = response.headers()["content-type"] ?? "";
  if (kind.startsWith("text/html")) checkPolicy(url, response.headers());
  if (response.request().resourceType() === "script") {
    scripts.set(url, (await response.body().catch(() => "")).length);
  }
}

function checkPolicy(url, headers) {
  const policy = headers["content-security-policy"] ?? "";
  for (const part of ["default-src 'none'", "require-trusted-types-for 'script'",
    "frame-ancestors ", "base-uri 'none'", "form-action "]) {
    must(policy.includes(part), `${url}: the policy lacks ${part}: ${policy}`);
  }
  must(!/unsafe|\*|data:/.test(policy), `${url}: the policy is not strict: ${policy}`);
  must(headers["x-content-type-options"] === "nosniff", `${url}: no nosniff`);
}

/** Asserts that each origin's scripts are small, and that they were seen at all. */
export function checkScripts(origins) {
  for (const origin of origins) {
    const sizes = [...scripts].filter(([url]) => url.startsWith(origin)).map(([, size]) => size);
    const sum = sizes.reduce((a, b) => a + b, 0);
    must(sum > 0 && sum < MAX_SCRIPT, `${origin}: ${sum} bytes of script`);
  }
}

/** Looks at the page in both widths and schemes: axe, overflow, a picture; and tabs through it. */
export async function examine(page, name) {
  for (const [width, height, colorScheme] of LOOKS) {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.screenshot({ path: path.join(shots, `${name}-${width}.png`) });
    // The page's policy forbids foreign scripts, so axe is evaluated through the debugger.
    const result = await page.evaluate(`(async () => {
      if (!window.axe) { const module = undefined; const exports = undefined; ${axe}; }
      return (await window.axe.run(document, { iframes: false, resultTypes: ["violations"] }))
        .violations.map(({ id, help, nodes }) =>
          id + ": " + help + " (" + nodes.map((node) => node.target.join(" ")).join(", ") + ")");
    })()`);
    for (const violation of result) complaints.push(`${name} at ${width}: axe ${violation}`);
    const wide = await page.evaluate(overflow);
    must(wide === "", `${name} at ${width}: wider than the window: ${wide}`);
  }
  await tabThrough(page, name);
}

/** What sticks out at the right; empty where nothing does. */
function overflow() {
  const edge = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= edge) return "";
  const wide = [...document.querySelectorAll("body *")]
    .filter((element) => element.getBoundingClientRect().right > edge + 1);
  return wide.map((element) => element.tagName + "." + element.className).join(" ") || "the page";
}

/** Every control is reached with Tab, and shows that it is. */
async function tabThrough(page, name) {
  const controls = await page.evaluate(() => {
    document.activeElement?.blur();
    const all = document.querySelectorAll("a[href], button, input, textarea, summary");
    return [...all].filter((it) => it.checkVisibility({ visibilityProperty: true })
      && !it.disabled && it.type !== "hidden" && !it.closest("[inert]")).length;
  });
  const seen = new Set();
  for (let press = 0; press <= controls && seen.size < controls; press += 1) {
    await page.keyboard.press("Tab");
    const focus = await page.evaluate(() => {
      const it = document.activeElement;
      if (!it || it === document.body || it.tagName === "IFRAME") return null;
      const style = getComputedStyle(it);
      const box = it.getBoundingClientRect();
      const all = [...document.querySelectorAll("*")];
      return {
        which: all.indexOf(it), what: `${it.tagName} ${it.textContent.trim().slice(0, 30)}`,
        outlined: style.outlineStyle !== "none" && Number.parseFloat(style.outlineWidth) >= 2,
        inView: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
      };
    });
    if (!focus) continue;
    seen.add(focus.which);
    must(focus.outlined && focus.inView, `${name}: focus does not show on ${focus.what}`);
  }
  must(seen.size >= controls, `${name}: Tab reaches ${seen.size} of ${controls} controls`);
  await page.evaluate(() => document.activeElement?.blur());
}

/** Presses Tab until what `selector` names has the focus. */
export async function tabTo(page, selector) {
  for (let press = 0; press < 60; press += 1) {
    if (await page.evaluate((it) => document.activeElement?.matches(it), selector)) return;
    await page.keyboard.press("Tab");
  }
  throw new Error(`${page.url()}: Tab does not reach ${selector}`);
}

/** What the page says, white space made plain. */
export async function text(page) {
  const words = await page.evaluate(() => document.body?.innerText ?? "").catch(() => "");
  return words.replace(/\s+/g, " ");
}

/** Waits until the page, left alone, says `words`. */
export function says(page, words) {
  return until(`${page.url()} says "${words}"`, async () => (await text(page)).includes(words));
}

/** The bytes that a click on a link downloads. */
export async function downloaded(page, link) {
  const [download] = await Promise.all([page.waitForEvent("download"), link.click()]);
  return readFileSync(await download.path());
}

/** Sends JSON, or a buffer as it is; gives back status and body. `at` has `socketPath`, or `url` and `ca`. */
export function call(at, method, route, { body, bearer } = {}) {
  const headers = { host: "localhost", "content-type": "application/json" };
  if (bearer) headers.authorization = `Bearer ${bearer}`;
  const url = at.url && new URL(route, at.url);
  if (url) headers.host = url.host;
  const options = url
    ? { method, headers, ca: readFileSync(at.ca), agent: false }
    : { method, headers, socketPath: at.socketPath, path: route, agent: false };
  return new Promise((resolve, reject) => {
    const answered = (answer) => {
      const pieces = [];
      answer.on("data", (piece) => pieces.push(piece));
      answer.on("end", () => {
        const body = Buffer.concat(pieces).toString();
        resolve({ status: answer.statusCode, body: body && JSON.parse(body) });
      });
    };
    const request = url ? https.request(url, options, answered) : http.request(options, answered);
    request.setTimeout(LIMIT_MS, () => request.destroy(new Error(`${route}: no answer`)));
    request.on("error", reject);
    request.end(Buffer.isBuffer(body) ? body : body && JSON.stringify(body));
  });
}

export const cloud = { url: ready.console, ca: ready.ca };
export const device = { socketPath: ready.socket };
export const board = { socketPath: path.join(state, "device/board.sock") };
