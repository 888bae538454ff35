"use strict";

// The list of users. A row is small and changes often, so it is built here from the message, as templates/parts.html
// builds it on the server.

(() => {
  const { list: order, history: hasHistory } = document.currentScript.dataset;
  const moves = order === "newest";
  const { showTimes, site } = fingertrio;
  const { fetchPage, flash, follow, hasSelection, keepingPlace, print, whenFree } = fingertrio.live;

  const HUES = 24, LINE = 300, ROWS = 200;
  const RESERVED = new Set(["api", "RPC2", "robots.txt", "favicon.ico"]);
  // As in text.py.
  const ADDRESS = new RegExp(
    "(?<![\\p{L}\\p{N}_](?<![\\u3040-\\u30ff\\u3400-\\u9fff\\uac00-\\ud7af\\uf900-\\ufaff]))(?<![@/.+-])" +
    "(?:(?:https?|gemini|gopher|finger)://(?=[\\p{L}\\p{N}[])|mailto:[\\w.+-]+@(?=[\\p{L}\\p{N}]))" +
    "[^\\s<>\"`\\u00ad\\u200b-\\u200f\\u2060-\\u2064\\u3000-\\u303f\\uff00-\\uff0f\\uff1a-\\uff20\\uff3b-\\uff40\\uff5b-\\uff65]+",
    "giu",
  );

  class Stream {
    // Rows move in the list of the newest. Where they have another order, or are chosen, they change where they are.
    constructor(list, moves) {
      this.users = [];
      this.list = list;
      this.moves = moves;
      this.meanwhile = null;  // while the page is fetched: the last change of each user, which it may not have
    }

    rows() {
      return [...this.list.children];
    }

    find(user) {
      return this.rows().find((row) => row.firstElementChild.textContent === user);
    }

    change(message) {
      this.meanwhile?.set(message.user, message);
      const row = this.find(message.user);
      if (row) whenFree(row, message.user, () => this.apply(row, message));
      else keepingPlace(() => this.apply(null, message));
    }

    apply(row, message) {
      const isGone = message.removed || message.status === "";
      if (isGone) {
        if (this.moves) row?.remove();
        else if (row && !message.removed) row.replaceWith(this.row(message));
        return;
      }
      if (!row && !this.moves) return;
      const next = this.row(message);
      const hadFocus = row?.contains(document.activeElement);
      if (this.moves) {
        row?.remove();
        if (!this.insert(next)) return;
      } else {
        row.replaceWith(next);
      }
      if (hadFocus) next.firstElementChild.focus({ preventScroll: true });
      flash(next);
    }

    insert(row) {
      const time = (item) => Date.parse(item.querySelector("time[datetime]")?.dateTime ?? "") || 0;
      const after = this.rows().find((other) => time(other) <= time(row));
      if (!after && document.querySelector("a[rel=next]")) return false;  // on a later page
      this.list.insertBefore(row, after ?? null);
      for (const old of this.rows().slice(ROWS)) old.remove();
      return true;
    }

    row(message) {
      const node = (tag, className, text) => {
        const made = document.createElement(tag);
        if (className) made.className = className;
        made.append(text);
        return made;
      };
      const time = (moment, className) => {
        const made = node("time", className, "");
        made.dateTime = moment;
        made.title = moment;
        return made;
      };
      const data = (className, value) => {
        const made = document.createElement("data");
        return Object.assign(made, { hidden: true, className, value });
      };
      const { user, name, emoji, since } = message;
      const line = cut(message.line ?? message.status.trim().split("\n")[0]);
      const says = Boolean(emoji || line);
      const isReserved = RESERVED.has(user);
      const home = `${isReserved ? "api/users/" : ""}${quote(user)}`;
      const link = node("a", "", user);
      link.href = new URL(home, site);
      link.className = says ? "p-author h-card" : "h-card";
      if (name) link.append(data("p-name", name));
      const avatar = node("span", `avatar h${hue(user)}`, "");
      avatar.dataset.initial = initial(name || user);
      avatar.setAttribute("aria-hidden", "true");
      const row = node("li", says ? "h-entry" : "", link);
      row.append(avatar);
      if (name) row.append(" ", node("b", "name", name));
      if (since) row.append(" ", time(since, says ? "dt-published" : ""), node("span", "unseen", ""));
      const text = node("p", "", "");
      if (says) {
        const summary = node("span", "p-summary", "");
        if (emoji) summary.append(node("span", "emoji", emoji), " ");
        summary.append(...linked(line));
        text.append(summary);
      }
      if (message.until) {
        const chip = node("span", "chip", "until ");
        chip.append(time(message.until, ""), node("span", "unseen", ""));
        text.append(" ", chip);
      }
      const more = message.status.replace(/^\n+|\n+$/g, "").split("\n").length - 1;
      if (more) text.append(" ", node("span", "more", `+${more} ${more === 1 ? "line" : "lines"}`));
      row.append(text);
      const isKept = hasHistory && since && !isReserved;
      if (says) row.append(data("u-url", isKept ? `${home}/at/${place(since)}` : home));
      showTimes(row);
      return row;
    }

    // Rows that are the same stay where they are.
    async refresh() {
      const meanwhile = this.meanwhile = new Map();
      const page = await fetchPage();
      if (this.meanwhile !== meanwhile) return;  // a later answer is on its way
      this.meanwhile = null;
      const next = page?.querySelector("main > ul:not([class])");
      if (!next) return location.reload();
      keepingPlace(() => {
        const old = new Map(this.rows().map((row) => [row.firstElementChild.textContent, row]));
        const rows = [...next.children].map((row) => {
          const kept = old.get(row.firstElementChild.textContent);
          return kept && (hasSelection(kept) || print(kept) === print(row)) ? kept : row;
        });
        for (const row of this.rows()) if (!rows.includes(row)) row.remove();
        rows.forEach((row, at) => {
          if (this.list.children[at] !== row) this.list.insertBefore(row, this.list.children[at] ?? null);
        });
        showTimes(this.list);
      });
      for (const message of meanwhile.values()) this.change(message);
    }
  }

  // Before the first status there is no list to change: the whole page is another one then.
  class Empty {
    constructor() {
      this.users = [];
    }

    change() {
      return this.refresh();
    }

    async refresh() {
      const page = await fetchPage();
      if (page?.querySelector("main > ul:not([class])")) location.reload();
    }
  }

  const cut = (line) => ([...line].length > LINE ? `${[...line].slice(0, LINE).join("").trimEnd()}…` : line);

  function linked(text) {
    const parts = [];
    let end = 0;
    for (const found of text.matchAll(ADDRESS)) {
      let address = found[0].replace(/[.,;:!?'*|…’”»]+$/u, "");
      while (/[)\]}]$/.test(address) && closes(address)) address = address.slice(0, -1);
      const link = document.createElement("a");
      link.href = address;
      link.rel = "nofollow ugc noopener";
      link.textContent = address;
      parts.push(text.slice(end, found.index), link);
      end = found.index + address.length;
    }
    return [...parts, text.slice(end)];
  }

  // As Python's quote: encodeURIComponent leaves some signs as they are.
  function quote(text) {
    return encodeURIComponent(text).replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`);
  }

  // A time as permanent addresses have it: permalinks.py.
  function place(since) {
    const [, second, , part = ""] = since.match(/^([^.Z]*)(\.(\d*))?Z$/);
    return `${second.replace(/[-:]/g, "")}.${part.padEnd(6, "0")}Z`;
  }

  function closes(address) {
    const [closing, opening] = { ")": [")", "("], "]": ["]", "["], "}": ["}", "{"] }[address.at(-1)];
    return address.split(closing).length > address.split(opening).length;
  }

  function hue(user) {
    let value = 0;
    for (const byte of new TextEncoder().encode(user)) value = (value * 31 + byte) % 65521;
    return value % HUES;
  }

  function initial(text) {
    const found = text.match(/[\p{L}\p{N}]/u)?.[0] ?? "?";
    return [...found.toUpperCase()].length === 1 ? found.toUpperCase() : found;
  }

  const list = document.querySelector("main > ul:not([class])");

  // A click anywhere on a row opens the user's page, unless it selects text.
  list?.addEventListener("click", (event) => {
    const row = event.target.closest("li");
    if (row && !event.target.closest("a, button") && getSelection().isCollapsed) row.firstElementChild.click();
  });

  if (list) follow(new Stream(list, moves));
  else if (moves) follow(new Empty());
})();
