"use strict";

// /-/me works without this script. It adds: the browser's time zone, a preview while one types, a count, ten seconds to
// take a change back, and Ctrl+Enter. The page follows changes from elsewhere, and says in place that the session ended.

(() => {
  const CHECKED_EVERY = 10e3; // ms between two looks at the session, while the page is seen
  const PAUSE = 250; // ms without a key before the preview is asked for
  const UNDO = 10; // seconds; the server allows some more

  const { put, showTimes } = fingertrio;
  const me = document.querySelector(".me");
  const form = document.getElementById("set");
  if (!form) return;

  const text = document.getElementById("status");
  const until = document.getElementById("until");
  const zone = document.getElementById("zone");
  const now = document.querySelector(".now"); // the status as people see it; null: nobody is signed in
  const isTyped = zone.hasAttribute("data-typed"); // the page shows what was typed, not what is set

  // Times in the browser's zone.

  function showEnd(field) {
    const moment = new Date(field.dataset.moment || NaN);
    if (Number.isNaN(moment.getTime())) return field.value;
    const two = (number) => String(number).padStart(2, "0");
    const day = `${moment.getFullYear()}-${two(moment.getMonth() + 1)}-${two(moment.getDate())}`;
    return `${day} ${two(moment.getHours())}:${two(moment.getMinutes())}`;
  }

  const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (here && !isTyped) {
    zone.value = here;
    until.value = showEnd(until);
  }

  // What is set, and what is typed.

  const set = { status: text.value, until: until.value, html: now?.innerHTML };
  const isTouched = () => isTyped || text.value !== set.status;
  let asked = new AbortController();
  let typing;

  function measure() {
    const limits = { bytes: Number(text.dataset.bytes), lines: Number(text.dataset.lines) };
    const value = text.value.replace(/\n+$/, "").normalize();
    const bytes = new TextEncoder().encode(value).length;
    const lines = value === "" ? 0 : value.split("\n").length;
    const characters = [...new Intl.Segmenter().segment(value)].length;
    const number = (amount) => amount.toLocaleString("en");
    const plural = (amount, word) => `${number(amount)} ${word}${amount === 1 ? "" : "s"}`;
    const parts = [plural(characters, "character"), plural(lines, "line")];
    if (bytes > limits.bytes / 2) parts.push(`${number(bytes)} of ${number(limits.bytes)} bytes`);
    if (lines > limits.lines / 2) parts.push(`${number(lines)} of ${number(limits.lines)} lines`);
    const count = document.getElementById("count");
    put(count, `${parts.join(", ")}.`);
    count.classList.toggle("over", bytes > limits.bytes || lines > limits.lines);
    text.style.height = "auto";
    text.style.height = `${text.scrollHeight + text.offsetHeight - text.clientHeight}px`;
  }

  function showSet() {
    now.innerHTML = set.html;
    showTimes(now);
  }

  async function preview() {
    asked.abort();
    if (!now) return;
    if (!isTouched() || text.value.trim() === "") return void showSet();
    asked = new AbortController();
    const body = new URLSearchParams({ status: text.value });
    try {
      const answer = await fetch("me/preview", { method: "POST", body, signal: asked.signal });
      if (!answer.ok) return;
      now.querySelector("#card").innerHTML = await answer.text(); // our own template, which escapes the text
      put(now.querySelector("h2"), "As it would look");
      now.querySelector("#times")?.remove();
    } catch {
      // aborted, or the server is away: what is shown stays
    }
  }

  text.addEventListener("input", () => {
    measure();
    keepDraft();
    clearTimeout(typing);
    typing = setTimeout(preview, PAUSE);
  });
  text.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    form.requestSubmit(form.querySelector('button[value="set"]'));
  });
  document.getElementById("preview").hidden = true;
  measure();
  document.querySelector('.me [aria-invalid="true"]')?.focus();

  // What was typed and not set, because another page was opened or a preset pressed, is offered again in the same tab.

  const DRAFT = `draft of ${me.dataset.about}`;

  function keepDraft() {
    try {
      if (isTouched()) sessionStorage.setItem(DRAFT, text.value);
      else sessionStorage.removeItem(DRAFT);
    } catch {
      // the browser keeps nothing
    }
  }

  function offerDraft() {
    let draft = null;
    try {
      draft = sessionStorage.getItem(DRAFT);
    } catch {
      return;
    }
    if (isTyped || !draft?.trim() || draft === set.status) return keepDraft();
    const note = document.createElement("p");
    const line = draft.trim().split("\n")[0];
    const button = (label, value) => {
      const made = document.createElement("button");
      Object.assign(made, { className: "plain", type: "button", textContent: label });
      made.addEventListener("click", () => {
        note.remove();
        text.value = value;
        text.dispatchEvent(new Event("input"));
        text.focus();
      });
      return made;
    };
    note.className = "notice old";
    note.append(
      `You typed “${line.length > 60 ? `${line.slice(0, 60)}…` : line}” and did not set it. `,
      button("Put it back", draft),
      " or ",
      button("forget it", set.status),
    );
    form.before(note);
  }

  if (now) {
    offerDraft();
    document.querySelector('form[action="sign-out"]')?.addEventListener("submit", () => sessionStorage.clear());
  }

  // Ten seconds to take a change back.

  const seconds = document.querySelector(".done .seconds");
  let left = UNDO;

  function countDown() {
    if (left === 0) return void seconds.closest("form").remove();
    put(seconds, ` (${left} s)`);
    left -= 1;
    setTimeout(countDown, 1000);
  }

  if (seconds) countDown();

  // The session. The notice is made here, because text browsers do not know the attribute "hidden".

  const ended = document.createElement("p");
  const link = document.createElement("a");
  let looking;

  ended.className = "notice bad";
  ended.setAttribute("role", "alert");
  Object.assign(link, { href: "sign-in", target: "_blank", rel: "noopener", textContent: "Sign in again" });
  ended.append("Your session has ended. ", link, " in another tab; what you typed stays here.");

  function showSession(session) {
    if (session === null && !ended.isConnected) form.before(ended);
    if (session !== null) ended.remove();
    for (const button of document.querySelectorAll(".me form[method=post] button, header.site nav button")) {
      button.disabled = session === null;
    }
    // If somebody else signed in in this browser, the server shows the page again with what was typed.
    if (session === null || session.user !== me.dataset.user) return;
    for (const seal of document.querySelectorAll('input[name="form"]')) seal.value = session.form;
  }

  async function look() {
    clearTimeout(looking);
    if (document.hidden) return;
    try {
      const answer = await fetch("me/session");
      if (answer.ok || answer.status === 401) showSession(await answer.json());
    } catch {
      // the server is away: the form will say so
    }
    looking = setTimeout(look, CHECKED_EVERY);
  }

  // Changes from elsewhere. What was typed is left alone.

  let turn = 0;

  async function refresh() {
    const mine = ++turn;
    await look();
    const page = await fingertrio.live.fetchPage();
    if (mine !== turn) return; // a later answer is on its way
    const next = page?.querySelector(".now");
    if (!next) return; // the session has ended
    const isFree = !isTouched() && until.value === set.until;
    set.html = next.innerHTML;
    set.status = page.getElementById("status").value;
    set.until = showEnd(page.getElementById("until"));
    document.querySelector(".badge img")?.setAttribute("src", page.querySelector(".badge img")?.getAttribute("src"));
    if (isFree) {
      text.value = set.status;
      until.value = set.until;
      measure();
    }
    await preview();
  }

  if (now) {
    document.addEventListener("visibilitychange", look);
    addEventListener("focus", look);
    addEventListener("pageshow", (event) => event.persisted && look());
    looking = setTimeout(look, CHECKED_EVERY);
    fingertrio.live?.follow({ users: [me.dataset.about], change: refresh, refresh });
  }
})();
