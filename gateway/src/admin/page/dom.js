// Small functions that build elements. None of them takes markup, styles or addresses of other
// sites.

import { nodes, clip, visible } from "./text.js";

const SVG = "http://www.w3.org/2000/svg";

/** Returns the element of the page with this id. */
export const byId = (id) => document.getElementById(id);

/**
 * Creates an element. `props` are attributes; a function becomes an event listener, and `true`,
 * `false`, `null` and `undefined` set or leave out an attribute.
 */
export function el(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** Creates an SVG element. */
export function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(checked(name, value), value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// The content security policy refuses inline handlers and styles. A `javascript:` address is the
// remaining way from an attribute to a script, so links lead to this page only.
function checked(name, value) {
  const bad =
    name.startsWith("on") || name === "style" || name === "srcdoc" ||
    ((name === "href" || name === "src") && !/^(\?|#|blob:)/.test(value));
  if (bad) throw new Error(`the page does not set the attribute ${name}`);
  return name;
}

/** Replaces the children of an element. */
export function replace(element, ...children) {
  element.replaceChildren(...children.filter((child) => child !== null && child !== undefined));
}

/** Creates an element that shows text of a sender in one line, clipped, whole in the title. */
export function short(tag, text, { limit = 120, ...props } = {}) {
  const whole = String(text);
  const element = el(tag, props);
  element.append(nodes(whole.length > limit ? `${whole.slice(0, limit)}…` : whole));
  element.title = clip(whole, 2000);
  element.dir = "ltr";
  return element;
}

/** Creates an element that shows text of a sender whole, wrapped; a long text opens on demand. */
export function long(tag, text, { limit = 2000, ...props } = {}) {
  const whole = String(text);
  const element = el(tag, props);
  element.dir = "ltr";
  if (whole.length <= limit) {
    element.append(nodes(whole));
    return element;
  }
  element.append(nodes(whole.slice(0, limit)), "… ");
  const rest = whole.length - limit;
  const more = el("button", { type: "button", class: "link" }, `Show ${rest} more characters`);
  more.addEventListener("click", () => element.replaceChildren(nodes(whole)));
  element.append(more);
  return element;
}

/** Creates an element with a message of the gateway, in which backquotes mark code. */
export function message(tag, text, props = {}) {
  const parts = String(text).split("`");
  // An odd number of backquotes has another meaning.
  if (parts.length % 2 === 0 || parts.length > 40) return long(tag, text, props);
  return el(tag, props, ...parts.map((part, index) => (index % 2 === 0 ? nodes(part) : short("code", part))));
}

/** Creates a table with plain cells that scrolls by itself, or a note if there are no rows. */
export function plainTable(head, rows, empty) {
  if (rows.length === 0) return el("p", { class: "muted" }, empty);
  return el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": head.join(", ") },
    el("table", { class: "plain" },
      el("thead", {}, el("tr", {}, ...head.map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, ...rows.map((cells) => el("tr", {}, ...cells.map((cell, index) =>
        el(index === 0 ? "th" : "td", { scope: index === 0 ? "row" : null, "data-label": head[index] }, cell ?? "")))))));
}

/** Creates a button. */
export function button(label, click, props = {}) {
  return el("button", { type: "button", ...props, click }, label);
}

/** Creates a button that copies `text`. */
export function copyButton(text, label = "Copy") {
  const control = button(label, async () => {
    const done = await copy(text);
    control.textContent = done ? "Copied" : "Press Ctrl+C";
    setTimeout(() => { control.textContent = label; }, 2000);
  }, { class: "small" });
  return control;
}

// The clipboard API exists at https and localhost only. Elsewhere the old command does the work.
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = el("textarea", { class: "offscreen", "aria-hidden": "true" });
    area.value = text;
    const holder = document.querySelector("dialog[open]") ?? document.body;
    const focused = document.activeElement;
    holder.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    focused?.focus();
    return done;
  }
}

/** Sets the title of the document. */
export function setTitle(...parts) {
  document.title = [...parts.filter(Boolean).map((part) => visible(clip(part, 80))), "hookgate"]
    .join(" · ");
}
