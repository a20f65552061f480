"use strict";
const part = (id) => document.getElementById(id);
const idle = { title: part("title").textContent, detail: part("detail").textContent };
const dots = [...document.querySelectorAll(".dot")];

/** The prompt that stands, what it asks, when it takes an answer. */
let prompt = null;
let kind = "";
let asked = {};
let opens = 0;

// A field that browsers take for a password they offer to keep; so it is plain text under a mask.
if (!CSS.supports("-webkit-text-security", "disc")) part("text").type = "password";

function say(words) {
  part("problem").textContent = words;
}

/** Forgets what was typed, drawn and chosen. */
function empty() {
  part("text").value = "";
  part("word").value = "";
  for (const radio of document.querySelectorAll("[name=picture]")) radio.checked = false;
  startOver();
}

function showMark(mark) {
  part("mark").hidden = !mark;
  part("unmarked").hidden = !prompt || Boolean(mark) || kind === "mark";
  part("picture").setAttribute("href", mark ? `#picture-${mark.picture}` : "");
  part("known").textContent = mark ? mark.word : "";
  part("mark").setAttribute("aria-label", mark ? `Your picture and word: ${mark.picture}, ${mark.word}` : "");
}

function show(next, mark, grace) {
  const another = (prompt && prompt.id) !== (next && next.id);
  prompt = next;
  kind = next ? (typeof next.input === "string" ? next.input : Object.keys(next.input)[0]) : "";
  asked = next?.input[kind] ?? {};
  showMark(mark);
  part("form").hidden = !next;
  part("form").dataset.prompt = next ? next.id : "";
  part("change").hidden = Boolean(next);
  part("title").textContent = (next || idle).title;
  part("detail").textContent = (next || idle).detail;
  if (!another) return;
  empty();
  say("");
  part("words").textContent = "";
  if (next) lay(grace);
}

/** Lays a new prompt out. What the finger was already on its way to takes no answer. */
function lay(grace) {
  const typed = kind === "pin" || kind === "password";
  part("typed").hidden = !typed;
  part("pad").hidden = kind !== "pin";
  part("pattern").hidden = kind !== "pattern";
  part("transaction").hidden = kind !== "transaction";
  part("choose").hidden = kind !== "mark";
  const yes = kind === "transaction" ? "Confirm" : "OK";
  part("enter").textContent = yes;
  part("cancel").textContent = kind === "transaction" ? "Do not confirm" : "Cancel";
  if (typed) {
    part("label").textContent = kind === "pin" ? "PIN" : "Password";
    part("text").inputMode = kind === "pin" ? "numeric" : "text";
    part("text").maxLength = asked.max_digits ?? asked.max_chars;
  }
  if (kind === "transaction") {
    part("words").textContent = asked.text;
    part("words").scrollTop = 0;
  }
  part("more").hidden = seenAll();
  opens = performance.now() + grace;
  allow();
  setTimeout(allow, grace + 1);
  const first = { pattern: dots[0], mark: document.querySelector("[name=picture]"), transaction: part("words") };
  (typed ? part("text") : first[kind] ?? part("title")).focus();
}

function seenAll() {
  const words = part("words");
  return kind !== "transaction" || words.scrollTop + words.clientHeight >= words.scrollHeight - 2;
}

function isNew() {
  return performance.now() < opens;
}

/** Opens the buttons once the prompt has stood for a moment and its text was seen to the end. */
function allow() {
  const typed = kind === "pin" || kind === "password";
  part("cancel").disabled = isNew();
  part("enter").disabled = (isNew() && !typed) || !part("more").hidden;
}

part("words").addEventListener("scroll", () => {
  if (seenAll()) part("more").hidden = true;
  allow();
});
addEventListener("resize", () => {
  if (seenAll()) part("more").hidden = true;
  allow();
});

async function answer(path, body) {
  // Who types fast is not made to type again.
  const left = opens - performance.now();
  if (left > 0) await new Promise((done) => setTimeout(done, left));
  const response = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (response.ok) return show(null, null, 0);
  say(await response.text());
  if (response.status !== 409 && kind !== "mark") empty();
}

/** What was entered, or `null` where something is missing. */
function entered() {
  if (kind === "pattern") return way.join("");
  if (kind === "mark") {
    const picture = document.querySelector("[name=picture]:checked");
    if (!picture) return say("choose one of the pictures"), null;
    return `${picture.value} ${part("word").value.trim()}`;
  }
  return kind === "pin" || kind === "password" ? part("text").value : "";
}

part("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!prompt || part("enter").disabled) return;
  const text = entered();
  const least = { pin: [asked.min_digits, "digits"], password: [asked.min_chars, "characters"],
    pattern: [asked.min_dots, "dots"] }[kind];
  if (text === null) return;
  if (least && text.length < least[0]) {
    say(`enter at least ${least[0]} ${least[1]}`);
    if (kind === "pattern") startOver();
  } else {
    answer("/entered", { id: prompt.id, text });
  }
});
function turnAway() {
  if (prompt && !isNew()) answer("/cancelled", { id: prompt.id });
}
part("cancel").addEventListener("click", turnAway);
part("form").addEventListener("input", () => say(""));
part("change").addEventListener("click", () => answer("/mark", {}));

part("pad").addEventListener("click", (event) => {
  const digit = event.target.dataset.digit;
  const text = part("text");
  if (digit && text.value.length < text.maxLength) text.value += digit;
});
part("clear").addEventListener("click", () => { part("text").value = ""; });
part("erase").addEventListener("click", () => { part("text").value = part("text").value.slice(0, -1); });

// The pattern: the same rules as the board's, so that what is drawn is what counts.
let way = [];
let drawing = false;

function startOver() {
  way = [];
  draw();
}

function draw() {
  const at = (dot) => [(dot - 1) % 3 + 0.5, Math.floor((dot - 1) / 3) + 0.5];
  part("line").setAttribute("points", way.map((dot) => at(dot).join(",")).join(" "));
  dots.forEach((button, index) => {
    const place = way.indexOf(index + 1) + 1;
    button.setAttribute("aria-pressed", String(place > 0));
    button.setAttribute("aria-label", place ? `Dot ${index + 1}, number ${place} of the pattern` : `Dot ${index + 1}`);
  });
}

function visit(dot) {
  if (way.includes(dot)) return;
  const last = way.at(-1);
  const between = (last + dot) / 2;
  const columns = (last - 1) % 3 + (dot - 1) % 3;
  const rows = Math.floor((last - 1) / 3) + Math.floor((dot - 1) / 3);
  if (last && columns % 2 === 0 && rows % 2 === 0 && !way.includes(between)) way.push(between);
  way.push(dot);
  say("");
  draw();
}

function touch(event) {
  const box = part("grid").getBoundingClientRect();
  const [x, y] = [(event.clientX - box.left) / box.width * 3, (event.clientY - box.top) / box.height * 3];
  const [column, row] = [Math.floor(x), Math.floor(y)];
  const near = Math.hypot(x - column - 0.5, y - row - 0.5) < 0.36;
  if (near && column >= 0 && column < 3 && row >= 0 && row < 3) visit(row * 3 + column + 1);
}

part("grid").addEventListener("pointerdown", (event) => {
  event.preventDefault();
  part("grid").setPointerCapture(event.pointerId);
  startOver();
  drawing = true;
  touch(event);
});
part("grid").addEventListener("pointermove", (event) => { if (drawing) touch(event); });
part("grid").addEventListener("pointerup", () => {
  if (!drawing) return;
  drawing = false;
  if (way.length) part("form").requestSubmit();
});
part("grid").addEventListener("pointercancel", () => { drawing = false; });
// A click without a pointer is a key, or what somebody uses in its place.
part("grid").addEventListener("click", (event) => {
  const { dot } = event.target.dataset;
  if (dot && event.detail === 0) visit(Number(dot));
});
part("again").addEventListener("click", startOver);

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") return turnAway();
  if (kind !== "pattern" || event.ctrlKey || event.altKey || event.metaKey) return;
  if (/^[1-9]$/.test(event.key)) visit(Number(event.key));
  if (event.key === "Backspace") startOver();
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -3, ArrowDown: 3 }[event.key];
  const from = dots.indexOf(document.activeElement);
  if (step && dots[from + step] && from >= 0) {
    event.preventDefault();
    dots[from + step].focus();
  }
});

async function follow() {
  let seen = "";
  for (;;) {
    try {
      const response = await fetch(`/state${seen}`);
      const state = await response.json();
      seen = `?seen=${state.change}`;
      part("warning").hidden = !state.warning;
      part("warning").textContent = state.warning || "";
      show(state.prompt, state.mark, state.grace_ms);
    } catch {
      show(null, null, 0);
      part("change").hidden = true;
      part("detail").textContent = "The board does not answer. This page comes back when it does.";
      await new Promise((done) => setTimeout(done, 2000));
    }
  }
}
follow();
