"use strict";
// The search field of every page, and the first screen. Nothing is fetched: other data are scripts, so all works from file://.
const root = document.documentElement.dataset.root;

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// ---- search: the index is loaded when the field is used.

const MOST = 30;
let loading = null;

function index() {
  loading ??= new Promise((resolve, reject) => {
    const script = element("script", { src: `${root}search.js` });
    script.onload = () => resolve(window.nocopyIndex);
    script.onerror = () => reject(new Error("search.js is not there"));
    document.head.append(script);
  });
  return loading;
}

// As `conformance find`: every word must fit, and a word fits best as a whole word of the name.
function score(word, [, name, sentence, more]) {
  let best = 0;
  for (const [text, weight] of [[name, 20], [sentence, 8], [more, 3]]) {
    const at = text.toLowerCase();
    if (at.split(/[^\p{L}\p{N}_]+/u).includes(word) || at.split(/\s+/).includes(word)) best = Math.max(best, 2 * weight);
    else if (at.includes(word)) best = Math.max(best, weight);
  }
  return best;
}

async function search(text) {
  const [count, found] = [document.getElementById("count"), document.getElementById("found")];
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) {
    count.textContent = "";
    found.replaceChildren();
    return;
  }
  const entries = await index();
  if (document.getElementById("search").value !== text) return;
  const hits = [];
  for (const entry of entries) {
    const scores = words.map((word) => score(word, entry));
    if (scores.every((one) => one > 0)) hits.push([scores.reduce((sum, one) => sum + one, 0), entry]);
  }
  hits.sort(([one, a], [other, b]) => other - one || (a[1] < b[1] ? -1 : 1));
  count.textContent = hits.length > MOST ? `${hits.length} found; the best ${MOST}:` : `${hits.length} found`;
  const item = ([, [page, name, sentence]]) => element("li", {}, element("a", { href: root + page, class: "id" }, name), ` ${sentence}`);
  found.replaceChildren(...hits.slice(0, MOST).map(item));
}

const field = document.getElementById("search");
field.addEventListener("focus", () => index().catch(() => {}));
field.addEventListener("input", () => search(field.value));
field.addEventListener("keydown", (event) => {
  const first = document.querySelector("#found a");
  if (first && event.key === "Enter") first.click();
  if (first && event.key === "ArrowDown") {
    first.focus();
    event.preventDefault();
  }
});
document.getElementById("found").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const links = [...document.querySelectorAll("#found a")];
  (links[links.indexOf(document.activeElement) + step] ?? field).focus();
  event.preventDefault();
});

// ---- the first screen.

const NAMES = {
  "read-write": "read and write", "mmap-write": "mmap and write", "sendfile": "sendfile", "splice": "splice", "vmsplice": "vmsplice of a mapping",
  "msg-zerocopy": "MSG_ZEROCOPY of a mapping", "copy-file-range": "copy_file_range",
  "chosen-shared": "nocopy-transfer, Shared", "chosen-snapshot": "nocopy-transfer, Snapshot",
};

function firstScreen(data) {
  const slider = document.getElementById("kernel");
  const release = document.getElementById("release");
  const panel = document.getElementById("pair");
  const buttons = [...document.querySelectorAll("#pairs button")];
  let pair = null;

  const on = (runs, kernel) => runs.findLast(([from]) => from <= kernel)[1];
  const isNumber = (text) => /^\d+$/.test(text);

  // The copies by the processor, up to the sink: a shared page is none, and only read and write has two.
  function copies(name, route, text) {
    if (text === "shared" || text === "lost if changed") return "0";
    if (text !== "copied") return "";
    return route === "read-write" && !name.startsWith("memory") ? "2" : "1";
  }

  function words(text) {
    if (text === "-") return "there is no such route";
    if (text === "lost if changed") return "shared; lost if the source changes before it is read";
    return isNumber(text) ? `takes ${text} bytes (they cannot be read back)` : text;
  }

  function changes(runs) {
    const parts = runs.map(([from, text], at) => {
      const end = (runs[at + 1]?.[0] ?? data.kernels.length) - 1;
      const range = end === from ? data.kernels[from] : `${data.kernels[from]} to ${data.kernels[end]}`;
      return `${range}: ${text}`;
    });
    return parts.length === 1 ? "the same on all" : parts.join("; ");
  }

  function cost(name, route) {
    const [source, sink] = name.split(" to ");
    const range = source === "regular file" ? data.costs[sink]?.[route] : undefined;
    if (!range) return "";
    const [low, high] = range.map((one) => one.toFixed(2));
    return low === high ? low : `${low} to ${high}`;
  }

  function show() {
    const kernel = Number(slider.value);
    release.textContent = `Linux ${data.kernels[kernel]}`;
    slider.setAttribute("aria-valuetext", `Linux ${data.kernels[kernel]}`);
    for (const button of buttons) {
      const name = button.dataset.pair;
      const word = on(data.best[name], kernel);
      button.className = word;
      button.lastChild.textContent = word;
      button.setAttribute("aria-pressed", String(name === pair));
    }
    if (pair) details(kernel);
  }

  function details(kernel) {
    const rows = data.routes.map((route) => {
      const runs = data.cells[pair][route];
      const text = on(runs, kernel);
      const claims = data.claims[pair]?.[route] ?? [];
      const links = claims.flatMap((id, at) => [at ? ", " : "", element("a", { href: `claim/${id}.html`, class: "id" }, id)]);
      return element("tr", {},
        element("th", { scope: "row" }, NAMES[route] ?? route), element("td", {}, words(text)), element("td", {}, copies(pair, route, text)),
        element("td", {}, cost(pair, route)), element("td", {}, changes(runs)), element("td", {}, ...links));
    });
    const heads = ["route", `on Linux ${data.kernels[kernel]}`, "copies", "times as fast*", "on other kernels", "claims"];
    const table = element("table", { class: "small" },
      element("thead", {}, element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text)))), element("tbody", {}, ...rows));
    const note = "Copies: by the processor, from the source's pages to what the sink holds; a receiver that reads from a socket or pipe copies once more. An errno with a step in " +
      "front is of that step; after “splice out” the bytes are in the pipe. *As read and write of 64 KiB, from a file in memory, 64 MiB, both ends on one processor: the range of two machines, which decides nothing.";
    panel.replaceChildren(
      element("h2", {}, `From ${pair}`),
      element("div", { class: "wide", tabindex: "0", role: "region", "aria-label": `Routes from ${pair}` }, table), element("p", {}, note));
  }

  function toHash() {
    history.replaceState(null, "", `#${encodeURIComponent(data.kernels[slider.value])}/${encodeURIComponent(pair ?? "")}`);
  }

  function fromHash() {
    const [release, name] = location.hash.slice(1).split("/").map(decodeURIComponent);
    const at = data.kernels.indexOf(release);
    if (at >= 0) slider.value = at;
    if (data.cells[name]) pair = name;
    show();
  }

  slider.addEventListener("input", () => { show(); toHash(); });
  slider.form.addEventListener("submit", (event) => event.preventDefault());
  for (const button of buttons) button.addEventListener("click", () => { pair = button.dataset.pair; show(); toHash(); });
  window.addEventListener("hashchange", fromHash);
  fromHash();
}

if (window.nocopyPairs) firstScreen(window.nocopyPairs);
