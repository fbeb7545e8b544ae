// The state of the page in its address: the view, the filters, and the open delivery or entry. The
// address never contains the token.

/** The filters of the list, as the API names them. */
export const FILTERS = ["q", "source", "outcome", "reason", "tenant"];

// The filters of each view that has some.
const FILTERS_OF = { deliveries: FILTERS, queue: ["source", "state"] };
const VIEWS = ["deliveries", "queue", "status"];

/** Returns the state that the address describes. */
export function state() {
  const query = new URLSearchParams(location.search);
  const view = VIEWS.find((name) => name === query.get("view")) ?? "deliveries";
  const filters = {};
  for (const name of FILTERS_OF[view] ?? []) {
    const value = query.get(name);
    if (value) filters[name] = value;
  }
  const number = query.get("entry") ?? "";
  return {
    view,
    id: query.get("id") || null,
    entry: /^[0-9]{1,20}$/.test(number) ? number : null,
    filters,
  };
}

/** Returns the address of a state, relative to the page. */
export function address({ view = "deliveries", id = null, entry = null, filters = {} }) {
  const query = new URLSearchParams();
  if (view !== "deliveries") query.set("view", view);
  for (const name of FILTERS_OF[view] ?? []) if (filters[name]) query.set(name, filters[name]);
  if (view === "deliveries" && id) query.set("id", id);
  if (view === "queue" && entry) query.set("entry", entry);
  const text = query.toString();
  return text ? `?${text}` : "?";
}

const listeners = [];

/** Registers a function that runs with the state whenever the address changes. */
export function onChange(listener) {
  listeners.push(listener);
}

/**
 * Goes to a state, and returns whether it is another one. With `replace`, the current entry of the
 * history changes in place.
 */
export function go(next, { replace = false } = {}) {
  const target = address(next);
  const isOther = target !== (location.search || "?");
  if (isOther) {
    const url = target === "?" ? location.pathname : target;
    if (replace) history.replaceState(null, "", url);
    else history.pushState(null, "", url);
  }
  announce();
  return isOther;
}

function announce() {
  const now = state();
  for (const listener of listeners) listener(now);
}

/** Follows the back button, and clicks on links to this page. */
export function start() {
  addEventListener("popstate", announce);
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href^='?']");
    const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey;
    if (!link || !plain || event.defaultPrevented) return;
    event.preventDefault();
    history.pushState(null, "", link.getAttribute("href") === "?" ? location.pathname : link.href);
    announce();
  });
}
