/* What the theme leaves out. Every page can be read without it. */

// On a phone, a table's rows become blocks. Each cell then needs the name of its column; the style sheet shows it.
for (const table of document.querySelectorAll("article table.docutils")) {
  const names = [...table.querySelectorAll("thead th")].map((cell) => cell.textContent.trim());
  for (const row of table.querySelectorAll("tbody tr")) {
    [...row.cells].forEach((cell, place) => { cell.dataset.label = names[place] ?? ""; });
  }
  if (names.length) table.classList.add("labelled");
}

// What scrolls can be reached with the keyboard.
for (const box of document.querySelectorAll("article pre, article .table-wrapper")) {
  if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
}

// The side bar's titles are headings; their level is missing.
for (const caption of document.querySelectorAll(".sidebar-tree .caption")) caption.setAttribute("aria-level", "2");

// A picture has a dark version for systems that are dark. A reader who chooses here, against the system, sees that one too.
const dark = "(prefers-color-scheme: dark)";
const sources = [...document.querySelectorAll(`picture source[media="${dark}"]`)];
const follow = () => {
  const media = { dark: "all", light: "not all" }[document.body.dataset.theme] ?? dark;
  for (const source of sources) source.media = media;
};
new MutationObserver(follow).observe(document.body, { attributeFilter: ["data-theme"] });
follow();
