"use strict";

// What every page can do with script, and does not need: times in the reader's zone that go on, and commands to copy.
// What other scripts need of it is in `fingertrio`.

const fingertrio = (() => {
  // Scripts are in /-/ of the site, which may be below another path.
  const site = new URL("../", document.currentScript.src);

  // Times. On the server: times.py.

  const MINUTE = 60e3, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
  const format = (options) => new Intl.DateTimeFormat("en-GB", options);
  const clockFormat = format({ hour: "2-digit", minute: "2-digit" });
  const weekdayFormat = format({ weekday: "long" });
  const dayFormat = format({ day: "numeric", month: "short" });
  const yearFormat = format({ day: "numeric", month: "short", year: "numeric" });
  const exactFormat = format({
    day: "numeric", month: "long", year: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "short",
  });

  const date = (time, now) => (time.getFullYear() === now.getFullYear() ? dayFormat : yearFormat).format(time);

  function ago(time, now) {
    const passed = now - time;
    if (passed < MINUTE) return "just now";
    if (passed < HOUR) return `${Math.floor(passed / MINUTE)} min ago`;
    if (passed < DAY) return `${Math.floor(passed / HOUR)} h ago`;
    if (passed >= 7 * DAY) return date(time, now);
    const days = Math.floor(passed / DAY);
    return days === 1 ? "yesterday" : `${days} days ago`;
  }

  function until(time, now) {
    const ahead = time - now;
    if (time.toDateString() === now.toDateString() || (ahead >= 0 && ahead < DAY / 2)) return clockFormat.format(time);
    if (ahead >= 0 && ahead < 6 * DAY) return `${weekdayFormat.format(time)} ${clockFormat.format(time)}`;
    return date(time, now);
  }

  const put = (node, text) => { if (node.textContent !== text) node.textContent = text; };

  function showTime(node, now) {
    const time = new Date(node.dateTime);
    if (Number.isNaN(time.getTime())) return;
    const exact = exactFormat.format(time);
    if (!node.title) return put(node, exact);
    if (node.title !== exact) node.title = exact;
    const isEnd = node.closest(".chip, .state") !== null;
    // In a history, an end on the day of its status is a time of day.
    const start = node.closest(".history li")?.querySelector("time");
    const day = isEnd && start ? new Date(start.dateTime) : now;
    put(node, !isEnd ? ago(time, now) : time.toDateString() === day.toDateString() ? clockFormat.format(time) : until(time, now));
    const unseen = node.nextElementSibling;
    if (unseen?.className === "unseen") put(unseen, ` (${exact})`);
  }

  function showTimes(root = document) {
    const now = new Date();
    for (const node of root.querySelectorAll("time[datetime]")) showTime(node, now);
    for (const node of root.querySelectorAll("[data-zone]")) {
      try {
        put(node, format({ hour: "2-digit", minute: "2-digit", timeZone: node.dataset.zone }).format(now));
      } catch {
        node.removeAttribute("data-zone");  // the browser does not know this zone; the server's time stays
      }
    }
  }

  // Commands.

  function select(node) {
    const range = document.createRange();
    range.selectNodeContents(node);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
  }

  for (const item of document.querySelectorAll(".commands li")) {
    const code = item.querySelector("code");
    const button = document.createElement("button");
    button.className = "copy";
    button.type = "button";
    const name = (text, label = text) => {
      button.textContent = text;
      button.setAttribute("aria-label", label);
    };
    name("Copy", `Copy ${code.textContent}`);
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(code.textContent);  // not there without https
        name("Copied");
      } catch {
        select(code);
        name("Selected");
      }
      setTimeout(() => name("Copy", `Copy ${code.textContent}`), 2000);
    });
    item.append(button);
  }

  showTimes();
  setInterval(showTimes, 15000);

  return { site, put, showTimes };
})();
