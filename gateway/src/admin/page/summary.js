// The facts of one delivery: everything in its record, and where its time went.

import { copyButton, el, long } from "./dom.js";
import { bytes, dateTime, micros, outcomeText, period, relative } from "./format.js";
import { address } from "./router.js";

// The fields of a record in the order of the page: key, label, and how to show the value. A field
// that a later gateway adds is shown under its own name.
const FIELDS = [
  ["time", "Arrived", arrived],
  ["source", "Source", (value) => filtered({ source: value }, value)],
  ["tenant", "Tenant", (value, record) => filtered({ source: record.source, tenant: value }, value)],
  ["provider", "Provider"],
  ["event_id", "Event id (signed)", (value) => searched(value)],
  ["event_type", "Event type"],
  ["delivery_id", "Delivery id (unsigned)", (value) => searched(value)],
  ["attempt", "Attempt"],
  ["key_id", "Key"],
  ["method", "Method"],
  ["path", "Path"],
  ["status", "Status to the sender"],
  ["reason", "Reason", (value) => filtered({ reason: value }, value)],
  ["upstream", "Upstream"],
  ["server", "Server"],
  ["client", "Client", (value) => searched(value)],
  ["user_agent", "User agent"],
  ["content_type", "Content type"],
  ["content_length", "Content length", bytes],
  ["body_bytes", "Body received", bytes],
  ["signed_headers", "Signed headers"],
  ["age_s", "Age of the signature", age],
  ["resent_by", "Sent again by"],
  ["resent_from", "Sent again from", (value) => long("a", value, { limit: 500, href: address({ id: value }), class: "mono" })],
  ["request_id", "Request id", copied],
  ["seq", "Number of the record"],
  ["capture", "Capture"],
];
/** The longest value that the page searches for. */
export const LONGEST_SEARCH = 300;
const ELSEWHERE = new Set(["outcome", "verify_us", "claim_us", "upstream_us", "total_us"]);

/** Returns the list of all fields of a record. */
export function summary(record) {
  const list = el("dl", { class: "facts" });
  const add = (label, value) => list.append(el("div", {}, el("dt", {}, label), el("dd", {}, value)));
  const known = new Set(FIELDS.map(([key]) => key));
  for (const [key, label, show] of FIELDS) {
    const value = record[key];
    if (value === undefined || value === null || value === "") continue;
    add(label, show ? show(value, record) : text(value));
  }
  for (const [key, value] of Object.entries(record)) {
    if (known.has(key) || ELSEWHERE.has(key)) continue;
    add(key, text(typeof value === "object" ? JSON.stringify(value) : value));
  }
  return list;
}

const text = (value) => long("span", value, { limit: 500 });
const searched = (value) => filtered({ q: value }, value);

// A fact that leads to all deliveries with the same value. The head of a request has a limit.
function filtered(filters, value) {
  if (value.length > LONGEST_SEARCH) return text(value);
  const link = long("a", value, { limit: 500, href: address({ filters }) });
  link.title = "Show all deliveries with this value";
  return link;
}

function copied(value) {
  return el("span", {}, long("span", value, { class: "mono" }), " ", copyButton(value));
}

function arrived(value) {
  return el("span", {}, `${dateTime(value)} (${relative(value)})`, el("br"), el("span", { class: "muted mono" }, value));
}

function age(value) {
  if (value < 0) return `${period(-value)} in the future`;
  return period(value);
}

const PHASES = [["verify_us", "verify"], ["claim_us", "claim"], ["upstream_us", "upstream"]];

/** Returns the timeline of a delivery, or null if its times are unknown. */
export function timeline(record) {
  if (record.total_us === undefined) return null;
  const parts = PHASES.filter(([key]) => record[key] !== undefined)
    .map(([key, name]) => ({ name, time: record[key] }));
  const known = parts.reduce((sum, part) => sum + part.time, 0);
  parts.push({ name: "rest", time: Math.max(record.total_us - known, 0) });
  const whole = Math.max(record.total_us, known, 1);
  const bar = el("div", { class: "timeline", "aria-hidden": "true" });
  const legend = el("dl", { class: "legend" });
  for (const { name, time } of parts) {
    const piece = el("span", { class: `phase phase-${name}` });
    piece.style.flexGrow = String(time / whole);
    bar.append(piece);
    const label = name === "rest" ? "receive and respond" : name;
    legend.append(el("div", {}, el("dt", {}, el("span", { class: `swatch phase-${name}` }), label),
      el("dd", {}, `${micros(time)} (${Math.round((time / whole) * 100)} %)`)));
  }
  legend.append(el("div", {}, el("dt", {}, "total"), el("dd", {}, micros(record.total_us))));
  return el("div", {}, bar, legend);
}

/** Returns one line about the verdict. */
export function headline(record) {
  const status = record.status === undefined ? "" : `; the sender got ${record.status}`;
  return `${outcomeText(record.outcome)}${status}`;
}
