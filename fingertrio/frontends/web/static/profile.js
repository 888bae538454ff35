"use strict";

// A user's page. It is fetched again when the user changes, and the parts that differ are replaced: the templates on the
// server are the only place that knows how a status looks.

(() => {
  const { user } = document.currentScript.dataset;
  const { showTimes } = fingertrio;
  const { fetchPage, flash, follow, print, say, whenFree } = fingertrio.live;

  class Profile {
    constructor(user) {
      this.users = [user];
      this.known = new Map([...this.parts(document)].map(([key, node]) => [key, print(node)]));
      this.turn = 0;
    }

    parts(root) {
      return new Map([...root.querySelectorAll("[data-part]")].map((node) => [node.dataset.part, node]));
    }

    change() {
      return this.refresh();
    }

    async refresh() {
      const turn = ++this.turn;
      const page = await fetchPage();
      if (turn !== this.turn) return;  // a later answer is on its way
      if (page === null) return say("This user is not here any more", "lost");
      document.title = page.title;
      const news = this.parts(page);
      for (const [key, node] of this.parts(document)) {
        const next = news.get(key);
        if (next && this.known.get(key) !== print(next)) {
          this.known.set(key, print(next));
          whenFree(node, key, () => this.replace(node, next));
        }
      }
    }

    replace(node, next) {
      const links = [...node.querySelectorAll("a, summary, [tabindex]")];
      const focused = links.indexOf(document.activeElement);
      node.className = next.className;
      node.replaceChildren(...next.cloneNode(true).childNodes);
      showTimes(node);
      if (focused >= 0) [...node.querySelectorAll("a, summary, [tabindex]")][focused]?.focus({ preventScroll: true });
      if (node.classList.contains("status")) flash(node);
    }
  }

  follow(new Profile(user));
})();
