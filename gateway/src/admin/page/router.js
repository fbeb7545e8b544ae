// The state of the page in its address: the view, the filters, and the open delivery. The address
// never contains the token.

/** The filters of the list, as the API names them. */
export const FILTERS = ["q", "source", "outcome", "reason", "tenant"];

/** Returns the state that the address describes. */
export function state() {
  const query = new URLSearchParams(location.search);
  const filters = {};
  for (const name of FILTERS) {
    const value = query.get(name);
    if (value) filters[name] = value;
  }
  return {
    view: query.get("view") === "status" ? "status" : "deliveries",
    id: query.get("id") || null,
    filters,
  };
}

/** Returns the address of a state, relative to the page. */
export function address({ view = "deliveries", id = null, filters = {} }) {
  const query = new URLSearchParams();
  if (view === "status") query.set("view", "status");
  else {
    for (const name of FILTERS) if (filters[name]) query.set(name, filters[name]);
    if (id) query.set("id", id);
  }
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
