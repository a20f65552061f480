"use strict";
(() => {
  const page = document.body.dataset;

  // The clock: server's words first, then the reader's own zone, once a minute while visible.
  let minute = 0;
  const time = (at) => at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  for (const place of document.querySelectorAll("time[datetime]")) {
    place.textContent = time(new Date(place.dateTime));
  }
  const tell = () => {
    clearTimeout(minute);
    if (document.hidden) return;
    const now = new Date();
    for (const id of ["clock", "big-clock"]) {
      const place = document.getElementById(id);
      if (place) place.textContent = time(now);
    }
    const date = document.getElementById("date");
    const long = { weekday: "long", day: "numeric", month: "long" };
    if (date) date.textContent = now.toLocaleDateString("en-GB", long);
    minute = setTimeout(tell, 60050 - (now.getTime() % 60000));
  };

  // The link to the phone: a new revision reloads the page, but never under somebody's fingers.
  let source = null;
  let silent = false;
  const isTyping = () => [...document.querySelectorAll("input:not([type=hidden])")]
    .some((input) => input.value !== "" || input === document.activeElement);
  // Only when somebody answers: a reload of a phone that is off would leave an error page.
  const renew = async () => {
    leave();
    try {
      await fetch(location.href, { method: "HEAD" });
      location.reload();
    } catch {
      setTimeout(follow, 1000);
    }
  };
  // The phone ends right after it was erased: nobody would answer a reload.
  const erased = () => {
    page.state = "erased";
    document.title = "Erased · Holdfast";
    document.querySelector(".phone").className = "phone erased";
    document.querySelector("main").hidden = true;
    document.getElementById("gone").hidden = false;
  };
  const changed = (event) => {
    const now = JSON.parse(event.data);
    const same = now.state === page.state;
    // A job of the update moves its bar; only its end, or the next job, is a new page.
    const bar = document.getElementById("job");
    if (bar && same && now.job?.kind === bar.dataset.kind) {
      bar.max = now.job.of || 1;
      bar.value = now.job.done;
      page.revision = String(now.revision);
      return;
    }
    if (bar && same) page.revision = "";
    if (String(now.revision) === page.revision) return;
    if (now.state.startsWith("erased")) {
      if (!page.state.startsWith("erased")) erased();
    } else if (!same || !(now.asking || isTyping())) {
      renew();
    }
  };
  const follow = () => {
    if (source || document.hidden) return;
    source = new EventSource("/events");
    source.onmessage = changed;
    source.onopen = () => { if (silent) renew(); };
    source.onerror = () => {
      silent = true;
      document.getElementById("silent").hidden = false;
      // Browsers try again by themselves, but not after an answer that is no stream.
      if (source?.readyState !== EventSource.CLOSED) return;
      leave();
      setTimeout(follow, 2000);
    };
  };
  const leave = () => {
    if (source) source.close();
    source = null;
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) leave(); else follow();
    tell();
  });
  addEventListener("pagehide", leave);
  addEventListener("pageshow", follow);
  tell();
  follow();

  // The alarm: two tones, over and over. Browsers want a gesture first.
  if ("alarm" in page) {
    const hint = document.getElementById("sound-hint");
    const beep = (audio) => {
      const from = audio.currentTime;
      [880, 1320, 880, 1320].forEach((pitch, step) => {
        const tone = new OscillatorNode(audio, { type: "square", frequency: pitch });
        const loud = new GainNode(audio, { gain: 0.15 });
        tone.connect(loud).connect(audio.destination);
        tone.start(from + step * 0.2);
        tone.stop(from + step * 0.2 + 0.18);
        if (step === 3) tone.onended = () => setTimeout(beep, 500, audio);
      });
    };
    let audio = null;
    const start = () => {
      if (audio) return;
      audio = new AudioContext();
      hint.hidden = true;
      beep(audio);
    };
    if (navigator.userActivation?.hasBeenActive) {
      start();
    } else {
      hint.hidden = false;
      for (const gesture of ["pointerdown", "keydown"]) addEventListener(gesture, start);
    }
  }
})();
