// The live list of deliveries: the newest first, at most 500 in the document. While the user reads,
// the list stands still and counts the new deliveries.

import { getJson } from "./api.js";
import { button, byId, replace } from "./dom.js";
import { count, counted, dateTime } from "./format.js";
import { deliveryRow, gapRow } from "./row.js";
import { Stream } from "./stream.js";

const MOST_ROWS = 500;
const PAGE = 50;
// At most four updates a second, each in one animation frame.
const UPDATE_PAUSE = 250;
const ANNOUNCE_PAUSE = 10_000;
const SCROLLED = 24;

const body = () => byId("rows");

let filters = {};
// Entries of the list, newest first: {record, row} or {gap, row}.
let entries = [];
// Entries that wait, oldest first, and the number of deliveries that they stand for.
let waiting = [];
let waitingCount = 0;
let mustReload = false;
let paused = false;
let atNewest = true;
let nextBefore = null;
let since = null;
let detailOpen = false;
let loading = null;
let timer = null;
let announced = { time: 0, count: 0, refused: 0 };

const stream = new Stream({ deliveries: receive, state: showState, catchUp });

/** Connects the controls of the list. */
export function start() {
  addEventListener("scroll", schedule, { passive: true });
  byId("list").addEventListener("scroll", schedule, { passive: true });
  document.addEventListener("focusout", schedule);
  document.addEventListener("selectionchange", schedule);
  byId("new").addEventListener("click", showNewest);
  byId("pause").addEventListener("click", () => {
    paused = !paused;
    byId("pause").setAttribute("aria-pressed", String(paused));
    showLive();
    schedule();
  });
  byId("refresh").addEventListener("click", reload);
  byId("older").addEventListener("click", loadOlder);
  byId("rows").addEventListener("click", (event) => {
    if (event.target.closest("a, button") || String(getSelection()) !== "") return;
    event.target.closest("tr[data-id]")?.querySelector("a").click();
  });
}

/** Stops the stream and empties the list. */
export function stop() {
  loading?.abort();
  stream.stop();
  clear();
}

/** Marks the delivery whose detail is open; null if none is open. */
export function setOpen(id) {
  detailOpen = id !== null;
  for (const row of body().querySelectorAll("[aria-current]")) row.removeAttribute("aria-current");
  const row = rowOf(id);
  row?.querySelector("a").setAttribute("aria-current", "true");
  revealInPane(row);
  schedule();
}

// Beside a detail, the list scrolls by itself. The window must not move.
function revealInPane(row) {
  const pane = byId("list");
  if (!row || pane.scrollHeight <= pane.clientHeight) return;
  const [inner, outer] = [row.getBoundingClientRect(), pane.getBoundingClientRect()];
  if (inner.top < outer.top) pane.scrollTop += inner.top - outer.top - 8;
  else if (inner.bottom > outer.bottom) pane.scrollTop += inner.bottom - outer.bottom + 8;
}

const rowOf = (id) => (id === null ? null : entries.find((entry) => entry.record?.request_id === id)?.row ?? null);

/** Moves the focus to the row of a delivery. */
export function focusRow(id) {
  rowOf(id)?.querySelector("a").focus();
}

/** Returns the id of the delivery that is `step` rows after the delivery `id`, or null. */
export function neighbour(id, step) {
  const shown = entries.filter((entry) => entry.record);
  const index = shown.findIndex((entry) => entry.record.request_id === id);
  if (index < 0) return shown[0]?.record.request_id ?? null;
  return shown[index + step]?.record.request_id ?? null;
}

/** Returns the id of the delivery whose row has the focus, or null. */
export const focused = () => document.activeElement?.closest?.("#rows tr[data-id]")?.dataset.id ?? null;

/** Reads the list anew with these filters, and follows it. */
export async function load(next) {
  filters = next;
  loading?.abort();
  const controller = new AbortController();
  loading = controller;
  stream.stop();
  byId("list").setAttribute("aria-busy", "true");
  try {
    const page = await getJson("deliveries", { ...filters, limit: PAGE }, controller.signal);
    if (controller.signal.aborted) return;
    showPage(page);
    stream.start(filters, newest(page));
  } catch (failure) {
    if (controller.signal.aborted) return;
    clear();
    answer(failure.message, "bad", button("Try again", () => load(filters), { class: "small" }));
    if (failure.status === 0 || failure.status >= 500) stream.start(filters, null);
  } finally {
    if (loading === controller) byId("list").removeAttribute("aria-busy");
  }
}

/** Reads the list anew, and follows it. */
export const reload = () => load(filters);

const newest = (page) => page.deliveries[0]?.seq ?? 0;

function clear() {
  entries = [];
  waiting = [];
  waitingCount = 0;
  mustReload = false;
  atNewest = true;
  body().replaceChildren();
  byId("empty").hidden = true;
  byId("older").hidden = true;
  byId("new").hidden = true;
}

function showPage(page) {
  clear();
  since = page.since;
  entries = page.deliveries.map((record) => ({ record, row: deliveryRow(record) }));
  body().replaceChildren(...entries.map((entry) => entry.row));
  setNext(page);
  showAnswer(page.message);
  setOpen(detailOpen ? new URLSearchParams(location.search).get("id") : null);
}

function setNext(page) {
  nextBefore = page.next_before ?? null;
  byId("older").hidden = nextBefore === null;
}

/** Says what the list shows, and answers the search. A screen reader hears it with "polite". */
function showAnswer(message, politeness = "polite") {
  byId("answer").setAttribute("aria-live", politeness);
  const searched = filters.q;
  byId("empty").hidden = entries.length > 0;
  if (entries.length === 0) {
    const wanted = Object.keys(filters).length > 0;
    const text = wanted ? `Nothing found: ${message || "no record matches"}.` : "No delivery has arrived yet.";
    answer(text, wanted ? "bad" : "calm");
    byId("empty-hint").hidden = !wanted;
    byId("empty-start").hidden = wanted;
    return;
  }
  const shown = entries.reduce((sum, entry) => sum + (entry.record ? 1 : 0), 0);
  const more = nextBefore === null ? "" : " or more";
  if (searched) answer(`Yes: ${count(shown)}${more} ${shown === 1 ? "delivery matches" : "deliveries match"}.`, "good");
  else if (more) answer(`The newest ${counted(shown, "delivery", "deliveries")}`, "calm");
  else answer(`${counted(shown, "delivery", "deliveries")}${since ? ` since ${dateTime(since)}` : ""}`, "calm");
}

function answer(text, tone, ...controls) {
  const target = byId("answer");
  const key = `${tone} ${text}`;
  if (target.dataset.key === key && controls.length === 0) return;
  target.dataset.key = key;
  target.className = `answer tone-text-${tone}`;
  replace(target, text, ...controls);
}

async function loadOlder() {
  const control = byId("older");
  const current = loading;
  control.disabled = true;
  try {
    const page = await getJson("deliveries", { ...filters, before: nextBefore, limit: 100 });
    if (loading !== current) return;
    const added = page.deliveries.map((record) => ({ record, row: deliveryRow(record) }));
    entries.push(...added);
    body().append(...added.map((entry) => entry.row));
    const surplus = entries.length - MOST_ROWS;
    if (surplus > 0) {
      // The newest rows make room; the button for new deliveries leads back.
      for (const entry of entries.splice(0, surplus)) entry.row.remove();
      atNewest = false;
      mustReload = true;
      showNew();
    }
    setNext(page);
    showAnswer();
    added[0]?.row.querySelector("a").focus();
  } catch (failure) {
    answer(failure.message, "bad");
  } finally {
    control.disabled = false;
  }
}

// ---------------------------------------------------------------- live

function receive(records, skipped) {
  if (skipped > 0) waiting.push({ gap: skipped });
  for (const record of records) waiting.push({ record });
  waitingCount += records.length + skipped;
  announce(records);
  trim();
  schedule();
}

// A burst, or a hidden tab, must not fill the memory: old entries become one gap.
function trim() {
  const surplus = waiting.length - MOST_ROWS;
  if (surplus <= 0) return;
  const dropped = waiting.splice(0, surplus + 1);
  const known = dropped.every((entry) => entry.gap !== null);
  waiting.unshift({ gap: known ? dropped.reduce((sum, entry) => sum + (entry.gap ?? 1), 0) : null });
}

function schedule() {
  if (timer !== null || (waiting.length === 0 && !mustReload)) return;
  timer = setTimeout(() => requestAnimationFrame(() => {
    timer = null;
    if (holds()) showNew();
    else flush();
  }), UPDATE_PAUSE);
}

// The list stands still while the user looks at a part of it.
function holds() {
  return paused || !atNewest || detailOpen || document.hidden
    || scrollY > SCROLLED || byId("list").scrollTop > SCROLLED
    || focused() !== null || selects();
}

function selects() {
  const selection = getSelection();
  return !selection.isCollapsed && body().contains(selection.anchorNode);
}

function showNew() {
  const control = byId("new");
  control.hidden = waitingCount === 0 && !mustReload;
  control.textContent = waitingCount > 0
    ? counted(waitingCount, "new delivery", "new deliveries") : "Back to the newest deliveries";
}

function flush() {
  if (mustReload) {
    load(filters);
    return;
  }
  const calm = waiting.length <= 5;
  const fresh = waiting.reverse().map((entry) => ({
    ...entry, row: entry.record ? deliveryRow(entry.record) : gapRow(entry.gap),
  }));
  waiting = [];
  waitingCount = 0;
  if (calm) for (const entry of fresh) entry.row.classList.add("fresh");
  body().prepend(...fresh.map((entry) => entry.row));
  entries.unshift(...fresh);
  for (const entry of entries.splice(MOST_ROWS)) {
    nextBefore = entries.findLast((kept) => kept.record)?.record.seq ?? nextBefore;
    byId("older").hidden = false;
    entry.row.remove();
  }
  showNew();
  showAnswer(undefined, "off");
}

/** Shows the deliveries that wait, and follows the list again. */
export function showNewest() {
  paused = false;
  byId("pause").setAttribute("aria-pressed", "false");
  showLive();
  scrollTo({ top: 0 });
  byId("list").scrollTo({ top: 0 });
  byId("list-title").focus({ preventScroll: true });
  if (mustReload || !atNewest) load(filters);
  else flush();
}

// Reads the records that the stream missed while the connection was lost. If the gateway has
// restarted after its clock was set back, its newest number is smaller.
async function catchUp(signal) {
  const page = await getJson("deliveries", { ...filters, limit: PAGE }, signal);
  const known = new Set([...entries, ...waiting].map((entry) => entry.record?.request_id));
  const last = Math.max(0, ...[...entries, ...waiting].map((entry) => entry.record?.seq ?? 0));
  const fresh = page.deliveries.filter((record) => !known.has(record.request_id));
  const restarted = page.deliveries.length > 0 && newest(page) < last;
  if (!holds() && (restarted || fresh.length > 0 || entries.length === 0)) showPage(page);
  else if (restarted) {
    mustReload = true;
    waiting = [];
    waitingCount = fresh.length;
    showNew();
  } else if (fresh.length > 0) {
    if (fresh.length === PAGE && page.next_before !== undefined) waiting.push({ gap: null });
    receive(fresh.reverse(), 0);
  }
  return newest(page);
}

// ---------------------------------------------------------------- state of the stream

let live = { name: "connecting", seconds: 0, failure: null };

function showState(name, seconds = 0, failure = null) {
  live = { name, seconds, failure };
  showLive();
}

const LIVE_TEXT = { live: "Live", connecting: "Connecting…", stopped: "Not live" };

function showLive() {
  const target = byId("live");
  const isLive = live.name === "live";
  target.dataset.state = isLive && paused ? "paused" : live.name;
  target.textContent = isLive && paused ? "Paused" : LIVE_TEXT[live.name] ?? "Reconnecting…";
  byId("pause").textContent = paused ? "Continue" : "Pause";
  const banner = byId("connection");
  banner.hidden = live.name !== "waiting" && live.name !== "stopped";
  if (banner.hidden) return;
  const reason = live.failure?.message || "The connection to the gateway ended.";
  if (live.name === "stopped") replace(banner, `The list is not live: ${reason}`);
  else replace(banner, `${reason} The page tries again in ${counted(live.seconds, "second", "seconds")}. `,
    button("Try now", () => stream.retryNow(), { class: "small" }));
}

// Screen readers hear at most one sentence in ten seconds.
function announce(records) {
  announced.count += records.length;
  announced.refused += records.filter((record) => /refused$/.test(record.outcome)).length;
  const now = Date.now();
  if (announced.count === 0 || now - announced.time < ANNOUNCE_PAUSE) return;
  const refused = announced.refused > 0 ? `, ${count(announced.refused)} refused` : "";
  byId("announce").textContent = `${counted(announced.count, "new delivery", "new deliveries")}${refused}.`;
  announced = { time: now, count: 0, refused: 0 };
}
