// The state of an entry of the queue in words, for each view that shows one.

import { short } from "./dom.js";
import { period } from "./format.js";

/** Returns the state of an entry in words. */
export function stateText({ state, orphaned }) {
  if (state === "waiting" && orphaned) return "orphaned";
  if (state === "dead") return "dead letter";
  return String(state).replace(/_/g, " ");
}

const TONES = { waiting: "warn", in_flight: "calm", dead: "bad", delivered: "good" };

/** Returns a badge with the state of an entry. */
export function stateBadge(one) {
  const tone = one.orphaned && one.state === "waiting" ? "bad" : TONES[one.state] ?? "calm";
  return short("span", stateText(one), { class: `badge tone-${tone}` });
}

/** Returns when the next attempt is due. */
export function dueText(one) {
  if (one.due_in_s === undefined || one.orphaned) return "";
  return one.due_in_s === 0 ? "now" : `in ${period(one.due_in_s)}`;
}

/** Returns why the last attempt failed. */
export function failureText({ last_failure: failure }) {
  if (!failure) return "";
  return failure.status === undefined ? String(failure.kind).replace(/_/g, " ") : `status ${failure.status}`;
}
