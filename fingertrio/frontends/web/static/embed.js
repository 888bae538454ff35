"use strict";

// For pages of other sites: <span data-fingertrio="ada"></span> and this script show the first line of Ada's status,
// and follow it. Text is only ever set as text. An element keeps what the page wrote into it until a status is there.
(() => {
  const site = new URL("../", document.currentScript.src);
  const places = new Map();
  for (const place of document.querySelectorAll("[data-fingertrio]")) {
    const user = place.dataset.fingertrio;
    places.set(user, [...(places.get(user) || []), place]);
  }
  if (!places.size) return;
  const asked = [...places.keys()].slice(0, 100).map((user) => `user=${encodeURIComponent(user)}`);
  const events = new EventSource(new URL(`api/events?snapshot=1&${asked.join("&")}`, site));
  events.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (!places.has(message.user) || message.unavailable) return;
    const [line] = (message.status || "").split("\n").filter((text) => text.trim());
    for (const place of places.get(message.user)) {
      place.textContent = line || "";
      if (message.since) place.title = new Date(message.since).toLocaleString();
    }
  };
})();
