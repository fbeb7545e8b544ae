// The state of the gateway: rates, latencies, stores, keys, upstreams, certificates, configuration.

import { forgetById, mayAct } from "./acts.js";
import { getJson } from "./api.js";
import { button, byId, copyButton, el, plainTable, replace, short } from "./dom.js";
import { fillBar, lineChart, rateChart } from "./chart.js";
import { bytes, count, counted, dateTime, outcomeText, period, relative } from "./format.js";
import { OUTCOMES } from "./reasons.js";

const REFRESH = 5_000;
// The gateway keeps the last 90 intervals of 10 seconds.
const SLOTS = 90;
const SOON = 21;
const URGENT = 7;

let timer = null;
let loading = null;

/** Shows the view and keeps it up to date. */
export function open() {
  close();
  refresh();
  loadConfig();
}

export function close() {
  clearTimeout(timer);
  timer = null;
  loading?.abort();
  loading = null;
}

/** Reads the state anew. */
export async function refresh() {
  clearTimeout(timer);
  loading?.abort();
  const controller = new AbortController();
  loading = controller;
  try {
    const status = await getJson("status", {}, controller.signal);
    byId("status-error").hidden = true;
    render(status);
  } catch (failure) {
    if (controller.signal.aborted) return;
    byId("status-error").hidden = false;
    byId("status-error").textContent = `${failure.message} The figures below are old.`;
  }
  if (!controller.signal.aborted) timer = setTimeout(tick, REFRESH);
}

function tick() {
  if (document.hidden) timer = setTimeout(tick, REFRESH);
  else refresh();
}

function render(status) {
  const { version, started } = status;
  byId("status-version").textContent =
    `hookgate ${version}, started ${relative(started)} (${dateTime(started)})`;
  update("status-rates", () => rates(status.rates ?? []));
  update("status-latency", () => latency(status.rates ?? []));
  update("status-store", () => store(status));
  update("status-memory", () => memory(status));
  update("status-upstreams", () => [upstreams(status.upstreams ?? [])]);
  update("status-certificates", () => [certificates(status.certificates ?? [])]);
  update("status-sources", () => [sources(status.sources ?? [])]);
  update("status-keys", () => [keys(status.sources ?? [])]);
  const control = byId("status-forget");
  control.hidden = !mayAct();
  control.onclick = () =>
    forgetById(byId("status-forget-result"), (status.sources ?? []).map((source) => source.name));
}

// A part with the focus or a selection stays, because new elements would take both away.
function update(id, build) {
  const target = byId(id);
  const selection = getSelection();
  const isSelected = !selection.isCollapsed && target.contains(selection.anchorNode);
  if (!target.contains(document.activeElement) && !isSelected) replace(target, ...build());
}

// ---------------------------------------------------------------- charts

function rates(all) {
  const seen = new Set(all.flatMap((rate) => Object.keys(rate.outcomes ?? {}).filter((name) => rate.outcomes[name] > 0)));
  const names = [...Object.keys(OUTCOMES).filter((name) => seen.has(name)), ...[...seen].filter((name) => !Object.hasOwn(OUTCOMES, name))];
  if (names.length === 0) return [el("p", { class: "muted" }, "No delivery arrived in the last 15 minutes.")];
  const sum = (rates, name) => rates.reduce((total, rate) => total + (rate.outcomes?.[name] ?? 0), 0);
  const rows = names.map((name) => [
    el("span", {}, el("span", { class: `swatch fill-${name}` }), outcomeText(name)),
    count(sum(all.slice(-1), name)), count(sum(all.slice(-6), name)), count(sum(all, name)),
  ]);
  const label = `Deliveries a second in the last 15 minutes: ${names.map((name) => `${count(sum(all, name))} ${outcomeText(name)}`).join(", ")}`;
  return [rateChart(all, names, SLOTS, label),
    plainTable(["Outcome", "10 seconds", "minute", "15 minutes"], rows)];
}

function latency(all) {
  const value = (rate, name) => rate.upstream_ms?.[name] ?? Number.NaN;
  const last = all.findLast((rate) => Number.isFinite(value(rate, "p99")));
  if (!last) return [el("p", { class: "muted" }, "No delivery reached an upstream in the last 15 minutes.")];
  const shown = (name) => `${value(last, name).toFixed(value(last, name) < 10 ? 1 : 0)} ms`;
  const label = `Time of the upstreams in the last 15 minutes. Newest median ${shown("p50")}, 99th percentile ${shown("p99")}`;
  const legend = [["p50", "median"], ["p99", "99th percentile"]].map(([name, title]) =>
    el("div", {}, el("dt", {}, el("span", { class: `swatch fill-${name}` }), title), el("dd", {}, shown(name))));
  return [lineChart(all, ["p50", "p99"], value, SLOTS, label, "ms"), el("dl", { class: "legend" }, ...legend)];
}

// ---------------------------------------------------------------- stores

const percent = (part, whole) => `${(whole > 0 ? (part / whole) * 100 : 0).toFixed(1)} %`;

function store({ store: filled }) {
  const parts = [el("p", {}, el("strong", {}, filled.kind), " replay store")];
  if (filled.entries !== undefined && filled.max_entries !== undefined) {
    const text = `${count(filled.entries)} of ${counted(filled.max_entries, "event", "events")} (${percent(filled.entries, filled.max_entries)})`;
    parts.push(fillBar(filled.entries, filled.max_entries, `Replay store: ${text}`), el("p", {}, text));
    if (filled.entries >= filled.max_entries * 0.9) {
      parts.push(warning("bad", "The store is nearly full. A full store refuses new events with 503."));
    }
  } else if (filled.entries !== undefined) parts.push(el("p", {}, counted(filled.entries, "event", "events")));
  return parts;
}

function memory({ records, captures }) {
  const parts = [];
  if (records) {
    const text = `${count(records.kept)} of ${counted(records.keep, "record", "records")}`;
    parts.push(el("p", {}, text, records.since ? `, since ${dateTime(records.since)}` : ""),
      fillBar(records.kept, records.keep, `Records: ${text}`, "calm"));
    if (records.dropped > 0) parts.push(warning("warn", `${counted(records.dropped, "record was", "records were")} dropped, because deliveries came faster than the inspector records.`));
    if (records.history_dropped > 0) parts.push(warning("warn", `${counted(records.history_dropped, "record is", "records are")} not in the history on disk, because too many came at once or the disk failed.`));
  }
  if (captures) {
    const text = `${counted(captures.count, "capture", "captures")}, ${bytes(captures.bytes)} of ${bytes(captures.limit)}`;
    parts.push(el("p", {}, text), fillBar(captures.bytes, captures.limit, `Captures: ${text}`, "calm"));
    if (captures.dropped > 0) parts.push(warning("warn", `${counted(captures.dropped, "request was", "requests were")} not captured, because captures came faster than the inspector stores them.`));
    if (captures.file_errors > 0) parts.push(warning("bad", `${counted(captures.file_errors, "operation", "operations")} on capture_dir failed. The log has the cause.`));
    if (captures.files_dropped > 0) parts.push(warning("warn", `${counted(captures.files_dropped, "capture is", "captures are")} not in capture_dir, because captures came faster than the disk takes them.`));
  }
  return parts;
}

function warning(tone, text) {
  return el("p", { class: `tone-text-${tone}` }, text);
}

// ---------------------------------------------------------------- tables

function upstreams(all) {
  const rows = all.flatMap((upstream) => (upstream.servers ?? []).map((server, index) => [
    index === 0 ? short("span", upstream.name) : "",
    short("span", server.address, { class: "mono" }),
    el("span", { class: `badge tone-${server.healthy ? "good" : "bad"}` }, server.healthy ? "healthy" : "unhealthy"),
    index === 0 ? count(upstream.in_flight ?? 0) : "",
  ]));
  return plainTable(["Upstream", "Server", "Health", "In flight"], rows, "No upstream is configured.");
}

function certificates(all) {
  const rows = all.map((certificate) => {
    const days = (new Date(certificate.not_after).getTime() - Date.now()) / 86_400_000;
    const tone = days < URGENT ? "bad" : days < SOON ? "warn" : "good";
    const left = days < 0 ? `expired ${period(-days * 86_400)} ago` : `${period(days * 86_400)} left`;
    return [short("span", certificate.listen, { class: "mono" }), short("span", certificate.subject ?? ""),
      dateTime(certificate.not_after), el("span", { class: `badge tone-${tone}` }, left)];
  });
  return plainTable(["Address", "Subject", "Expires", "Time left"], rows, "No address has a certificate.");
}

function sources(all) {
  const rows = all.map((source) => [short("a", source.name, { href: `?source=${encodeURIComponent(source.name)}` }),
    short("span", source.path, { class: "mono" }), short("span", source.provider ?? "own scheme"),
    short("span", source.upstream ?? ""), source.capture ?? "none"]);
  return plainTable(["Source", "Path", "Provider", "Upstream", "Capture"], rows, "No source is configured.");
}

function keys(all) {
  const rows = all.flatMap((source) => (source.keys ?? []).map((key) => [
    short("span", source.name), short("span", key.id, { class: "mono" }), count(key.deliveries ?? 0),
    key.last_used ? el("time", { datetime: key.last_used, title: key.last_used }, relative(key.last_used)) : "never since the start",
  ]));
  return plainTable(["Source", "Key", "Deliveries", "Last used"], rows, "No source has keys.");
}

async function loadConfig() {
  const target = byId("status-config");
  try {
    const { toml } = await getJson("config");
    replace(target, el("div", { class: "command" },
      el("pre", { class: "code", tabindex: "0", "aria-label": "Configuration" }, toml), copyButton(toml)));
  } catch (failure) {
    replace(target, el("p", {}, failure.message, " "), button("Try again", loadConfig, { class: "small" }));
  }
}
