// Questions to the user before an act, in a modal dialog.

import { byId, replace } from "./dom.js";

/**
 * Asks the user to confirm. Resolves to true if the user presses the button `action`. `danger`
 * colours the button.
 */
export function confirm({ title, content, action, danger = false }) {
  const dialog = byId("confirm");
  const yes = byId("confirm-yes");
  byId("confirm-title").textContent = title;
  replace(byId("confirm-content"), ...content);
  yes.textContent = action;
  yes.className = danger ? "danger" : "primary";
  dialog.returnValue = "";
  dialog.showModal();
  (byId("confirm-content").querySelector("input, select") ?? byId("confirm-no")).focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** Connects the buttons of the dialogs. */
export function start() {
  byId("confirm-yes").addEventListener("click", () => {
    const invalid = [...byId("confirm-content").querySelectorAll("input")].find((input) => !input.checkValidity());
    if (invalid) invalid.reportValidity();
    else byId("confirm").close("yes");
  });
  byId("confirm-content").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.matches("input")) byId("confirm-yes").click();
  });
  byId("confirm-no").addEventListener("click", () => byId("confirm").close("no"));
  byId("help-close").addEventListener("click", () => byId("help").close());
}

/** Returns whether a dialog is open. */
export const isOpen = () => document.querySelector("dialog[open]") !== null;
