"use strict";
const part = (id) => document.getElementById(id);
const idle = { title: part("title").textContent, detail: part("detail").textContent };
let prompt = null;

function show(next) {
  const another = (prompt && prompt.id) !== (next && next.id);
  prompt = next;
  const { title, detail } = next || idle;
  part("title").textContent = title;
  part("detail").textContent = detail;
  part("form").hidden = !next;
  if (!another) return;
  part("text").value = "";
  part("problem").textContent = "";
  if (!next) return;
  const secret = next.input.secret;
  part("secret").hidden = !secret;
  if (secret) part("text").maxLength = secret.max_chars;
  part(secret ? "text" : "title").focus();
}

async function answer(path, body) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (response.ok) return show(null);
  part("problem").textContent = await response.text();
  part("text").value = "";
  part("text").focus();
}

part("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!prompt) return;
  const { secret } = prompt.input;
  const text = part("text").value;
  if (secret && [...text].length < secret.min_chars) {
    part("problem").textContent = `enter at least ${secret.min_chars} characters`;
    part("text").focus();
  } else {
    answer("/entered", { id: prompt.id, text });
  }
});
part("cancel").addEventListener("click", () => {
  if (prompt) answer("/cancelled", { id: prompt.id });
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && prompt) answer("/cancelled", { id: prompt.id });
});
part("pad").addEventListener("click", (event) => {
  const digit = event.target.dataset.digit;
  const text = part("text");
  if (digit && text.value.length < text.maxLength) text.value += digit;
});
part("clear").addEventListener("click", () => { part("text").value = ""; });
part("erase").addEventListener("click", () => { part("text").value = part("text").value.slice(0, -1); });

async function follow() {
  let seen = "";
  for (;;) {
    try {
      const response = await fetch(`/state${seen}`);
      const state = await response.json();
      seen = `?seen=${state.change}`;
      part("warning").hidden = !state.warning;
      part("warning").textContent = state.warning || "";
      show(state.prompt);
    } catch {
      show(null);
      part("detail").textContent = "The board does not answer. This page comes back when it does.";
      await new Promise((done) => setTimeout(done, 2000));
    }
  }
}
follow();
