"use strict";

// Pages that follow every change. A view (stream.js, profile.js) knows how its page changes; here is what both need: the
// connection, the page as the server makes it now, and care for what the reader is doing.

fingertrio.live = (() => {
  const { put, showTimes, site } = fingertrio;
  const main = document.getElementById("main");

  // What the reader is doing is left alone: a part of the page with selected text waits until nothing is selected.

  function hasSelection(node) {
    const selection = getSelection();
    return selection !== null && !selection.isCollapsed && selection.containsNode(node, true);
  }

  const postponed = new Map();

  function whenFree(node, key, change) {
    if (hasSelection(node)) {
      postponed.set(key, [node, change]);
    } else {
      postponed.delete(key);
      keepingPlace(change);
    }
  }

  document.addEventListener("selectionchange", () => {
    for (const [key, [node, change]] of postponed) whenFree(node, key, change);
  });

  // What is at the top of the window stays there.
  function keepingPlace(change) {
    const parts = scrollY > 0 ? main.querySelectorAll("li, section, dl, dl > div, p, h1, h2") : [];
    const anchor = [...parts].find((part) => part.getBoundingClientRect().top >= 0);
    const before = anchor?.getBoundingClientRect().top;
    const focused = document.activeElement;
    change();
    if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
    if (anchor?.isConnected) scrollBy({ top: anchor.getBoundingClientRect().top - before, behavior: "instant" });
  }

  function flash(node) {
    node.classList.remove("fresh");
    void node.offsetWidth;  // so that the animation starts again
    node.classList.add("fresh");
  }

  // What distinguishes two states of a node: all but what only depends on the present time.
  function print(node) {
    const copy = node.cloneNode(true);
    for (const part of copy.querySelectorAll("time, .unseen, [data-zone]")) part.textContent = "";
    for (const time of copy.querySelectorAll("time")) time.title = "";
    copy.classList.remove("fresh");
    return copy.className + copy.innerHTML;
  }

  // The page as the server makes it now; null: it is not there any more.
  async function fetchPage() {
    const response = await fetch(location.href, { cache: "no-cache", headers: { Accept: "text/html" } });
    if (response.status === 404) return null;
    if (!response.ok) throw new Error(`status ${response.status}`);
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    document.querySelector("body > .notice")?.remove();  // since when what is shown may be out of date
    const notice = page.querySelector("body > .notice");
    if (notice) main.before(document.adoptNode(notice));
    showTimes();
    return page;
  }

  // The connection. docs/reference/live-feed.md is the protocol.

  const state = document.getElementById("state");
  const LOST_AFTER = 5000, HIDDEN_FOR = 30000, LONGEST_PAUSE = 60000;

  function say(text, name) {
    state.className = `state ${name}`;
    put(state, text);
  }

  class Connection {
    constructor(view) {
      this.view = view;
      this.last = "";  // the id of the last message
      this.pause = 2000;  // before the next attempt to connect
      this.wait = 2000;  // before the next attempt to fetch the page
      this.silence = 60000;  // after this long, the connection is dead: the server sends something more often
    }

    open() {
      if (this.source) return;
      const address = new URL("api/events", site);
      for (const user of this.view.users) address.searchParams.append("user", user);
      if (this.last) address.searchParams.set("since", this.last);
      const source = this.source = new EventSource(address);
      source.onmessage = (event) => this.receive(event);
      source.onerror = () => this.fail(source);
      this.watch();
    }

    close() {
      this.source?.close();
      this.source = null;
      clearTimeout(this.watchdog);
      clearTimeout(this.retry);
    }

    reopen() {
      this.close();
      this.open();
    }

    watch() {
      clearTimeout(this.watchdog);
      this.watchdog = setTimeout(() => { this.lose(); this.reopen(); }, this.silence);
    }

    receive(event) {
      const message = JSON.parse(event.data);
      if (event.lastEventId) this.last = event.lastEventId;
      this.watch();
      const isStale = Boolean(message.stale_since);
      if (message.type === "hello") {
        if (message.id) this.last = message.id;
        this.silence = 1000 * (2 * message.alive + 5);
        this.found();
        if (!message.resumed || isStale !== this.isStale) this.refresh();
        this.isStale = isStale;
      } else if (message.type === "change") {
        Promise.resolve(this.view.change(message)).catch(() => this.again());
      } else if (message.type === "alive" && isStale !== this.isStale) {
        this.isStale = isStale;
        this.refresh();
      }
    }

    refresh() {
      this.view.refresh().then(() => { this.wait = 2000; }, () => this.again());
    }

    // The page could not be read: what is missing is still missing when it is tried again.
    again() {
      clearTimeout(this.refreshing);
      this.refreshing = setTimeout(() => this.refresh(), this.wait * (0.75 + Math.random() / 2));
      this.wait = Math.min(2 * this.wait, LONGEST_PAUSE);
    }

    found() {
      clearTimeout(this.losing);
      this.losing = null;
      this.pause = 2000;
      say("live", "live");
    }

    lose() {
      this.losing ??= setTimeout(() => say("Connection lost. Trying again …", "lost"), LOST_AFTER);
    }

    // The browser connects again by itself, with Last-Event-ID, unless the answer was an error.
    fail(source) {
      if (source !== this.source) return;
      this.lose();
      if (source.readyState !== EventSource.CLOSED) return;
      this.close();
      this.retry = setTimeout(() => this.open(), this.pause * (0.75 + Math.random() / 2));
      this.pause = Math.min(2 * this.pause, LONGEST_PAUSE);
    }
  }

  function follow(view) {
    const connection = new Connection(view);
    let hiding;
    const show = () => {
      clearTimeout(hiding);
      showTimes();
      connection.open();
    };
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") show();
      else hiding = setTimeout(() => connection.close(), HIDDEN_FOR);
    });
    addEventListener("pagehide", () => connection.close());
    addEventListener("pageshow", (event) => { if (event.persisted) show(); });
    addEventListener("online", () => connection.reopen());
    connection.open();
  }

  return { fetchPage, flash, follow, hasSelection, keepingPlace, print, say, whenFree };
})();
