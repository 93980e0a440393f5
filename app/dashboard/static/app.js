// What pages need beside htmx: theme, times, copying, confirming, live parts, keys.
"use strict";

const LIVE_PAUSE = 1000; // ms: a live part is fetched at most once a second, however many events come

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (button?.hasAttribute("data-theme-switch")) switchTheme();
  if (button?.hasAttribute("data-keys-switch")) switchLetters();
  if (button?.hasAttribute("data-copy")) {
    await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
    toast("Copied");
  }
});

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});

// Every request of htmx carries the token that forms carry.
document.addEventListener("htmx:config:request", (event) => {
  event.detail.ctx.request.headers["X-CSRF-Token"] = document.querySelector("meta[name=csrf]").content;
});

// <form data-typed>: a part that was asked for before somebody typed on does not replace what is typed; it is
// asked for again.
const TYPING_PAUSE = 500; // ms
document.addEventListener("input", (event) => {
  const form = event.target.closest("form[data-typed]");
  if (form) form.typedAt = performance.now();
});
document.addEventListener("htmx:before:request", (event) => (event.detail.ctx.askedAt = performance.now()));
document.addEventListener("htmx:before:swap", (event) => {
  const form = event.target;
  if (!form.matches?.("form[data-typed]") || !(form.typedAt > event.detail.ctx.askedAt)) return;
  event.preventDefault();
  const part = event.detail.ctx.target;
  setTimeout(() => part.dispatchEvent(new Event("change", { bubbles: true })), TYPING_PAUSE);
});

function switchTheme() {
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark";
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", document.documentElement.dataset.theme);
  document.dispatchEvent(new Event("star:theme"));
}

function toast(text) {
  const place = document.querySelector("[data-toast]");
  place.textContent = text;
  setTimeout(() => (place.textContent = ""), 2000);
}

// Times of the last or next day are told from now ("3 min. ago"); the others, and every title, as dates.
const NEAR = 86400; // seconds
const UNITS = [["hour", 3600], ["minute", 60], ["second", 1]];
const FROM_NOW = new Intl.RelativeTimeFormat([], { numeric: "auto", style: "short" });

function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const when = new Date(time.dateTime);
    const date = when.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    const seconds = Math.round((when - Date.now()) / 1000);
    const [unit, size] = UNITS.find(([, least]) => Math.abs(seconds) >= least) ?? ["second", 1];
    const told = Math.abs(seconds) < NEAR ? FROM_NOW.format(Math.trunc(seconds / size), unit) : date;
    time.title = `${date} (${time.dateTime})`;
    if (time.textContent !== told) time.textContent = told;
  }
}

setInterval(() => localTimes(document), 30000);

// <div data-live="URL of server-sent events" hx-get="…" hx-trigger="star:changed">: fetched again after events.
function followLive(root) {
  for (const part of root.querySelectorAll("[data-live]")) {
    if (part.source) continue;
    part.source = new EventSource(part.dataset.live);
    const later = (name) => {
      let waiting = null;
      const tell = () => {
        waiting ??= setTimeout(() => {
          waiting = null;
          if (!part.isConnected) return part.source.close();
          part.dispatchEvent(new Event(`star:${name}`, { bubbles: true }));
        }, LIVE_PAUSE);
      };
      part.source.addEventListener(name, tell);
      return tell;
    };
    const changed = later("changed");
    later("results"); // rarer: what takes longer to count
    part.source.addEventListener("done", () => {
      part.source.close();
      changed();
    });
  }
}

// What is left empty in a form of filters does not belong into its URL.
document.addEventListener("formdata", (event) => {
  if (event.target.method !== "get") return;
  for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
});

// Links that carry data-key are followed when one of its keys is pressed outside of a field. Letters can be
// switched off (<button data-keys-switch>): who speaks to the computer would press them by accident.
const lettersOn = () => localStorage.getItem("letters") !== "off";

function switchLetters() {
  localStorage.setItem("letters", lettersOn() ? "off" : "on");
  showLetters(document);
}

function showLetters(root) {
  for (const button of root.querySelectorAll("[data-keys-switch]")) button.ariaPressed = String(lettersOn());
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select")) return;
  if (event.key.length === 1 && !lettersOn()) return;
  const link = document.querySelector(`a[data-key~="${CSS.escape(event.key)}"]`);
  if (link) {
    event.preventDefault();
    link.click();
  }
});

// A part of the page may say what the tab is called, and when it ends: "2 h · 40 % of train, 1/3 · name".
function showTitle(root) {
  const said = root.querySelector("[data-title]");
  if (!said) return;
  const minutes = Math.round((new Date(said.dataset.ends) - Date.now()) / 60000); // NaN without an estimate
  const left = minutes >= 60 ? `${Math.round(minutes / 60)} h` : `${minutes} min`;
  document.title = minutes > 0 ? `${left} · ${said.dataset.title}` : said.dataset.title;
}

// On a phone a table's rows are cards: each cell says which column it is of (app.css).
function nameCells(root) {
  for (const table of root.querySelectorAll(".scroll > table")) {
    const named = (head) => {
      const words = [...head.childNodes].filter((one) => one.nodeName !== "SMALL" && !one.classList?.contains("visually-hidden"));
      return words.map((one) => one.textContent).join("").trim();
    };
    const heads = [...table.querySelectorAll("thead > tr:last-child > *")].map(named);
    for (const row of table.querySelectorAll("tbody > tr")) {
      [...row.cells].forEach((cell, place) => {
        if (heads[place] && cell.colSpan === 1) cell.dataset.column = heads[place];
      });
    }
  }
}

// On a phone tabs are one row that is moved sideways: the tab that is shown stands in its middle.
function showTabs(root) {
  for (const tab of root.querySelectorAll('ul [aria-current="page"]')) {
    const row = tab.closest("ul");
    row.scrollLeft = tab.offsetLeft - row.offsetLeft - (row.clientWidth - tab.offsetWidth) / 2;
  }
}

function dress(root) {
  nameCells(root);
  showTitle(root);
  localTimes(root);
  showLetters(root);
  followLive(root);
}

document.addEventListener("htmx:after:swap", () => dress(document));
dress(document);
showTabs(document);
