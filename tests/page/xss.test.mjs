// Text of senders stays text: a corpus of payloads through every field that a sender controls.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { go, launch, openSignedIn, until } from "./browser.mjs";
import { capture, data, record, status } from "./fixtures.mjs";
import { startMock, TOKEN } from "./mock.mjs";
import { visible } from "../../gateway/src/admin/page/text.js";

const PAYLOADS = JSON.parse(readFileSync(new URL("xss.json", import.meta.url), "utf8"));
PAYLOADS.push("<script>window.pwned='huge'</script>".repeat(5000), "\u202e".repeat(20_000), "[".repeat(50_000));

let browser;
before(async () => { browser = await launch(); });
after(() => browser.close());

// Every text of the record, of the capture and of the explanation is the payload.
function hostile(payload, index) {
  const delivery = record(1000 + index, {
    request_id: `request-${index}`, outcome: index % 2 ? "refused" : "forwarded",
    event_id: payload, event_type: payload, delivery_id: payload, key_id: payload, tenant: payload, source: payload,
    provider: payload, upstream: payload, server: payload, method: payload, path: payload, client: payload,
    user_agent: payload, content_type: payload, signed_headers: payload, reason: index % 3 ? payload : "signature_mismatch",
    resent_by: payload, resent_from: payload, capture: payload, [payload.slice(0, 100)]: payload,
  });
  const pairs = `${encodeURIComponent(payload.slice(0, 5000).toWellFormed())}=${encodeURIComponent(payload.slice(0, 5000).toWellFormed())}`;
  const bodies = [
    ["application/json", JSON.stringify({ [payload]: payload, list: [payload], plain: 1 })],
    ["application/x-www-form-urlencoded", `${pairs}&payload=${encodeURIComponent(JSON.stringify({ [payload]: payload }))}`],
    [payload, payload],
    ["text/html", `<!doctype html><title>x</title>${payload}`],
  ];
  const [type, body] = bodies[index % bodies.length];
  const detail = {
    capture: capture(body, {
      method: payload, target: payload, version: payload, redacted: index % 2 === 0, redactions: [payload],
      headers: [["content-type", type], [payload, payload], ["user-agent", payload], ["x-note", payload]],
    }),
    verify_command: `hookgate verify ${payload}`, can_resend: false, cannot_resend_because: payload,
    can_forget: index % 2 === 0, cannot_forget_because: payload,
  };
  const cause = { code: payload, proved: true, summary: payload, fix: payload };
  return { delivery, detail, explanation: { verified: false, reason: payload, causes: [cause] } };
}

test("no payload runs in any field, and each is shown as text", async (t) => {
  const all = PAYLOADS.map(hostile);
  const hostileStatus = status();
  hostileStatus.sources.push(...PAYLOADS.slice(0, 100).map((payload) => ({
    name: payload, path: payload, provider: payload, upstream: payload, capture: payload, keys: [{ id: payload, deliveries: 1 }],
  })));
  const mock = await startMock(t, data({
    deliveries: all.map((one) => one.delivery).reverse(), status: hostileStatus, toml: PAYLOADS.join("\n"),
    details: Object.fromEntries(all.map((one) => [one.delivery.request_id, one.detail])),
    explanations: Object.fromEntries(all.map((one) => [one.delivery.request_id, one.explanation])),
  }));
  const opened = await openSignedIn(browser, mock.url, TOKEN);
  const { page } = opened;
  const rows = page.locator("#rows tr[data-id]");
  await until(async () => (await rows.count()) === 50, "the first page of the list");
  await page.locator("#older").click();
  await until(async () => (await rows.count()) === PAYLOADS.length, "every payload in the list");
  for (const [index, payload] of PAYLOADS.entries()) {
    const row = page.locator(`#rows tr[data-id="request-${index}"]`);
    const shown = await row.locator(".c-event").textContent();
    assert.ok(shown.includes(visible(payload.slice(0, 120))), `the list shows ${visible(payload.slice(0, 200))}`);
    await page.evaluate((id) => document.querySelector(`#rows tr[data-id="${id}"] a`).click(), `request-${index}`);
    await until(() => page.evaluate((id) => document.querySelector("#detail-content")?.ariaBusy !== "true"
      && document.querySelector(".facts")?.textContent.includes(id), `request-${index}`), `the detail of ${index}`);
    const texts = await page.locator("#detail-content").textContent();
    assert.ok(texts.includes(visible(payload.slice(0, 300))), `the detail shows ${visible(payload.slice(0, 200))}`);
    assert.deepEqual(await opened.faults(), [], visible(payload.slice(0, 200)));
  }
  await assertOnlyKnownElements(page);
  await page.goto(`${mock.url}?view=status`);
  await page.locator("#status-config pre").waitFor();
  await until(async () => (await page.locator("#status-keys tbody tr").count()) > 100, "the keys");
  await opened.assertClean();
  await opened.close();
});

// Markup of a payload would be an element that the page itself never makes.
async function assertOnlyKnownElements(page) {
  const foreign = await page.evaluate(() =>
    [...document.querySelectorAll("script, iframe, object, embed, img, link, style, base, meta, form, video, audio, math, template")]
      .map((element) => element.outerHTML.slice(0, 100)));
  assert.equal(foreign.length, 12, `the elements of index.html only:\n${foreign.join("\n")}`);
}

test("a payload in the address of the page does not run", async (t) => {
  const mock = await startMock(t, data());
  const opened = await openSignedIn(browser, mock.url, TOKEN, { expected: [/status of 404/] });
  for (const [index, payload] of PAYLOADS.filter((text) => text.length < 1000).entries()) {
    const value = encodeURIComponent(payload.toWellFormed());
    const query = ["q", "source", "outcome", "reason", "tenant", "id"].map((name) => `${name}=${value}`).join("&");
    // A new document takes longer than a new address in the same one.
    if (index % 8 === 0) await opened.page.goto(`${mock.url}?${query}#${value}`);
    else await go(opened.page, `?${query}#${value}`);
    await opened.page.locator("#detail-title").filter({ hasText: "This delivery cannot be shown" }).waitFor();
    assert.equal(await opened.page.locator("#filter-reason").inputValue(), payload.replace(/[\r\n]/g, ""));
    assert.deepEqual(await opened.faults(), [], visible(payload));
  }
  await opened.assertClean();
  await opened.close();
});

test("the check notices a script that runs, a handler, a dialog and a foreign request", async (t) => {
  const mock = await startMock(t, data());
  const attacks = {
    canary: () => { window.pwned = 1; },
    dialog: () => { alert(1); },
    request: () => { fetch("http://127.0.0.1:9/").catch(() => {}); },
    policy: () => {
      const script = document.createElement("div");
      script.setAttribute("onclick", "window.pwned = 1");
      document.body.append(script);
      script.click();
    },
    // Trusted types refuse markup in text.
    markup: () => { document.body.innerHTML = "<img src=x onerror=window.pwned=1>"; },
  };
  for (const [kind, attack] of Object.entries(attacks)) {
    const opened = await openSignedIn(browser, mock.url, TOKEN);
    await opened.page.evaluate(attack).catch(() => {});
    await until(async () => (await opened.faults()).length > 0, `the fault of ${kind}`);
    await opened.close();
  }
});
