// Data for the mock: a busy day of a gateway.

const iso = (time) => new Date(time).toISOString();
const SOURCES = [["stripe", "stripe"], ["github", "github"], ["partners", "standard-webhooks"], ["shopify", "shopify"]];
const OUTCOMES = ["forwarded", "forwarded", "duplicate", "refused", "forwarded", "failed", "busy", "handshake"];
const REASONS = { refused: ["signature_mismatch", 401], failed: ["upstream_unreachable", 502], busy: ["in_flight", 503] };

/** Returns one record. */
export function record(seq, changes = {}) {
  const [source, provider] = SOURCES[seq % 4];
  const outcome = changes.outcome ?? OUTCOMES[seq % OUTCOMES.length];
  const [reason, status] = REASONS[outcome] ?? [undefined, outcome === "forwarded" ? 204 : 200];
  const signed = outcome === "refused" ? {} : { event_id: `evt_${seq}`, event_type: "invoice.paid", key_id: "2f9a41", attempt: 1 };
  return {
    seq, request_id: `request-${seq}`, time: iso(Date.now() - 1000), outcome, reason, status, source, provider,
    upstream: "app", method: "POST", path: `/hooks/${source}`, client: "203.0.113.7", user_agent: "test/1",
    content_type: "application/json", content_length: 20, body_bytes: 20, verify_us: 40, total_us: 1800, ...signed, ...changes,
  };
}

/** Returns `count` records, newest first. */
export const records = (count) => Array.from({ length: count }, (_, index) => record(count - index));

/** Returns a capture with this body. */
export function capture(body, changes = {}) {
  const bytes = Buffer.from(body);
  return {
    method: "POST", target: "/hooks/stripe", version: "HTTP/1.1",
    headers: [["host", "hooks.example.com"], ["content-type", "application/json"]],
    body: { base64: bytes.toString("base64"), bytes: bytes.length, shown: bytes.length },
    redacted: false, redactions: [], complete: true, expires: iso(Date.now() + 3_000_000), ...changes,
  };
}

/** Returns the state of a gateway in which everything needs attention. */
export function status() {
  const now = Date.now();
  const rates = Array.from({ length: 90 }, (_, index) => ({
    time: iso(now - (90 - index) * 10_000), seconds: 10,
    outcomes: {
      forwarded: Math.round(380 + 90 * Math.sin(index / 9) + (index * 37) % 41), duplicate: (index * 7) % 19,
      refused: index > 40 && index < 50 ? 120 + (index * 29) % 60 : index % 5, failed: index > 84 ? 40 : 0,
    },
    upstream_ms: { p50: 12 + 3 * Math.sin(index / 9), p99: 48 + 14 * Math.sin(index / 9) + (index * 13) % 17 + (index > 84 ? 30 : 0) },
  }));
  return {
    version: "0.1.0", started: iso(now - 3 * 86_400_000), rates,
    records: { kept: 8123, keep: 10000, dropped: 12, history_dropped: 6, since: iso(now - 6_000_000) },
    captures: { count: 812, bytes: 40e6, limit: 67108864, dropped: 3, file_errors: 1, files_dropped: 4 },
    store: { kind: "disk", entries: 951_000, max_entries: 1_000_000 },
    sources: SOURCES.map(([name, provider]) => ({
      name, path: `/hooks/${name}`, provider, upstream: "app", capture: "refused",
      keys: [{ id: "2f9a41", last_used: iso(now - 4000), deliveries: 1234 }, { id: "77b0c2", deliveries: 0 }],
    })),
    upstreams: [{ name: "app", in_flight: 3, servers: [{ address: "10.0.0.7:3000", healthy: true }, { address: "10.0.0.8:3000", healthy: false }] }],
    certificates: [{ listen: "0.0.0.0:8443", subject: "hooks.example.com", not_after: iso(now + 5.5 * 86_400_000) }],
  };
}

/** Returns one entry of the queue. */
export function entry(id, changes = {}) {
  return {
    id: String(id), state: "waiting", source: "github", orphaned: false, event_id: `evt_${id}`, key_id: "2f9a41",
    request_id: `request-${id}`, stored: iso(Date.now() - 7_200_000), age_s: 7200, attempts: 3, due_in_s: 90,
    last_failure: { kind: "response", status: 503, time: iso(Date.now() - 60_000) }, body_bytes: 1234, ...changes,
  };
}

/** Returns a queue with an entry in each state. `count` more wait. */
export function queue(count = 0) {
  const { due_in_s: _, ...dead } = entry(18, { state: "dead", last_failure: { kind: "response", status: 410, time: iso(Date.now()) } });
  const numbers = { orphaned: false, waiting: 2 + count, in_flight: 1, dead: 1, delivered: 0, oldest_s: 7200, bytes: 40e6 };
  return {
    entries: [
      entry(17, { tenant: "acme" }), dead, entry(19, { state: "in_flight", due_in_s: undefined, last_failure: undefined, attempts: 1 }),
      entry(20, { source: "old-shop", orphaned: true }), ...Array.from({ length: count }, (__, index) => entry(100 + index)),
    ],
    stats: {
      sources: [{ source: "github", ...numbers }, { source: "old-shop", ...numbers, orphaned: true, waiting: 1, in_flight: 0, dead: 0 }],
      bytes: 9.9e9, max_bytes: 10 * 1024 ** 3,
    },
    details: {
      17: { request: capture('{"id":"evt_17"}', { redacted: true, redactions: ["header authorization"], expires: undefined }) },
      20: { no_request_because: "the source is no longer configured", can_retry: false, cannot_retry_because: "the source is not configured" },
    },
  };
}

/** Returns everything that the mock serves. */
export function data(changes = {}) {
  return { deliveries: records(120), since: iso(Date.now() - 6_000_000), status: status(), toml: "[server]\n", details: {}, explanations: {}, ...changes };
}
