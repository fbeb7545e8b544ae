// One entry of the queue in full: its facts, its acts, and its request.

import { blocked, run, save } from "./acts.js";
import { getJson, postJson, remove } from "./api.js";
import { button, byId, el, long, replace, setTitle, short } from "./dom.js";
import { requestSections } from "./detail.js";
import { confirm } from "./dialog.js";
import { bytes, count, dateTime, period } from "./format.js";
import { dueText, failureText, stateBadge, stateText } from "./queued.js";
import { address } from "./router.js";
import { visible } from "./text.js";

let loading = null;
let shown = null;

/** Closes the entry. */
export function close() {
  loading?.abort();
  loading = null;
  shown = null;
  replace(byId("entry-content"));
}

/** Shows the entry with this number. */
export async function open(id, { focus = true } = {}) {
  loading?.abort();
  const controller = new AbortController();
  loading = controller;
  const { signal } = controller;
  shown = id;
  const target = byId("entry-content");
  target.setAttribute("aria-busy", "true");
  try {
    const page = await getJson(path(id), {}, signal);
    if (signal.aborted) return;
    render(target, page);
    setTitle(`Entry ${id}`, stateText(page.entry));
  } catch (failure) {
    if (signal.aborted) return;
    replace(target, heading("This entry cannot be shown"),
      el("p", { role: "alert" }, failure.status === 404
        ? "The queue has no such entry. It was delivered or dropped." : failure.message),
      el("p", {}, button("Try again", () => open(id))));
    setTitle("Entry not found");
  } finally {
    if (!signal.aborted) target.removeAttribute("aria-busy");
  }
  if (focus && !signal.aborted) byId("entry-title")?.focus({ preventScroll: true });
}

const path = (id, rest = "") => `queue/${encodeURIComponent(id)}${rest}`;
const heading = (...children) => el("h2", { id: "entry-title", tabindex: "-1" }, ...children);

function render(target, page) {
  const { entry: one } = page;
  const result = el("p", { class: "result", role: "status" });
  replace(target,
    heading(stateBadge(one), " ", short("span", one.event_id ?? `entry ${one.id}`, { class: "mono wrap", limit: 300 })),
    el("p", { class: "verdict" }, meaning(one)),
    acts(page, result),
    result,
    el("section", {}, el("h3", {}, "Facts"), facts(one)),
    ...request(page, result));
}

function meaning(one) {
  if (one.state === "dead") return "The attempts have ended without success. Only you can retry or drop the delivery.";
  if (one.orphaned) return "The source is not configured, so nothing sends the delivery. Add the source, or drop the delivery.";
  if (one.state === "in_flight") return "The upstream is getting the delivery now.";
  if (one.state === "delivered") return "The upstream has accepted the delivery. This is a copy.";
  return `The next attempt is due ${dueText(one) || "at an unknown time"}.`;
}

function facts(one) {
  const list = el("dl", { class: "facts" });
  const add = (label, value) => {
    if (value === undefined || value === null || value === "") return;
    list.append(el("div", {}, el("dt", {}, label), el("dd", {}, value)));
  };
  const text = (value) => (value === undefined ? null : long("span", value, { limit: 500 }));
  add("Entry", text(one.id));
  add("Source", short("a", one.source, { href: address({ view: "queue", filters: { source: one.source } }) }));
  add("Tenant", text(one.tenant));
  add("Event id (signed)", text(one.event_id));
  add("Stored", `${dateTime(one.stored)}, ${period(one.age_s)} ago`);
  add("Attempts", count(one.attempts));
  add("Last failure", text(failureText(one)));
  add("Time of the failure", one.last_failure && dateTime(one.last_failure.time));
  add("Key", text(one.key_id));
  add("Body", bytes(one.body_bytes));
  add("Request id", short("a", one.request_id, { href: address({ id: one.request_id }), class: "mono" }));
  return list;
}

function request({ entry: one, request: stored, no_request_because: because }, result) {
  if (!stored) {
    return [el("section", {}, el("h3", {}, "Headers and body"), el("p", {}, "They are not shown: ", long("span", because ?? "the gateway does not say why")))];
  }
  const download = () => save(path(one.id, "/body"), `hookgate-queue-${one.id}.body`, result);
  return requestSections(stored, download, "The gateway hides secrets of this delivery. The upstream gets the exact bytes. Hidden:");
}

// ---------------------------------------------------------------- acts

function acts(page, result) {
  const { entry: one } = page;
  const retry = blocked("Retry now…", "retry", page.can_retry ? null : page.cannot_retry_because, () => retryEntry(one, result));
  const drop = blocked("Drop…", "drop", page.can_drop ? null : page.cannot_drop_because, () => dropEntry(one, result));
  const reasons = [retry.reason, drop.reason].filter(Boolean);
  return el("div", {}, el("div", { class: "acts" }, retry.control, drop.control),
    reasons.length > 0 ? el("ul", { class: "why" }, ...reasons) : null);
}

async function retryEntry(one, result) {
  const agreed = await confirm({
    title: "Retry this delivery now?", action: "Retry",
    content: [
      el("p", {}, `The upstream of the source ${visible(one.source)} gets the delivery at once.`),
      one.state === "delivered" ? el("p", {}, "The upstream has accepted the event before, and may process it a second time.") : null,
    ].filter(Boolean),
  });
  if (!agreed) return;
  await run(result, "Working…", async () => {
    await postJson(path(one.id, "/retry"));
    return { good: true, nodes: ["The delivery is due now. ", again(one)] };
  });
}

async function dropEntry(one, result) {
  const agreed = await confirm({
    title: "Drop this delivery?", danger: true, action: "Drop",
    content: [
      el("p", {}, "The delivery is lost: the upstream never gets it. Its event still counts as done, so a retry of the "
        + "sender is a duplicate. Forget the event if the sender shall deliver it again."),
    ],
  });
  if (!agreed) return;
  await run(result, "Working…", async () => {
    await remove(path(one.id));
    return { good: true, nodes: ["The delivery was dropped."] };
  });
}

function again(one) {
  return button("Show its state", () => {
    if (shown === one.id) open(one.id);
  }, { class: "small" });
}
