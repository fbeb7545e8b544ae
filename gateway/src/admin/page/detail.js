// One delivery in full: verdict, acts, explanation, facts, headers, body.

import { actBar, save } from "./acts.js";
import { deliveryPath, getJson } from "./api.js";
import { bodyView } from "./body.js";
import { button, byId, copyButton, el, long, message, replace, setTitle, short } from "./dom.js";
import { clock, micros, relative, sentence } from "./format.js";
import { outcomeMeaning, reasonText } from "./reasons.js";
import { dueText, stateText } from "./queued.js";
import { address, state } from "./router.js";
import { badge } from "./row.js";
import { headline, LONGEST_SEARCH, summary, timeline } from "./summary.js";

let loading = null;
let shown = null;

/** Returns the id of the delivery that is shown, or null. */
export const current = () => shown;

/** Closes the detail. */
export function close() {
  loading?.abort();
  shown = null;
  replace(byId("detail-content"));
}

/** Shows the delivery with this id. */
export async function open(id, { focus = true } = {}) {
  loading?.abort();
  const controller = new AbortController();
  loading = controller;
  shown = id;
  const target = byId("detail-content");
  const { signal } = controller;
  target.setAttribute("aria-busy", "true");
  try {
    const page = await getJson(deliveryPath(id), {}, signal);
    if (signal.aborted) return;
    render(target, page, signal);
    setTitle(page.delivery.event_id ?? page.delivery.request_id, headline(page.delivery));
  } catch (failure) {
    if (signal.aborted) return;
    replace(target, heading("This delivery cannot be shown"),
      el("p", { role: "alert" }, failure.status === 404
        ? "No record has this request id. The newest deliveries have replaced it, or the gateway restarted."
        : failure.message),
      el("p", {}, button("Try again", () => open(id))));
    setTitle("Delivery not found");
  } finally {
    if (!signal.aborted) target.removeAttribute("aria-busy");
  }
  if (focus && !signal.aborted) byId("detail-title")?.focus({ preventScroll: true });
}

const heading = (...children) => el("h2", { id: "detail-title", tabindex: "-1" }, ...children);

function section(title, ...children) {
  return el("section", {}, el("h3", {}, title), ...children);
}

function render(target, page, signal) {
  const { delivery, capture } = page;
  const result = el("p", { class: "result", role: "status" });
  const times = timeline(delivery);
  replace(target,
    heading(badge(delivery), " ", short("span", titleOf(delivery), { class: "mono wrap", limit: 300 })),
    verdict(delivery),
    queuedNote(page.queued),
    actBar(page, result),
    result,
    explanationSection(page, signal),
    times === null ? null : section("Timeline", times),
    section("Facts", summary(delivery)),
    relatedSection(delivery, signal),
    commandSection(page),
    ...captureSections(delivery, capture, result));
}

const titleOf = (record) => record.event_id ?? record.delivery_id ?? `${record.method ?? ""} ${record.path ?? ""}`.trim();

function verdict(record) {
  const text = record.reason ? reasonText(record.reason) : null;
  const status = record.status === undefined ? "" : ` The sender got ${record.status}.`;
  return el("div", { class: "verdict" },
    el("p", {}, record.reason ? short("code", record.reason) : null, record.reason ? " " : null,
      `${text?.meaning ?? outcomeMeaning(record)}${status}`),
    text ? el("p", { class: "muted" }, text.remedy) : null);
}

function queuedNote(queued) {
  if (!queued) return null;
  return el("p", { class: "note" }, `The queue has this event: ${stateText(queued)}${dueText(queued) ? `, due ${dueText(queued)}` : ""}. `,
    el("a", { href: address({ view: "queue", entry: queued.id }) }, "Open its entry"));
}

// ---------------------------------------------------------------- why

function explanationSection({ delivery, capture }, signal) {
  if (!/refused$/.test(delivery.outcome)) return null;
  if (!capture) {
    return section("Why it was refused", el("p", {},
      "No capture of this delivery exists, so the gateway cannot search for the cause. "
      + "Set capture = \"refused\" in [inspector] or in the source, and reload."));
  }
  const content = el("div", { "aria-live": "polite" }, el("p", { class: "muted" }, "Searching for the cause…"));
  explain(delivery.request_id, content, signal);
  return section("Why it was refused", content);
}

async function explain(id, content, signal) {
  try {
    const { causes = [], verified } = await getJson(deliveryPath(id, "/explanation"), {}, signal);
    if (signal.aborted) return;
    if (causes.length === 0) {
      replace(content, el("p", {}, verified
        ? "The delivery verifies with the current configuration. Its signature was not the reason."
        : "No cause was found."));
      return;
    }
    replace(content, el("ol", { class: "causes" }, ...causes.map(cause)));
  } catch (failure) {
    if (signal.aborted) return;
    replace(content, el("p", {}, failure.message), failure.status === 404 ? null
      : button("Try again", () => explain(id, content, signal), { class: "small" }));
  }
}

function cause({ code, proved, summary: what, fix }) {
  return el("li", {},
    el("p", { class: "cause" }, message("strong", sentence(what)), " ",
      el("span", { class: `tag ${proved ? "proved" : ""}` }, proved ? "proved" : "likely")),
    fix ? message("p", sentence(fix)) : null,
    el("p", { class: "muted" }, short("code", code), proved
      ? " The signature verifies once this is undone." : " The signs point to this cause. It is not proved."));
}

// ---------------------------------------------------------------- related

// Several deliveries of one event answer "was it delivered in the end?".
function relatedSection(record, signal) {
  const key = record.event_id ?? record.delivery_id;
  if (!key || key.length > LONGEST_SEARCH) return null;
  const holder = el("section", { hidden: true });
  related(record, key, holder, signal);
  return holder;
}

async function related(record, key, holder, signal) {
  try {
    const page = await getJson("deliveries", { q: key, source: record.source, limit: 20 }, signal);
    const others = page.deliveries.filter((one) => one.request_id !== record.request_id
      && [one.event_id, one.delivery_id].includes(key));
    if (signal.aborted || others.length === 0) return;
    const { filters } = state();
    replace(holder, el("h3", {}, record.event_id ? "Other deliveries of this event" : "Other deliveries with this id"),
      el("ul", { class: "related" }, ...others.map((one) => el("li", {},
        el("a", { href: address({ filters, id: one.request_id }) }, clock(one.time)), " ", badge(one), " ",
        one.status === undefined ? "" : `${one.status} `, one.reason ? short("code", one.reason) : null,
        one.resent_by ? el("span", { class: "tag" }, "resend") : null,
        el("span", { class: "muted" }, ` ${micros(one.total_us)}`)))));
    holder.hidden = false;
  } catch {
    // The section is an addition. The list shows the reason if the gateway does not respond.
  }
}

// ---------------------------------------------------------------- capture

function commandSection(page) {
  if (!page.verify_command) return null;
  return section("Verify it again",
    el("p", { class: "muted" }, "This command reaches the same verdict from the downloaded capture."),
    el("div", { class: "command" },
      long("code", page.verify_command, { tabindex: "0" }), copyButton(page.verify_command)));
}

function captureSections(record, capture, result) {
  if (!capture) {
    return [section("Headers and body", el("p", {},
      "This delivery was not captured. The setting capture of [inspector] keeps headers and bodies."))];
  }
  const download = () => save(deliveryPath(record.request_id, "/body"), `hookgate-${record.request_id}.body`, result);
  return [...requestSections(capture, download, REMOVED),
    capture.expires ? el("p", { class: "muted" }, `The capture is deleted ${relative(capture.expires)}.`) : null];
}

const REMOVED = "The gateway removed secrets from this capture. It can neither verify nor be sent again. Removed:";

/** Returns the sections with the head and the body of a request. `removed` precedes its redactions. */
export function requestSections(request, download, removed) {
  const contentType = request.headers.find(([name]) => name.toLowerCase() === "content-type")?.[1];
  return [
    section("Headers", redactions(request, removed), requestLine(request), headerTable(request.headers)),
    section("Body", request.complete ? null : el("p", { class: "note" },
      "The capture lacks the end of the body."),
    ...bodyView(request.body, contentType, download)),
  ];
}

function redactions(request, removed) {
  if (!request.redacted) return null;
  return el("div", { class: "note" }, el("p", {}, removed),
    el("ul", {}, ...(request.redactions ?? []).map((text) => long("li", text))));
}

function requestLine(capture) {
  const text = [capture.method, capture.target, capture.version].filter(Boolean).join(" ");
  return long("p", text, { class: "mono request-line" });
}

function headerTable(headers) {
  const rows = headers.map(([name, value]) => el("tr", {},
    long("th", name, { scope: "row", class: "mono" }), long("td", value, { class: "mono" })));
  return el("table", { class: "fields" },
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Name"), el("th", { scope: "col" }, "Value"))),
    el("tbody", {}, ...rows));
}
