// The body of a captured delivery: readable beside the exact bytes.

import { button, el, long } from "./dom.js";
import { bytes, count } from "./format.js";
import { pretty } from "./json.js";
import { nodes } from "./text.js";

const FIRST_HEX = 2048;
const MORE_HEX = 16384;
const MOST_FIELDS = 200;
const MOST_TEXT = 65536;

/** Decodes base64. */
export function decode(base64) {
  const text = atob(base64);
  const out = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index += 1) out[index] = text.charCodeAt(index);
  return out;
}

/** Returns the elements that show a body. `download` saves the whole body. */
export function bodyView(body, contentType, download) {
  const data = decode(body.base64);
  if (body.bytes === 0) return [el("p", { class: "muted" }, "The body is empty.")];
  const isCut = data.length < body.bytes;
  const head = el("p", { class: "muted" }, isCut
    ? `The page shows the first ${bytes(data.length)} of ${bytes(body.bytes)}. `
    : `${bytes(body.bytes)}. `, button("Download the body", download, { class: "link" }));
  const panes = el("div", { class: "body-panes" },
    el("div", { class: "pane" }, el("h4", {}, "Readable"), ...readable(data, contentType ?? "", isCut)),
    el("div", { class: "pane hex-pane" }, el("h4", {}, "Exact bytes"), ...hexView(data)));
  return [head, panes];
}

function readable(data, contentType, isCut) {
  const text = utf8(data, isCut);
  if (text === null) {
    return [el("p", {}, "The body is not UTF-8 text, so the page shows its bytes only.")];
  }
  if (/^\s*application\/x-www-form-urlencoded/i.test(contentType)) return [form(text)];
  const json = pretty(text, { cut: isCut });
  const code = el("pre", { class: "code", tabindex: "0", dir: "ltr" });
  if (json !== null) {
    code.setAttribute("aria-label", "Body as JSON");
    code.append(json);
    return [code];
  }
  code.setAttribute("aria-label", "Body as text");
  code.append(nodes(text.slice(0, MOST_TEXT), { lines: true }));
  if (text.length <= MOST_TEXT) return [code];
  return [code, el("p", { class: "muted" }, `${count(text.length - MOST_TEXT)} more characters are in the download.`)];
}

// The end of a cut body may be half of a character, which is no error.
function utf8(data, isCut) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data, { stream: isCut });
  } catch {
    return null;
  }
}

function form(text) {
  const pairs = text.split("&").filter((pair) => pair !== "");
  const rows = pairs.slice(0, MOST_FIELDS).map((pair) => {
    const equals = pair.indexOf("=");
    const name = equals < 0 ? pair : pair.slice(0, equals);
    const value = equals < 0 ? "" : pair.slice(equals + 1);
    return el("tr", {}, long("th", formText(name), { scope: "row" }), fieldValue(formText(value)));
  });
  const note = pairs.length > MOST_FIELDS
    ? el("caption", {}, `The first ${MOST_FIELDS} of ${count(pairs.length)} fields`)
    : null;
  return el("table", { class: "fields" }, note,
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Field"), el("th", { scope: "col" }, "Value"))),
    el("tbody", {}, ...rows));
}

// Slack and GitHub send JSON in a form field.
function fieldValue(value) {
  const json = /^\s*[{[]/.test(value) ? pretty(value) : null;
  if (json === null) return long("td", value);
  return el("td", {}, el("pre", { class: "code", dir: "ltr", tabindex: "0", "aria-label": "Field as JSON" }, json));
}

function formText(text) {
  const spaced = text.replace(/\+/g, " ");
  try {
    return decodeURIComponent(spaced);
  } catch {
    return spaced;
  }
}

function hexView(data) {
  const code = el("pre", {
    class: "code hex", tabindex: "0", dir: "ltr", "aria-label": "Body as hexadecimal bytes",
  });
  let shown = 0;
  const perLine = matchMedia("(min-width: 1800px)").matches ? 16 : 8;
  const more = button("", () => show(MORE_HEX), { class: "link" });
  const show = (amount) => {
    const end = Math.min(shown + amount, data.length);
    code.append(hexLines(data, shown, end, perLine));
    shown = end;
    more.hidden = shown >= data.length;
    more.textContent = `Show ${bytes(Math.min(MORE_HEX, data.length - shown))} more`;
  };
  show(FIRST_HEX);
  return [code, more];
}

function hexLines(data, from, to, perLine) {
  let text = "";
  for (let start = from; start < to; start += perLine) {
    const line = data.subarray(start, Math.min(start + perLine, to));
    let hex = "";
    let ascii = "";
    for (const byte of line) {
      hex += `${byte.toString(16).padStart(2, "0")} `;
      ascii += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "·";
    }
    text += `${start.toString(16).padStart(5, "0")}  ${hex.padEnd(perLine * 3)} ${ascii}\n`;
  }
  return text;
}
