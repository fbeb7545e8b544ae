// The start of the page: sign in, views, keyboard, colour scheme.

import * as acts from "./acts.js";
import { getJson, onSignedOut, token } from "./api.js";
import * as detail from "./detail.js";
import * as dialog from "./dialog.js";
import { byId, el, replace, setTitle } from "./dom.js";
import * as filter from "./filter.js";
import * as keys from "./keys.js";
import * as list from "./list.js";
import * as queue from "./queue.js";
import { COLUMNS } from "./row.js";
import * as router from "./router.js";
import * as status from "./status.js";
import { visible } from "./text.js";

let signedIn = false;
let listed = null;

// ---------------------------------------------------------------- session

const WRONG = "The gateway does not know this token. Compare it with the file or the variable that [inspector] names.";
const EXPIRED = "The gateway no longer accepts the token. Its configuration has changed. Sign in again.";
const NOT_ASCII = "A token has visible ASCII characters only. The text that you entered has others.";

async function signIn({ focus }) {
  try {
    const session = await getJson("session");
    acts.setRole(session.may);
    byId("queue-link").hidden = !session.queue;
    byId("who").textContent = `${visible(session.name)} · ${session.may === "act" ? "may act" : "read only"}`;
    showSignedIn(true);
    showMessage("");
    loadSources();
    route(router.state());
    // The form had the focus, and is gone.
    if (focus) byId("main").focus({ preventScroll: true });
  } catch (failure) {
    showSignedIn(false);
    if (failure.status === 401 || failure.status === 403) token.clear();
    showMessage(messageOf(failure));
    byId("token").focus();
  }
}

function messageOf(failure) {
  if (failure.status === 401) return WRONG;
  if (failure.status === 429) {
    const wait = failure.retryAfter === null ? "a minute" : `${failure.retryAfter} seconds`;
    return `Too many wrong tokens came from your address. Wait ${wait}, then sign in again.`;
  }
  return failure.message;
}

function showMessage(text) {
  byId("sign-in-message").textContent = text;
}

function showSignedIn(value) {
  signedIn = value;
  byId("sign-in").hidden = value;
  byId("app").hidden = !value;
  byId("session").hidden = !value;
  byId("views").hidden = !value;
  if (!value) setTitle("Sign in");
}

function signOut(message) {
  token.clear();
  list.stop();
  queue.close();
  status.close();
  detail.close();
  listed = null;
  for (const open of document.querySelectorAll("dialog[open]")) open.close();
  showSignedIn(false);
  showMessage(message);
  byId("token").value = "";
  byId("token").focus();
}

function startSession() {
  onSignedOut(() => {
    if (signedIn) signOut(EXPIRED);
  });
  byId("sign-in-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const value = byId("token").value.trim();
    if (!/^[\x21-\x7e]+$/.test(value)) {
      showMessage(value === "" ? "Enter a token." : NOT_ASCII);
      return;
    }
    byId("token").value = "";
    token.set(value);
    signIn({ focus: true });
  });
  byId("sign-out").addEventListener("click", () => signOut("You are signed out."));
}

async function loadSources() {
  try {
    const { sources = [] } = await getJson("status");
    filter.setSources(sources.map((source) => source.name));
  } catch {
    // The filter still works: the address may name a source.
  }
}

// ---------------------------------------------------------------- views

function route(state) {
  if (!signedIn) return;
  for (const name of ["deliveries", "queue", "status"]) byId(name).hidden = name !== state.view;
  for (const link of byId("views").querySelectorAll("a")) {
    if (link.dataset.view === state.view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (state.view !== "status") status.close();
  if (state.view !== "queue") queue.close();
  if (state.view !== "deliveries") {
    detail.close();
    list.stop();
    listed = null;
    if (state.view === "queue") queue.open(state);
    else {
      status.open();
      setTitle("Status");
    }
    return;
  }
  filter.show(state.filters);
  const wanted = JSON.stringify(state.filters);
  if (listed !== wanted) {
    listed = wanted;
    list.load(state.filters);
  }
  showDetail(state);
}

// The position of the list before a delivery was opened.
let listScroll = 0;

function showDetail({ id, filters }) {
  const before = detail.current();
  if (before === null && id !== null) listScroll = scrollY;
  byId("deliveries").classList.toggle("with-detail", id !== null);
  byId("detail").hidden = id === null;
  list.setOpen(id);
  if (id !== null) {
    byId("detail-close").setAttribute("href", router.address({ filters }));
    if (before !== id) {
      scrollTo({ top: 0 });
      detail.open(id, { focus: !isMoving });
    }
    return;
  }
  setTitle("Deliveries");
  if (before !== null) {
    detail.close();
    list.focusRow(before);
    scrollTo({ top: listScroll });
  }
}

// ---------------------------------------------------------------- keyboard

// While the user moves through the list with the detail open, the focus stays where it is.
let isMoving = false;

function move(step) {
  const { view, id, filters } = router.state();
  if (view !== "deliveries") return false;
  if (id !== null) {
    const next = list.neighbour(id, step);
    if (next === null) return false;
    isMoving = true;
    router.go({ filters, id: next });
    isMoving = false;
    return true;
  }
  const focused = list.focused();
  const next = list.neighbour(focused, focused === null ? 0 : step);
  if (next === null) return false;
  list.focusRow(next);
  return true;
}

function back(field) {
  const { view, id, entry, filters } = router.state();
  if (field) field.blur();
  else if (entry !== null) router.go({ view, filters });
  else if (view !== "deliveries") router.go({});
  else if (id !== null) router.go({ filters });
  else if (list.focused() !== null) document.activeElement.blur();
  else return false;
  return true;
}

function refresh() {
  const { view, id, filters } = router.state();
  if (view === "status") status.open();
  else if (view === "queue") queue.open(router.state());
  else {
    list.load(filters);
    if (id !== null) detail.open(id, { focus: false });
  }
}

function startKeys() {
  const inApp = (act) => (field) => (signedIn ? act(field) : false);
  keys.start({
    down: inApp(() => move(1)),
    up: inApp(() => move(-1)),
    back: inApp(back),
    search: inApp(() => {
      if (router.state().view !== "deliveries") router.go({});
      byId("filter-q").focus();
      byId("filter-q").select();
    }),
    refresh: inApp(refresh),
    newest: inApp(() => list.showNewest()),
    help: () => byId("help").showModal(),
  });
  byId("help-open").addEventListener("click", () => byId("help").showModal());
}

// ---------------------------------------------------------------- colour scheme

const SCHEMES = ["auto", "light", "dark"];

function showScheme() {
  const scheme = document.documentElement.dataset.scheme ?? "auto";
  byId("scheme").textContent = `Colours: ${scheme}`;
}

function startScheme() {
  showScheme();
  byId("scheme").addEventListener("click", () => {
    const now = document.documentElement.dataset.scheme ?? "auto";
    const next = SCHEMES[(SCHEMES.indexOf(now) + 1) % SCHEMES.length];
    if (next === "auto") {
      delete document.documentElement.dataset.scheme;
      sessionStorage.removeItem("hookgate.scheme");
    } else {
      document.documentElement.dataset.scheme = next;
      sessionStorage.setItem("hookgate.scheme", next);
    }
    showScheme();
  });
}

replace(byId("columns"), ...COLUMNS.map((name) =>
  el("th", { scope: "col", role: "columnheader", class: `c-${name.toLowerCase()}` }, name)));
startSession();
startScheme();
startKeys();
dialog.start();
acts.start();
filter.start();
list.start();
queue.start();
router.onChange(route);
router.start();
if (token.get()) signIn({ focus: false });
else {
  showSignedIn(false);
  byId("token").focus();
}
