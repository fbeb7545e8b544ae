// The meaning of each reason, and the remedy. The labels are those of docs/network.md.

const NO_KEY = "Find out with the explanation below why no key matches, or compare the secret with the one at the provider.";
const SENDER = "The sender, or a proxy in between, makes requests that the provider's scheme does not allow.";
const RETRY = "The provider's retry is delivered once this is repaired.";

const TEXTS = {
  signature_missing: ["The request has no signature.", "Forged requests look like this. A proxy in between may also have removed the header."],
  signature_repeated: ["The signature occurs more than once.", SENDER],
  signature_malformed: ["The signature does not follow the scheme's grammar.", SENDER],
  signature_version_unknown: ["No signature has the version or algorithm of the scheme.", "Check the provider and the variant in the configuration."],
  signature_too_many: ["The request has too many signatures.", SENDER],
  signature_mismatch: ["No signature matches an active key.", NO_KEY],
  timestamp_missing: ["The timestamp is missing.", SENDER],
  timestamp_repeated: ["The timestamp occurs more than once.", SENDER],
  timestamp_malformed: ["The timestamp does not have the scheme's form.", SENDER],
  timestamp_too_old: ["The timestamp is older than the window allows.", "A captured request that is sent again looks like this. Otherwise compare the clocks, and look for a queue in front of the gateway."],
  timestamp_too_new: ["The timestamp is too far in the future.", "Compare the sender's clock with the clock of this machine."],
  field_missing: ["A signed field is missing.", SENDER],
  field_repeated: ["A signed field occurs more than once.", SENDER],
  field_malformed: ["A signed field does not have the scheme's form.", SENDER],
  batch_unsigned: ["The body is a batch, and the signature does not cover every event.", SENDER],
  requirement_unmet: ["Two values that must be equal differ, such as a digest and the body.", SENDER],
  schemes_mixed: ["The headers of two schemes are mixed.", "Check the provider and the variant in the configuration."],
  handshake_refused: ["A handshake had a wrong token or content.", "Compare the token in the configuration with the one at the provider."],
  no_active_key: ["No key of the source is active now.", `Add a key, or correct the times of the keys. ${RETRY}`],
  key_reference_refused: ["The delivery names a key outside of the pinned addresses.", "Forged requests look like this."],
  key_unknown: ["The provider does not publish the key that the delivery names, or not yet.", RETRY],
  key_unavailable: ["The key that the delivery names cannot be fetched now.", `Check that the gateway reaches the provider. ${RETRY}`],
  source_unknown: ["No source has this path and host, or the source has no such tenant.", "Compare the address at the provider with the paths in the configuration."],
  source_unavailable: ["The lookup of the source or of its tenant failed, or the source lacks something.", RETRY],
  method_not_allowed: ["The method is not POST, and the source uses no other.", "Browsers and scanners send such requests."],
  framing_ambiguous: ["The framing of the request can be read in two ways.", "Attempts to smuggle requests look like this. A proxy in between may also be faulty."],
  request_malformed: ["The request is not well-formed HTTP.", "Scanners send such requests."],
  head_too_large: ["The head has too many bytes or fields.", SENDER],
  head_timeout: ["The head took longer than the setting head_timeout.", "The sender or the network is slow."],
  body_too_large: ["The body is larger than the limit.", "Raise the setting body of the source if the provider sends such bodies."],
  body_timeout: ["The body took longer than the setting body_timeout.", "The sender or the network is slow."],
  body_incomplete: ["The body ended early.", "The sender closed the connection. Most providers retry."],
  overloaded: ["The budget for unverified bodies is exhausted.", "Many large bodies arrive at once. Raise the limit unverified_bodies if they are genuine."],
  rate_limited: ["The sender exceeded the rate limit of refusals.", "Look at the earlier refusals of this client."],
  in_flight: ["Another delivery of the event was in flight.", "The provider's retry is answered by the result of the other delivery."],
  duplicate: ["The event was delivered before.", "If the upstream needs the event again, forget it or send it again."],
  conflict: ["A delivered event arrived again with another body.", "The id decides. Find out what the id means at this provider."],
  batch_partly_done: ["Some events of the batch were delivered before, and others were not.", "The sender must split the batch."],
  store_full: ["The replay store has no capacity for another event.", `Raise the limit of the store. ${RETRY}`],
  store_down: ["The replay store does not respond.", `Repair the store. ${RETRY}`],
  store_forgot: ["The delivery was signed before the oldest record of the replay store.", "A retry that is signed anew is delivered."],
  boot_fence: ["The delivery was signed before the gateway started, and the memory store forgot that time.", "A retry that is signed anew is delivered. The disk store and Redis remember across restarts."],
  queue_full: ["The queue, or the source's share of it, has no space left.", `Repair the upstream, so that deliveries leave the queue, or raise the limit of the queue. ${RETRY}`],
  queue_down: ["The queue did not store the delivery.", `Repair the queue. ${RETRY}`],
  upstream_unreachable: ["No server of the upstream could be connected to. Nothing was sent.", `Start the upstream. ${RETRY}`],
  upstream_busy: ["Every server of the upstream is at its limit of connections. Nothing was sent.", RETRY],
  upstream_timeout: ["The upstream did not respond in time.", "The upstream may have processed the event. The provider's retry is delivered after the lease."],
  upstream_failed: ["The upstream broke off, or responded with a redirect or 410.", RETRY],
};

/** Every label that has a text. */
export const REASONS = Object.keys(TEXTS);

/** Returns the meaning of a reason and the remedy, or null. */
export function reasonText(label) {
  const text = Object.hasOwn(TEXTS, label) ? TEXTS[label] : null;
  return text === null ? null : { meaning: text[0], remedy: text[1] };
}

/** Every outcome that the API knows, and its meaning. */
export const OUTCOMES = {
  forwarded: "The delivery verified and reached the upstream.",
  queued: "The delivery verified and is stored. The queue sends it to the upstream.",
  duplicate: "The event was delivered before. The upstream did not get it again.",
  refused: "The gateway refused the delivery. The upstream did not get it.",
  busy: "Another delivery of the event was in flight. The sender was asked to retry.",
  failed: "The delivery verified and was not delivered: the upstream failed it, or the replay store could not claim its event.",
  handshake: "The gateway answered a test of the endpoint by the provider.",
  observed_forwarded: "Observe mode: forwarded. Enforcement would forward it too.",
  observed_duplicate: "Observe mode: forwarded. Enforcement would treat it as a duplicate.",
  observed_handshake: "Observe mode: forwarded. Enforcement would answer it as a handshake.",
  observed_refused: "Observe mode: forwarded. Enforcement would refuse it.",
};

// A forwarded delivery may have met an upstream that responded with an error.
const isError = ({ outcome, status }) => /forwarded$/.test(outcome) && status >= 300;

/** Returns the meaning of the outcome of a delivery. */
export function outcomeMeaning(record) {
  if (isError(record)) return "The delivery verified and reached the upstream, which responded with an error. A retry is forwarded.";
  return Object.hasOwn(OUTCOMES, record.outcome) ? OUTCOMES[record.outcome] : "";
}

/** Returns the colour of the outcome of a delivery: one of good, calm, bad, warn. */
export function outcomeTone(record) {
  const { outcome } = record;
  if (/refused$/.test(outcome)) return "bad";
  if (isError(record)) return "warn";
  if (outcome === "failed" || outcome === "busy") return "warn";
  return /forwarded$/.test(outcome) ? "good" : "calm";
}
