// The acts of an operator on one delivery or event: resend, forget, and downloads.

import { deliveryPath, getBlob, getJson, postJson } from "./api.js";
import { button, byId, el, long, replace } from "./dom.js";
import { confirm } from "./dialog.js";
import { counted, outcomeText, sentence } from "./format.js";
import { address } from "./router.js";
import { visible } from "./text.js";

let may = "read";

/** Sets what the token may do: "read" or "act". */
export function setRole(role) {
  may = role;
}

export const mayAct = () => may === "act";

const READ_ONLY = "This token may read only. Sign in with a token that may act.";

/** Returns the bar with the acts for a delivery. `result` is the element for their results. */
export function actBar(page, result) {
  const { delivery, capture } = page;
  const id = delivery.request_id;
  const resend = act("Resend…", page.can_resend, page.cannot_resend_because, () => resendDelivery(page, result));
  const forget = act("Forget…", page.can_forget, page.cannot_forget_because, () => forgetDelivery(page, result));
  const download = act("Download capture", Boolean(capture), "This delivery was not captured.",
    () => save(deliveryPath(id, "/capture"), `hookgate-${id}.capture`, result), "none");
  const reasons = [resend, forget, download].filter((one) => one.reason).map((one) => one.reason);
  return el("div", {},
    el("div", { class: "acts" }, resend.control, forget.control, download.control),
    reasons.length > 0 ? el("ul", { class: "why" }, ...reasons) : null);
}

function act(label, possible, because, click, needs = "act") {
  const name = label.replace("…", "");
  const reason = needs === "act" && !mayAct() ? READ_ONLY
    : possible ? null : because || "The gateway cannot do this for this delivery.";
  return blocked(label, name.toLowerCase().replace(/ /g, "-"), reason, click);
}

/**
 * Returns a button, and its reason if it is not possible. Such a button stays in the page, with the
 * reason beside it. `because` is null if the act is possible, and undefined if the token may only
 * read.
 */
export function blocked(label, name, because, click) {
  if (because === null) return { control: button(label, click), reason: null };
  const id = `why-${name}`;
  const control = button(label, () => {}, { "aria-disabled": "true", "aria-describedby": id, class: "blocked" });
  const reason = el("li", { id }, el("strong", {}, `${label.replace("…", "")}: `), long("span", sentence(because ?? READ_ONLY)));
  return { control, reason };
}

async function resendDelivery({ delivery, queued }, result) {
  if (queued) {
    await resendQueued(delivery, result);
    return;
  }
  const upstream = delivery.upstream ? `the upstream ${visible(delivery.upstream)}` : "the upstream";
  const agreed = await confirm({
    title: "Send this delivery again?",
    content: [
      el("p", {}, `The gateway sends the same bytes to ${upstream}, marked hookgate-resent: true.`),
      /refused$/.test(delivery.outcome) ? el("p", {}, "The gateway first verifies the delivery with the "
        + "present secrets. Its age does not count.") : null,
      el("p", {}, "If the upstream has processed the event before, it may process the event a second time."),
    ],
    action: "Resend",
  });
  if (!agreed) return;
  await run(result, "Sending…", async () => {
    const done = await postJson(deliveryPath(delivery.request_id, "/resend"));
    const good = done.outcome === "forwarded";
    return { good, nodes: [
      `The delivery was sent again: ${outcomeText(done.outcome)}, status ${done.status}. `,
      el("a", { href: address({ id: done.request_id }) }, "Open the new delivery"),
    ] };
  });
}

// The queue has the delivery, so the resend makes its entry due now.
async function resendQueued(delivery, result) {
  const agreed = await confirm({
    title: "Send this delivery now?", action: "Send",
    content: [el("p", {}, "The delivery is in the queue. The gateway sends it at once, and not at its next attempt.")],
  });
  if (!agreed) return;
  await run(result, "Working…", async () => {
    const done = await postJson(deliveryPath(delivery.request_id, "/resend"));
    return { good: true, nodes: ["The delivery is due now. ",
      el("a", { href: address({ view: "queue", entry: done.entry }) }, "Open its entry of the queue")] };
  });
}

async function forgetDelivery({ delivery }, result) {
  const what = delivery.event_id ? `the event ${visible(delivery.event_id)}` : "the event of this delivery";
  const agreed = await confirm({
    title: "Forget this event?", danger: true, action: "Forget",
    content: [
      el("p", {}, `The replay store removes ${what} of the source ${visible(delivery.source ?? "")}.`),
      el("p", {}, "The next delivery of the event is forwarded, also a copy that an attacker captured. "
        + "Forget an event before you press Resend at the provider."),
    ],
  });
  if (!agreed) return;
  await run(result, "Forgetting…", () => forget({ request_id: delivery.request_id }));
}

async function forget(body) {
  const { forgotten } = await postJson("events/forget", body);
  const what = counted(forgotten, "record", "records");
  return { good: true, nodes: [`Forgotten: ${what} of the replay store. The next delivery of the event is forwarded.`] };
}

/** Asks for an event that need not be in the list, and forgets it. */
export async function forgetById(result, sources) {
  if (!mayAct()) {
    report(result, READ_ONLY, "bad");
    return;
  }
  const source = el("select", { id: "forget-source" },
    ...sources.map((name) => el("option", { value: name }, visible(name))));
  const event = el("input", { id: "forget-event", required: true, autocomplete: "off", spellcheck: "false" });
  const field = (label, control) => el("div", { class: "field" }, el("label", { for: control.id }, label), control);
  const agreed = await confirm({
    title: "Forget an event?", danger: true, action: "Forget",
    content: [
      el("p", {}, "The next delivery of the event is forwarded, also a copy that an attacker captured."),
      field("Source", source), field("Event id", event),
    ],
  });
  if (!agreed) return;
  const body = { source: source.value, event_id: event.value.trim() };
  await run(result, "Forgetting…", () => forget(body));
}

/** Does the work, and reports its end in `result`. */
export async function run(result, busy, work) {
  report(result, busy, "calm");
  try {
    const { good, nodes } = await work();
    report(result, nodes, good ? "good" : "warn");
  } catch (failure) {
    report(result, failure.message, "bad");
  }
}

function report(result, content, tone) {
  result.className = `result tone-text-${tone}`;
  replace(result, ...[content].flat());
}

/** Saves a resource of the API as a file. The request carries the token, which a link could not. */
export async function save(path, name, result) {
  report(result, "Downloading…", "calm");
  try {
    const url = URL.createObjectURL(await getBlob(path));
    const link = el("a", { href: url, download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
    report(result, `Saved as ${name}. The file contains the body of the delivery, so treat it as a secret.`, "good");
  } catch (failure) {
    report(result, failure.message, "bad");
  }
}

/** Connects the button of the empty list. */
export function start() {
  byId("empty-forget").addEventListener("click", async () => {
    const result = byId("empty-result");
    try {
      const { sources } = await getJson("status");
      await forgetById(result, sources.map((source) => source.name));
    } catch (failure) {
      report(result, failure.message, "bad");
    }
  });
}
