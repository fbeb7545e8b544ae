// A server with the API of the inspector and data that a test sets. It shows the page in states
// that a real gateway reaches too slowly for a test: floods, expiring certificates, full stores.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const FOLDER = new URL("../../gateway/src/admin/page/", import.meta.url);
const RUST = readFileSync(new URL("mod.rs", FOLDER), "utf8");
const ASSETS = new Map([...RUST.matchAll(/^ {4}"(\/[^"]*)" = "([^"]+)", (.+);$/gm)]
  .map(([, path, file, type]) => [path, { file, type: type === "JAVASCRIPT" ? "text/javascript; charset=utf-8" : type.slice(1, -1) }]));
const CSP = RUST.match(/"(default-src[\s\S]*?)",\n/)[1].replace(/\\\n\s*/g, "");

/** The token that the mock accepts. */
export const TOKEN = "mock-token-0123456789";

/**
 * Starts the mock until the end of the test `t`. `data` has `deliveries` (newest first), `status`,
 * `details` and `explanations`, `queue` with the entries and the numbers of the queue, and `fail` with
 * the failure of every call. `data.acts` gets each request that changes something.
 */
export async function startMock(t, data) {
  const streams = new Set();
  const server = createServer((request, response) => serve(request, response, data, streams));
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    /** Sends deliveries, oldest first, to every open stream. */
    publish(deliveries, skipped = 0) {
      const text = `event: deliveries\nid: ${deliveries.at(-1).seq}\ndata: ${JSON.stringify({ deliveries, skipped })}\n\n`;
      for (const stream of streams) stream.write(text);
    },
    streams: () => streams.size,
  };
}

function serve(request, response, data, streams) {
  const url = new URL(request.url, "http://mock");
  if (ASSETS.has(url.pathname)) {
    const { file, type } = ASSETS.get(url.pathname);
    response.writeHead(200, { "content-type": type, "content-security-policy": CSP, "cache-control": "no-store" });
    response.end(readFileSync(new URL(file, FOLDER)));
    return;
  }
  const json = (status, body) => {
    response.writeHead(status, { "content-type": status === 200 ? "application/json" : "application/problem+json" });
    response.end(JSON.stringify(body));
  };
  if (request.headers.authorization !== `Bearer ${TOKEN}`) {
    json(401, { status: 401, title: "Unauthorized", detail: "the token is unknown" });
    return;
  }
  if (data.fail) {
    if (data.fail.retryAfter) response.setHeader("retry-after", data.fail.retryAfter);
    json(data.fail.status, { title: "Failed", ...data.fail });
    return;
  }
  const path = url.pathname.replace(/^\/api\//, "");
  if (path === "stream") {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(": open\n\n");
    streams.add(response);
    response.on("close", () => streams.delete(response));
    return;
  }
  if (request.method !== "GET") {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      const body = chunks.length === 0 ? null : JSON.parse(Buffer.concat(chunks).toString());
      (data.acts ??= []).push({ method: request.method, path, body });
      json(200, data.actResult?.(path, body) ?? { changed: 1, skipped: 0 });
    });
    return;
  }
  const resource = resourceOf(path, url.searchParams, data);
  if (resource === undefined) json(404, { status: 404, title: "Not Found", detail: `the mock has no ${path}` });
  else json(200, resource);
}

function resourceOf(path, query, data) {
  if (path === "session") return { name: "ops", may: data.may ?? "act", version: "0.1.0", since: data.since, queue: Boolean(data.queue) };
  if (path === "status") return data.status;
  if (path === "config") return { toml: data.toml ?? "" };
  if (path === "deliveries") return list(query, data);
  if (path === "queue") return data.queue && queueList(query, data.queue);
  if (path.startsWith("queue/")) return queueEntry(path.slice(6), data.queue);
  const [, id, rest] = path.match(/^deliveries\/([^/]+)(?:\/(.+))?$/) ?? [];
  const delivery = data.deliveries.find((one) => one.request_id === decodeURIComponent(id ?? ""));
  if (!delivery) return undefined;
  if (rest === "explanation") return data.explanations?.[delivery.request_id];
  if (rest !== undefined) return undefined;
  return { delivery, can_resend: true, can_forget: true, ...data.details?.[delivery.request_id] };
}

function list(query, data) {
  let found = data.deliveries;
  for (const name of ["source", "tenant", "outcome", "reason"]) {
    if (query.get(name)) found = found.filter((one) => one[name] === query.get(name));
  }
  const wanted = query.get("q")?.toLowerCase();
  if (wanted) found = found.filter((one) => JSON.stringify(one).toLowerCase().includes(wanted));
  if (query.get("before")) found = found.filter((one) => one.seq < Number(query.get("before")));
  const limit = Number(query.get("limit") ?? 50);
  const deliveries = found.slice(0, limit);
  const page = { deliveries, since: data.since };
  if (found.length > limit) page.next_before = deliveries.at(-1).seq;
  if (found.length === 0) page.message = `not among the records since ${data.since}`;
  return page;
}

function queueList(query, { entries, stats }) {
  const wanted = entries.filter((one) => ["source", "state"].every((name) => !query.get(name) || one[name] === query.get(name)));
  const limit = Number(query.get("limit") ?? 50);
  const page = { entries: wanted.slice(0, limit), stats };
  if (wanted.length > limit) page.next = page.entries.at(-1).id;
  return page;
}

function queueEntry(id, { entries, details }) {
  const entry = entries.find((one) => one.id === id);
  return entry && { entry, can_retry: true, can_drop: true, ...details?.[id] };
}
