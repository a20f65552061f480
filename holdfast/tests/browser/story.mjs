// A person with a browser, through everything that the two pages are for. Each state of each
// page is examined in both widths: no console error, no violation that axe finds, nothing wider
// than the window, a strict policy, a focus that shows. The pages are never reloaded from here:
// what happens elsewhere must appear by itself.
// Arguments: the story's `ready` object as JSON, a folder for screenshots.
import { createHash, randomBytes } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import http from "node:http";
import path from "node:path";
import {
  act, board, call, checkScripts, cloud, complaints, device, downloaded, examine, launch, must,
  open, owner, ready, says, state, tabTo, text, until,
} from "./harness.mjs";

/** The word that the story's person knows the trusted screen by. */
const WORD = "Kelpwood";
const MESSAGE = "Please call +49 30 1234567 <b>& ask for Jo</b>.";
const LETTER = "letters/to the reader.txt";
const sample = path.join(state, "sample");
const letter = readFileSync(path.join(sample, LETTER));
const stranger = {
  phone: "+4915112345678", email: "stranger@example.org", password: "Finders7keepers!",
};

const browser = await launch();
try {
  const phone = await open(browser);
  phone.trusted = await open(browser);
  await phone.trusted.goto(ready.trusted_screen);
  const console_ = await open(browser);
  await act("sign in by keyboard", () => signIn(console_));
  await act("devices", () => devices(console_));
  await act("files at the console", () => consoleFiles(console_));
  await act("security", () => security(console_));
  await act("the phone's home and lock screen", () => lockScreen(phone));
  await act("a notification", () => notification(phone));
  await act("unlock on the trusted screen", () => unlock(phone));
  await act("files on the phone", () => phoneFiles(phone));
  await act("system update", () => update(phone));
  await act("find-device's alarm", () => alarm(phone, console_));
  await act("lost mode", () => lost(phone, console_));
  await act("framing", () => framing());
  await act("erase", () => erase(phone, console_));
  await act("activation", () => activation(phone));
  await act("sign out", () => signOut(console_));
  checkScripts([ready.console, ready.phone, ready.trusted_screen]);
} catch (error) {
  complaints.push(`${error.message}\n${error.cause?.stack ?? error.stack}`);
} finally {
  await browser.close();
}
for (const complaint of complaints) console.log(`- ${complaint}`);
process.exit(complaints.length === 0 ? 0 : 1);

async function signIn(page) {
  await page.goto(ready.console);
  await examine(page, "console-sign-in");
  page.refusalDue = true;
  await tabTo(page, "#login");
  await page.keyboard.type(owner.email);
  await page.keyboard.press("Tab");
  await page.keyboard.type("not the password 1");
  await page.keyboard.press("Enter");
  await page.waitForSelector("[role=alert]");
  page.refusalDue = false;
  await examine(page, "console-sign-in-refused");
  await tabTo(page, "#password");
  await page.keyboard.type(owner.password);
  await page.keyboard.press("Enter");
  await page.waitForSelector("a.device");
}

async function devices(page) {
  await examine(page, "console-devices");
  await tabTo(page, 'a[href^="/devices/"]');
  await page.keyboard.press("Enter");
  await page.waitForSelector("img.map");
  const words = await text(page);
  for (const word of ["Verified boot: green", "Bootloader locked", "Trusted environment", "52.52"]) {
    must(words.includes(word), `the device page does not say "${word}"`);
  }
  await until("the map is drawn", () =>
    page.$eval("img.map", (map) => map.complete && map.naturalWidth > 0));
  const map = await page.request.get(await page.$eval("img.map", (it) => it.src));
  must(map.headers()["content-type"] === "image/svg+xml", "the map is no SVG");
  must((await map.text()).length > 5000, "the map shows no land");
  await examine(page, "console-device");
}

async function consoleFiles(page) {
  await page.click('nav a[href="/files"]');
  await page.waitForSelector("table");
  const names = await page.$$eval("tbody tr td:first-child", (cells) =>
    cells.map((cell) => cell.innerText.replace(/\/$/, "")));
  const due = readdirSync(sample);
  must(String(names.sort()) === String(due.sort()), `the console lists ${names}, not ${due}`);
  const words = await text(page);
  for (const word of ["Your session", "Your key at the Key Center", "policy"]) {
    must(words.includes(word), `the files page does not say that they need "${word}"`);
  }
  await page.click("details summary");
  must((await text(page)).includes("transit/"), "the policy is not shown");
  await examine(page, "console-files");
  await page.click("tbody >> text=letters/");
  await page.click("tbody >> text=to the reader.txt", { trial: true });
  await examine(page, "console-folder");
  const bytes = await downloaded(page, page.locator("tbody >> text=to the reader.txt"));
  must(bytes.equals(letter), "the console's download differs from the file");
}

async function security(page) {
  await page.click('nav a[href="/security"]');
  const words = await text(page);
  for (const word of ["this one", "refused", "accepted", "whole"]) {
    must(words.includes(word), `the security page does not say "${word}"`);
  }
  must(!words.includes(owner.phone) && !words.includes(owner.email), "personal data unmasked");
  await examine(page, "console-security");
}

async function lockScreen(page) {
  await page.goto(ready.phone);
  await says(page, "Home");
  await examine(page, "phone-home");
  await page.click('form[action="/lock"] button');
  await page.waitForSelector('form[action="/unlock"]');
  await examine(page, "phone-locked");
}

/** While it is locked: who holds the phone sees that a message came, not what it says. */
async function notification(page) {
  const app = { app: "org.example.ferry" };
  const registered = await call(device, "POST", "/v1/push/registrations", { body: app });
  const developer = JSON.parse(readFileSync(path.join(state, "cloud/developer.json"), "utf8"));
  const sent = await call(cloud, "POST", "/v1/push/messages", {
    bearer: developer.credential,
    body: {
      registration_id: registered.body.registration_id,
      message: { title: "Ferry delayed", body: "Pier 4 at 18:20 <script>" },
    },
  });
  must(sent.status < 300, `push: ${sent.status} ${JSON.stringify(sent.body)}`);
  await says(page, "Ferry delayed");
  const times = await page.evaluate(() => ["big-clock", "clock"].map((id) =>
    document.getElementById(id)?.textContent).concat(document.querySelector("time[datetime]").textContent));
  must(times.every((time) => /^\d\d:\d\d$/.test(time)), `times read ${times}`);
  must(!(await text(page)).includes("Pier 4"), "the lock screen shows a message's text");
  await examine(page, "phone-notification");
}

async function unlock(page) {
  await tabTo(page, 'form[action="/unlock"] button');
  await page.keyboard.press("Enter");
  const keys = await trusted(page);
  await examine(page, "phone-asks");
  await examine(keys, "trusted-unlock");
  const wrong = [...owner.pin].map((digit) => (Number(digit) + 1) % 10);
  for (const digit of wrong) await keys.locator(`[data-digit="${digit}"]`).click();
  await keys.locator("#enter").click();
  await page.waitForSelector("[role=alert]");
  await examine(page, "phone-wrong-pin");
  await openWithPin(page);
  await says(page, "Pier 4 at 18:20 <script>");
  await page.click('button[aria-label="Dismiss Ferry delayed"]');
  await until("the notification goes", async () => !(await text(page)).includes("Ferry delayed"));
}

/** The trusted screen: a window of its own. The phone's page points to it and shows nothing of it. */
async function trusted(page) {
  const link = page.locator("section.trusted a");
  await link.waitFor();
  const href = await link.getAttribute("href");
  must(new URL(href).origin === new URL(ready.trusted_screen).origin, `it points to ${href}`);
  must(!(await page.$("iframe, object, embed")), "the phone's page frames something");
  must(!(await page.content()).includes(WORD), "the phone's page knows the trusted screen's word");
  const keys = page.trusted;
  await keys.locator("#form").waitFor();
  must((await text(keys)).includes("Trusted screen"), "the trusted screen does not say what it is");
  return keys;
}

async function openWithPin(page) {
  if (!(await page.$("section.trusted"))) await page.click('form[action="/unlock"] button');
  const keys = await trusted(page);
  must((await text(keys)).includes(WORD), "the trusted screen does not show the person's word");
  await keys.locator("#text").fill(owner.pin);
  await keys.locator("#text").press("Enter");
  await says(page, "Home");
}

async function phoneFiles(page) {
  await page.click('a[href="/files"]');
  await page.click("text=letters");
  await says(page, "to the reader.txt");
  await examine(page, "phone-files");
  const bytes = await downloaded(page, page.locator("a", { hasText: "to the reader.txt" }));
  must(bytes.equals(letter), "the phone's download differs from the file");
  await page.click('a[aria-label="Home"]');
}

/** To the last button: what is offered here is no package, so the device refuses to install it. */
async function update(page) {
  await page.click('a[href="/update"]');
  await says(page, "Not checked yet");
  await examine(page, "phone-update");
  await tabTo(page, 'form[action="/update/check"] button');
  await page.keyboard.press("Enter");
  await says(page, "Up to date");
  const build = await publish(randomBytes(3 << 20));
  await page.click('form[action="/update/check"] button');
  await says(page, build);
  await examine(page, "phone-update-offered");
  await tabTo(page, 'form[action="/update/download"] button');
  await page.keyboard.press("Enter");
  await says(page, "Downloaded");
  await examine(page, "phone-update-downloaded");
  await page.click('form[action="/update/apply"] button');
  await says(page, "The update failed");
  await examine(page, "phone-update-refused");
  await page.click('a[aria-label="Home"]');
}

/** Offers these bytes to the device as a build of the day after its own. */
async function publish(bytes) {
  const { running } = (await call(device, "GET", "/v1/update")).body;
  const maker = JSON.parse(readFileSync(path.join(state, "cloud/maker.json"), "utf8"));
  const bearer = maker.credential;
  const build = running.build.replace("/1:", "/next:");
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  const announced = await call(cloud, "POST", "/v1/makers/releases", {
    bearer,
    body: {
      model: running.model, channel: running.channel, build, timestamp: running.timestamp + 86400,
      security_patch: running.security_patch, percentage: 100, size: bytes.length, sha256,
    },
  });
  must(announced.status === 201, `announcing: ${JSON.stringify(announced.body)}`);
  const route = `/v1/makers/packages/${announced.body.packages[0].package_id}`;
  const sent = await call(cloud, "PUT", route, { bearer, body: bytes });
  must(sent.status < 300, `uploading: ${sent.status} ${JSON.stringify(sent.body)}`);
  return build;
}

async function alarm(phone, page) {
  await page.goto(`${ready.console}/devices`);
  await page.click("a.device");
  await tabTo(page, 'form[action$="/sound"] button');
  await page.keyboard.press("Enter");
  await phone.waitForSelector("[role=alertdialog]");
  await examine(phone, "phone-alarm");
  await tabTo(phone, '[role=alertdialog] button');
  await phone.keyboard.press("Enter");
  await phone.waitForSelector("[role=alertdialog]", { state: "detached" });
  await until("the console says that it was done", async () =>
    (await page.innerText('[data-text="outcome-0"]')) === "done");
}

async function lost(phone, page) {
  await tabTo(page, "#message");
  await page.keyboard.type(MESSAGE);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await says(phone, MESSAGE);
  await says(page, MESSAGE);
  await examine(phone, "phone-lost");
  await examine(page, "console-lost");
  const link = encodeURIComponent(LETTER);
  for (const route of ["/files", "/files?path=letters", `/files/content?path=${link}`]) {
    const answer = await phone.request.get(ready.phone + route, { maxRedirects: 0 });
    must(answer.status() === 303, `${route} answers ${answer.status()} in lost mode`);
    must((await answer.text()) === "", `${route} says something in lost mode`);
  }
  must(!(await phone.$('form[action="/unlock"]')), "a lost phone offers to unlock");
  await endLostMode(phone, "not the password 1");
  await phone.waitForSelector("[role=alert]");
  await examine(phone, "phone-lost-refused");
  await endLostMode(phone, owner.password);
  await phone.waitForSelector('form[action="/unlock"]');
  await openWithPin(phone);
  await until("the console says that lost mode ended", async () =>
    !(await text(page)).includes(MESSAGE));
  await phone.click('a[href="/files"]');
  await says(phone, "letters");
  await phone.click('a[aria-label="Home"]');
}

async function endLostMode(page, password) {
  if (!(await page.isVisible("#password"))) {
    await tabTo(page, "summary");
    await page.keyboard.press("Enter");
  }
  await tabTo(page, "#password");
  await page.keyboard.type(password);
  await page.keyboard.press("Enter");
}

/** Nobody frames any of the pages: what lies over a frame, a person would not see. */
async function framing() {
  const answer = await fetch(ready.trusted_screen);
  const policy = answer.headers.get("content-security-policy");
  must(policy.includes("frame-ancestors 'none'"), `the trusted screen is framed: ${policy}`);

  const targets = [ready.trusted_screen, ready.phone, `${ready.console}/sign-in`];
  const frames = targets.map((url) => `<iframe src="${url}"></iframe>`).join("");
  const evil = http.createServer((_, answer) => answer.end(`<!doctype html>${frames}`));
  await new Promise((resolve) => evil.listen(0, "127.0.0.1", resolve));
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  await page.goto(`http://127.0.0.1:${evil.address().port}`);
  const inside = () => page.frames().slice(1).map((frame) => frame.url());
  await until("a stranger's page is refused all its frames", () =>
    inside().length === targets.length && inside().every((url) => url.startsWith("chrome-error:")));
  await context.close();
  await new Promise((resolve) => evil.close(resolve));
}

async function erase(phone, page) {
  await tabTo(page, 'a[href$="/erase"]');
  await page.keyboard.press("Enter");
  await page.waitForSelector("[name=sure]");
  await examine(page, "console-erase");
  await tabTo(page, "[name=sure]");
  await page.keyboard.press("Space");
  await page.keyboard.press("Tab");
  phone.offline = true;
  await page.keyboard.press("Enter");
  await says(page, "Its keys are destroyed");
  await page.waitForSelector('form[action$="/locate"]', { state: "hidden" });
  await examine(page, "console-erased");
  await phone.waitForSelector("#silent:not([hidden]), .erased");
}

/** The phone's page has waited all the while, and comes back by itself. */
async function activation(page) {
  const off = await call(board, "POST", "/v1/power", { body: { action: "reset" } });
  must(off.status === 200, `the board does not restart: ${off.status}`);
  await page.waitForSelector('form[action="/activation"]', { timeout: 20_000 });
  page.offline = false;
  must(!(await text(page)).includes(owner.email), "the activation screen tells the whole address");
  await examine(page, "phone-activation");
  const made = await call(cloud, "POST", "/v1/accounts", { body: { ...stranger, country: "DE" } });
  must(made.status < 300, `the stranger has no account: ${JSON.stringify(made.body)}`);
  await activate(page, stranger);
  await page.waitForSelector("[role=alert]");
  must((await text(page)).includes("locked to another account"), "the stranger is not told why");
  await examine(page, "phone-activation-refused");
  await activate(page, owner);
  await page.waitForSelector('form[action="/enrol"]');
  await examine(page, "phone-set-up");
  await page.click('form[action="/enrol"] button');
  const screen = await trusted(page);
  await screen.locator("#choose").waitFor();
  await screen.check("[value=mushroom]");
  await screen.fill("#word", WORD);
  await screen.click("#enter");
  for (const asked of ["Choose a PIN", "again"]) {
    const keys = await trusted(page);
    await until(`the trusted screen says "${asked}"`, async () =>
      (await keys.locator("#detail").innerText()).includes(asked));
    await keys.locator("#text").fill(owner.pin);
    await keys.locator("#text").press("Enter");
  }
  await page.waitForSelector('form[action="/unlock"]');
  await openWithPin(page);
}

async function activate(page, { email, password }) {
  await tabTo(page, "#login");
  await page.keyboard.type(email);
  await page.keyboard.press("Tab");
  await page.keyboard.type(password);
  await page.keyboard.press("Enter");
}

async function signOut(page) {
  await page.click("text=Sign out");
  await page.waitForSelector("#login");
  const cookies = await page.context().cookies();
  must(cookies.length === 0, `cookies stay: ${cookies.map((it) => it.name)}`);
  await page.goto(`${ready.console}/files`);
  must(new URL(page.url()).pathname === "/sign-in", "files are shown after signing out");
}
