// /-/me works without this script. It adds: the browser's time zone, a preview while one types, a count, ten seconds to
// take a change back, Ctrl+Enter, and it says in place when the session has ended.

"use strict";

(() => {
  const CHECKED_EVERY = 10_000; // ms between two looks at the session, while the page is seen
  const PAUSE = 250; // ms without a key before the preview is asked for
  const UNDO = 10; // seconds; the server allows some more

  const me = document.querySelector(".me");
  const form = document.getElementById("set");
  const seals = () => document.querySelectorAll('input[name="form"]');
  const buttons = () => document.querySelectorAll(".me form[method=post] button, header.site nav button");

  function showZone() {
    const zone = document.getElementById("zone");
    const until = document.getElementById("until");
    const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (!here || zone.hasAttribute("data-typed")) return;
    zone.value = here;
    const moment = new Date(until.dataset.moment || NaN);
    if (!Number.isNaN(moment.getTime())) {
      const two = (number) => String(number).padStart(2, "0");
      const day = `${moment.getFullYear()}-${two(moment.getMonth() + 1)}-${two(moment.getDate())}`;
      until.value = `${day} ${two(moment.getHours())}:${two(moment.getMinutes())}`;
    }
  }

  function watchText() {
    const text = document.getElementById("status");
    const count = document.getElementById("count");
    const card = document.getElementById("card");
    const title = document.getElementById("now");
    const times = document.getElementById("times");
    const limits = { bytes: Number(text.dataset.bytes), lines: Number(text.dataset.lines) };
    const before = text.value;
    const shown = card && card.innerHTML;
    const titled = title && title.textContent;
    let asked = new AbortController();
    let timer;

    const number = (value) => value.toLocaleString("en");

    function measure() {
      const value = text.value.replace(/\n+$/, "").normalize();
      const bytes = new TextEncoder().encode(value).length;
      const lines = value === "" ? 0 : value.split("\n").length;
      const characters = [...new Intl.Segmenter().segment(value)].length;
      const plural = (amount, word) => `${number(amount)} ${word}${amount === 1 ? "" : "s"}`;
      const of = [];
      if (bytes > limits.bytes / 2) of.push(`${number(bytes)} of ${number(limits.bytes)} bytes`);
      if (lines > limits.lines / 2) of.push(`${number(lines)} of ${number(limits.lines)} lines`);
      count.textContent = `${[plural(characters, "character"), plural(lines, "line"), ...of].join(", ")}.`;
      count.classList.toggle("over", bytes > limits.bytes || lines > limits.lines);
      text.style.height = "auto";
      text.style.height = `${text.scrollHeight + text.offsetHeight - text.clientHeight}px`;
    }

    async function preview() {
      asked.abort();
      if (!card) return;
      if (text.value === before || text.value.trim() === "") {
        card.innerHTML = shown;
        title.textContent = titled;
        if (times) times.hidden = false;
        return;
      }
      asked = new AbortController();
      try {
        const answer = await fetch("me/preview", {
          method: "POST",
          body: new URLSearchParams({ status: text.value }),
          signal: asked.signal,
        });
        if (!answer.ok) return;
        card.innerHTML = await answer.text(); // our own template, which escapes the text
        title.textContent = "As it would look";
        if (times) times.hidden = true;
      } catch {
        // aborted, or the server is away: what is shown stays
      }
    }

    text.addEventListener("input", () => {
      measure();
      clearTimeout(timer);
      timer = setTimeout(preview, PAUSE);
    });
    text.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        form.requestSubmit(form.querySelector('button[value="set"]'));
      }
    });
    document.getElementById("preview").hidden = true;
    measure();
  }

  function countDown() {
    const seconds = document.querySelector(".done .seconds");
    if (!seconds) return;
    let left = UNDO;
    const tick = () => {
      seconds.textContent = ` (${left} s)`;
      if (left === 0) {
        seconds.closest("form").hidden = true;
        clearInterval(timer);
      }
      left -= 1;
    };
    const timer = setInterval(tick, 1000);
    tick();
  }

  function watchSession() {
    // Made here, because text browsers do not know the attribute "hidden".
    const ended = document.createElement("p");
    const link = document.createElement("a");
    let timer;

    ended.className = "notice bad";
    ended.setAttribute("role", "alert");
    Object.assign(link, { href: "sign-in", target: "_blank", rel: "noopener", textContent: "Sign in again" });

    function show(session) {
      if (session === null && !ended.isConnected) {
        ended.replaceChildren("Your session has ended. ", link, " in another tab; what you typed stays here.");
        form.before(ended);
      }
      if (session !== null) ended.remove();
      for (const button of buttons()) button.disabled = session === null;
      // If somebody else signed in in this browser, the server shows the page again with what was typed.
      if (session === null || session.user !== me.dataset.user) return;
      for (const seal of seals()) seal.value = session.form;
    }

    async function look() {
      clearTimeout(timer);
      if (document.hidden) return;
      try {
        const answer = await fetch("me/session");
        if (answer.ok || answer.status === 401) show(await answer.json());
      } catch {
        // the server is away: the form will say so
      }
      timer = setTimeout(look, CHECKED_EVERY);
    }

    document.addEventListener("visibilitychange", look);
    addEventListener("focus", look);
    addEventListener("pageshow", (event) => event.persisted && look());
    timer = setTimeout(look, CHECKED_EVERY);
  }

  if (form) {
    showZone();
    watchText();
    countDown();
    if (me.dataset.user) watchSession();
  }
})();
