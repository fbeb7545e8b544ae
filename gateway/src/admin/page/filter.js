// The search and the filters above the list. They live in the address of the page.

import { byId, el, replace } from "./dom.js";
import { outcomeText } from "./format.js";
import { reload } from "./list.js";
import { OUTCOMES, REASONS } from "./reasons.js";
import { FILTERS, go, state } from "./router.js";
import { visible } from "./text.js";

const TYPING = 400;
const field = (name) => byId(`filter-${name}`);
let typing = null;
let sources = [];

/** Connects the form. */
export function start() {
  replace(field("outcome"), el("option", { value: "" }, "all outcomes"),
    ...Object.keys(OUTCOMES).map((name) => el("option", { value: name }, outcomeText(name))));
  replace(byId("reasons"), ...REASONS.map((name) => el("option", { value: name })));
  byId("filters").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!apply()) reload();
  });
  for (const name of ["source", "outcome"]) field(name).addEventListener("change", () => apply());
  for (const name of ["q", "reason", "tenant"]) field(name).addEventListener("input", later);
  byId("filters-clear").addEventListener("click", () => {
    go({ filters: {} });
    field("q").focus();
  });
}

/** Sets the names of the sources to choose from. */
export function setSources(names) {
  sources = names;
  show(state().filters);
}

/** Shows the filters of the address in the form. */
export function show(filters) {
  const names = [...sources];
  if (filters.source && !names.includes(filters.source)) names.push(filters.source);
  replace(field("source"), el("option", { value: "" }, "all sources"),
    ...names.map((name) => el("option", { value: name }, visible(name))));
  for (const name of FILTERS) {
    const value = filters[name] ?? "";
    if (name === "outcome" && value && !Object.hasOwn(OUTCOMES, value)) {
      field(name).append(el("option", { value }, visible(value)));
    }
    // The field that the user edits keeps its text and its cursor.
    if (field(name) !== document.activeElement || field(name).value.trim() !== value) field(name).value = value;
  }
  byId("filters-clear").hidden = Object.keys(filters).length === 0;
  byId("more-filters").open ||= Boolean(filters.reason || filters.tenant);
}

// Text takes effect after a pause. A run of edits is one entry of the history.
function later() {
  const isRun = typing !== null && typing.applied;
  if (typing) clearTimeout(typing.timer);
  typing = { applied: isRun, timer: setTimeout(() => apply({ replace: isRun, typed: true }), TYPING) };
}

function apply({ replace: inPlace = false, typed = false } = {}) {
  if (typing) clearTimeout(typing.timer);
  typing = typed ? { applied: true, timer: null } : null;
  const filters = {};
  for (const name of FILTERS) filters[name] = field(name).value.trim();
  return go({ filters }, { replace: inPlace });
}
