// One line of the list. On a phone the style sheet turns the line into a card, so every part of a
// table has its role as an attribute.

import { el, short } from "./dom.js";
import { clock, counted, micros, outcomeText } from "./format.js";
import { outcomeMeaning, outcomeTone } from "./reasons.js";
import { address, state } from "./router.js";
import { clip } from "./text.js";

/** The columns of the list. */
export const COLUMNS = ["Time", "Outcome", "Source", "Event", "Reason", "Status", "Duration", "Client"];

/** Returns a badge with the outcome. */
export function badge(record) {
  const outcome = String(record.outcome);
  const element = short("span", outcomeText(outcome), { class: `badge tone-${outcomeTone(record)}`, limit: 40 });
  element.title = outcomeMeaning(record);
  return element;
}

/** Returns the row of a delivery. */
export function deliveryRow(record) {
  const row = el("tr", { role: "row", "data-id": record.request_id },
    el("th", { role: "rowheader", scope: "row", class: "c-time" }, timeLink(record)),
    cell("outcome", badge(record), resendMark(record)),
    cell("source", optional(record.source), optional(record.tenant, "sub")),
    cell("event", eventOf(record), optional(record.event_type, "sub")),
    cell("reason", optional(record.reason)),
    cell("status", record.status === undefined ? null : String(record.status)),
    cell("duration", micros(record.total_us)),
    cell("client", optional(record.client)));
  return row;
}

function cell(name, ...children) {
  return el("td", { role: "cell", class: `c-${name}` }, ...children);
}

function optional(text, name = null) {
  return text === undefined || text === null || text === "" ? null : short("span", text, { class: name });
}

function timeLink(record) {
  const time = clock(record.time);
  const { filters } = state();
  const parts = [time, outcomeText(record.outcome), record.source, record.event_id ?? record.delivery_id];
  return el("a", {
    href: address({ filters, id: record.request_id }),
    title: record.time,
    "aria-label": parts.filter(Boolean).map((part) => clip(part, 80)).join(" "),
  }, time);
}

function resendMark(record) {
  if (!record.resent_by) return null;
  return el("span", { class: "sub" }, "sent again");
}

// The signed id names the event. Without one, the unsigned id of the delivery or the path helps.
function eventOf(record) {
  if (record.event_id) return short("span", record.event_id, { class: "mono" });
  if (record.delivery_id) {
    return el("span", {}, el("span", { class: "muted" }, "delivery "), short("span", record.delivery_id, { class: "mono" }));
  }
  return record.path ? short("span", record.path, { class: "mono muted" }) : null;
}

/** Returns the row that stands for deliveries which the page does not show. */
export function gapRow(missing) {
  const text = missing === null
    ? "Deliveries are missing here. Refresh the list to read them."
    : `${counted(missing, "delivery is", "deliveries are")} not shown here, because they came faster than the page shows.`;
  return el("tr", { role: "row", class: "gap" }, el("td", { role: "cell", colspan: COLUMNS.length }, text));
}
