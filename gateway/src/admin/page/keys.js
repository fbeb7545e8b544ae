// The keyboard: one table of keys, which the help shows too. The user can switch the letters off,
// because a speech input may type them by mistake (WCAG 2.1.4).

import { byId, el, replace } from "./dom.js";
import { isOpen } from "./dialog.js";

const KEYS = [
  ["j", "ArrowDown", "next delivery", "down"],
  ["k", "ArrowUp", "previous delivery", "up"],
  ["Enter", null, "open the delivery", null],
  ["Escape", null, "close the delivery, or leave the list", "back"],
  ["/", null, "search", "search"],
  ["r", null, "refresh", "refresh"],
  ["n", null, "show the new deliveries", "newest"],
  ["?", null, "this help", "help"],
];

// The arrow keys scroll a focused block of text, and a delivery that is open.
function scrolls(target) {
  return target.closest("pre, .scroll, summary") !== null
    || (!byId("detail").hidden && target.closest("#rows") === null);
}

const SETTING = "hookgate.keys";
const isOff = (key) => key.length === 1 && sessionStorage.getItem(SETTING) === "off";

const NAMES = { ArrowDown: "↓", ArrowUp: "↑", Escape: "Esc" };
const keycap = (key) => el("kbd", {}, NAMES[key] ?? key);

/** Connects the keys. `acts` has a function for each name in the table. */
export function start(acts) {
  replace(byId("help-keys"), ...KEYS.map(([key, other, text]) => el("div", {},
    el("dt", {}, keycap(key), ...(other ? [" or ", keycap(other)] : [])), el("dd", {}, text))));
  const switched = byId("single-keys");
  switched.checked = sessionStorage.getItem(SETTING) !== "off";
  switched.addEventListener("change", () => sessionStorage.setItem(SETTING, switched.checked ? "on" : "off"));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isOpen()) return;
    const entry = KEYS.find(([key, other]) => event.key === key || event.key === other);
    const name = entry?.[3];
    if (!name || !acts[name] || isOff(event.key)) return;
    const field = event.target.closest?.("input, select, textarea");
    if (field && name !== "back") return;
    if (event.key.startsWith("Arrow") && scrolls(event.target)) return;
    if (acts[name](field) !== false) event.preventDefault();
  });
}
