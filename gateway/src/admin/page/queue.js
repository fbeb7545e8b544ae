// The queue: the deliveries that wait for their upstream, and the dead letters.

import { blocked, mayAct, run } from "./acts.js";
import { getJson, postJson } from "./api.js";
import { byId, el, plainTable, replace, setTitle, short } from "./dom.js";
import { confirm } from "./dialog.js";
import { fillBar } from "./chart.js";
import { bytes, count, counted, dateTime, period, sentence } from "./format.js";
import * as entry from "./entry.js";
import { dueText, failureText, stateBadge, stateText } from "./queued.js";
import { address, go } from "./router.js";
import { visible } from "./text.js";

const REFRESH = 5_000;
const PAGE = 50;
const MOST_ROWS = 500;
const STATES = ["waiting", "in_flight", "dead", "delivered"];

let timer = null;
let loading = null;
let filters = {};
let limit = PAGE;
let stats = null;

/** Shows the queue as the state of the page describes it, and keeps it up to date. */
export function open(state) {
  const isOther = JSON.stringify(state.filters) !== JSON.stringify(filters);
  close();
  filters = state.filters;
  if (isOther) limit = PAGE;
  byId("queue-list").hidden = state.entry !== null;
  byId("queue-entry").hidden = state.entry === null;
  if (state.entry !== null) {
    byId("entry-close").setAttribute("href", address({ view: "queue", filters }));
    entry.open(state.entry);
    return;
  }
  setTitle("Queue");
  refresh();
}

export function close() {
  clearTimeout(timer);
  timer = null;
  loading?.abort();
  loading = null;
  entry.close();
}

/** Reads the queue anew. */
export async function refresh() {
  clearTimeout(timer);
  loading?.abort();
  const controller = new AbortController();
  loading = controller;
  const failed = byId("queue-error");
  try {
    const page = await getJson("queue", { ...filters, limit }, controller.signal);
    failed.hidden = true;
    render(page);
  } catch (failure) {
    if (controller.signal.aborted) return;
    failed.hidden = false;
    failed.textContent = failure.status === 404
      ? "This gateway has no queue. The table [queue] of its configuration turns it on."
      : `${failure.message} The figures below are old.`;
  }
  if (!controller.signal.aborted) timer = setTimeout(tick, REFRESH);
}

function tick() {
  if (document.hidden) timer = setTimeout(tick, REFRESH);
  else refresh();
}

function render(page) {
  stats = page.stats;
  update("queue-space", () => [space()]);
  update("queue-sources", () => [sources()]);
  update("queue-filters", selects);
  update("queue-acts", bulkActs);
  update("queue-entries", () => [entries(page.entries)]);
  const isCut = page.next !== undefined;
  byId("queue-more").hidden = !isCut || limit >= MOST_ROWS;
  byId("queue-cut").hidden = !isCut || limit < MOST_ROWS;
}

// A part with the focus or a selection stays, because new elements would take both away.
function update(id, build) {
  const target = byId(id);
  const selection = getSelection();
  const isSelected = !selection.isCollapsed && target.contains(selection.anchorNode);
  if (!target.contains(document.activeElement) && !isSelected) replace(target, ...build());
}

// ---------------------------------------------------------------- numbers

function space() {
  const text = `${bytes(stats.bytes)} of ${bytes(stats.max_bytes)}`;
  const isFull = stats.bytes >= stats.max_bytes * 0.9;
  return el("div", {}, fillBar(stats.bytes, stats.max_bytes, `Space of the queue: ${text}`), el("p", {}, text),
    isFull ? el("p", { class: "tone-text-bad" }, "The queue is nearly full. A full queue answers new deliveries with 503.") : null);
}

function sources() {
  const rows = stats.sources.map((source) => [
    el("span", {}, short("a", source.source, { href: address({ view: "queue", filters: { source: source.source } }) }),
      source.orphaned ? el("span", { class: "tag" }, "not configured") : null),
    count(source.waiting), count(source.in_flight),
    source.dead === 0 ? "0" : el("span", { class: "tone-text-bad" }, count(source.dead)),
    count(source.delivered),
    source.oldest_s === undefined ? "" : period(source.oldest_s), bytes(source.bytes),
  ]);
  return plainTable(["Source", "Waiting", "In flight", "Dead letters", "Delivered copies", "Oldest", "Space"], rows,
    "No delivery is in the queue.");
}

// ---------------------------------------------------------------- filters

function selects() {
  const names = [...new Set([...stats.sources.map((one) => one.source), filters.source].filter(Boolean))];
  return [
    choice("source", "Source", "all sources", names.map((name) => [name, visible(name)])),
    choice("state", "State", "all states", STATES.map((name) => [name, stateText({ state: name })])),
  ].flat();
}

function choice(name, label, all, options) {
  const id = `queue-${name}`;
  const select = el("select", { id, change: () => go({ view: "queue", filters: { ...filters, [name]: select.value } }) },
    el("option", { value: "" }, all),
    ...options.map(([value, text]) => el("option", { value, selected: filters[name] === value }, text)));
  return [el("label", { for: id }, label), select];
}

// ---------------------------------------------------------------- entries

function entries(all) {
  const rows = all.map((one) => [
    el("a", { href: address({ view: "queue", filters, entry: one.id }) }, visible(one.id)),
    stateBadge(one),
    short("span", one.tenant === undefined ? one.source : `${one.source} / ${one.tenant}`),
    one.event_id === undefined ? "" : short("span", one.event_id, { class: "mono", limit: 60 }),
    el("time", { datetime: one.stored, title: dateTime(one.stored) }, `${period(one.age_s)} ago`),
    dueText(one), count(one.attempts), one.last_failure ? short("span", failureText(one)) : "", bytes(one.body_bytes),
  ]);
  return plainTable(["Entry", "State", "Source", "Event", "Stored", "Next attempt", "Attempts", "Last failure", "Body"],
    rows, "No entry of the queue matches.");
}

// ---------------------------------------------------------------- acts on several entries

// The number of entries that the filters select. Without a state, copies are left out.
function selected() {
  const states = filters.state ? [filters.state] : ["waiting", "in_flight", "dead"];
  const of = stats.sources.filter((one) => !filters.source || one.source === filters.source);
  return of.reduce((sum, one) => sum + states.reduce((part, state) => part + (one[state] ?? 0), 0), 0);
}

function bulkActs() {
  const total = selected();
  if (total === 0) return [];
  const retry = blocked("Retry all…", "retry-all", mayAct() ? null : undefined, () => actOnAll("retry"));
  const drop = blocked("Drop all…", "drop-all", mayAct() ? null : undefined, () => actOnAll("drop"));
  return [retry.control, drop.control, retry.reason === null ? null : el("ul", { class: "why" }, retry.reason, drop.reason)];
}

async function actOnAll(act) {
  const isDrop = act === "drop";
  const what = counted(selected(), "entry", "entries");
  const where = [filters.source ? ` of the source ${visible(filters.source)}` : "",
    filters.state ? ` in the state ${stateText(filters)}` : ""].join("");
  const agreed = await confirm({
    title: isDrop ? "Drop these deliveries?" : "Retry these deliveries?",
    danger: isDrop, action: isDrop ? "Drop" : "Retry",
    content: [
      el("p", {}, `This applies to ${what}${where}. An entry in flight stays as it is.`),
      el("p", {}, isDrop ? "Dropped deliveries are lost: the upstream never gets them, and their events still count as done."
        : "The upstream gets these deliveries now. The age of a dead letter starts again."),
    ],
  });
  if (!agreed) return;
  await run(byId("queue-result"), "Working…", async () => {
    const { changed, skipped } = await actOnSelection(act);
    const done = `${counted(changed, "delivery", "deliveries")} ${isDrop ? "dropped" : "due now"}`;
    const rest = skipped > 0 ? `; ${count(skipped)} skipped: in flight, or of a source that is not configured` : "";
    return { good: skipped === 0, nodes: [sentence(done + rest)] };
  });
  // The buttons have the focus again, and would stay as they are.
  byId("queue-title").focus({ preventScroll: true });
  refresh();
}

// The gateway does a part of a long act, and says how to continue.
async function actOnSelection(act) {
  const isEverything = !filters.source && !filters.state;
  let body = isEverything ? { all: true } : { ...filters };
  const total = { changed: 0, skipped: 0 };
  for (;;) {
    const part = await postJson(`queue/${act}`, body);
    total.changed += part.changed;
    total.skipped += part.skipped;
    if (!part.next) return total;
    body = { ...body, ...part.next };
  }
}

/** Connects the buttons. */
export function start() {
  byId("queue-refresh").addEventListener("click", refresh);
  byId("queue-more").addEventListener("click", () => {
    limit = Math.min(limit * 2, MOST_ROWS);
    refresh();
  });
}
