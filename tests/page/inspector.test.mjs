// The page and a real gateway: what an operator does on a bad day.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { assertAccessible, assertNoSidewaysScroll, go, launch, openPage, openSignedIn, signIn, until } from "./browser.mjs";
import { ACT, READ, SIGN, startGateway, startUpstream } from "./gateway.mjs";

let browser;
let upstream;
let gateway;
let number = 0;

before(async () => {
  [browser, upstream] = await Promise.all([launch(), startUpstream()]);
  gateway = await startGateway(upstream);
});
after(async () => {
  await browser.close();
  await gateway?.close();
  await upstream.close();
});

const next = () => `evt_page_${(number += 1)}`;
const event = (id, type = "invoice.paid") => JSON.stringify({ id, object: "event", type, data: { amount: 100 } });

// Sends a delivery that is forwarded, and returns its request id.
async function forwarded(id = next()) {
  const { status } = await gateway.send("stripe", event(id));
  assert.equal(status, 204, gateway.log);
  return requestOf(id);
}

// Returns the request id of the newest record that the search finds.
async function requestOf(q) {
  const found = await until(async () => {
    const page = await (await gateway.api(`deliveries?q=${encodeURIComponent(q)}`)).json();
    return page.deliveries[0];
  }, `the record of ${q}`);
  return found.request_id;
}

// Sends a delivery whose body was written anew on the way, so that its signature does not match.
async function rewritten() {
  const id = next();
  const body = event(id);
  const headers = { ...SIGN.stripe(body, "whsec_test_3f0c9a7d51e84b26"), "user-agent": `rewritten/${id}` };
  const { status } = await gateway.send("stripe", JSON.stringify(JSON.parse(body), null, 2), { headers });
  assert.equal(status, 401);
  return requestOf(`rewritten/${id}`);
}

async function openDetail(id, token = ACT, options = {}) {
  const opened = await openSignedIn(browser, `${gateway.url}?id=${id}`, token, options);
  await opened.page.locator(".facts").waitFor();
  return opened;
}

test("the page is a static shell with strict headers, and the token stays in the tab", async () => {
  const response = await fetch(gateway.url);
  assert.match(response.headers.get("content-security-policy"), /^default-src 'none'; script-src 'self'; style-src 'self';/);
  assert.equal(response.headers.get("x-content-type-options"), "nosniff");
  assert.equal(response.headers.get("referrer-policy"), "no-referrer");
  const opened = await openPage(browser, gateway.url, { expected: [/status of 401/] });
  const { page } = opened;
  await signIn(page, "a-wrong-token-0123456789");
  await page.locator("#sign-in-message").filter({ hasText: "does not know this token" }).waitFor();
  await assertAccessible(page, "the form");
  await signIn(page, ACT);
  await page.locator("#who").filter({ hasText: "ops · may act" }).waitFor();
  assert.ok(!page.url().includes(ACT));
  assert.deepEqual(await page.context().cookies(), []);
  assert.equal(await page.evaluate(() => localStorage.length), 0);
  await page.reload();
  await page.locator("#app").waitFor();
  await page.locator("#sign-out").click();
  await page.locator("#sign-in-message").filter({ hasText: "signed out" }).waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.getItem("hookgate.token")), null);
  await opened.assertClean();
  await opened.close();
});

test("a new delivery appears in the list by itself", async () => {
  const opened = await openSignedIn(browser, gateway.url, ACT);
  const { page } = opened;
  await page.locator('#live[data-state="live"]').waitFor();
  const id = next();
  await gateway.send("stripe", event(id));
  const row = page.locator("#rows tr").filter({ hasText: id });
  await row.waitFor();
  assert.match(await row.textContent(), /forwarded.*stripe.*invoice\.paid.*204/);
  await gateway.send("stripe", event(id));
  await page.locator("#rows tr").filter({ hasText: id }).filter({ hasText: "duplicate" }).waitFor();
  await opened.assertClean();
  await opened.close();
});

test("filters live in the address, and the back button takes them back", async () => {
  await forwarded();
  await gateway.send("github", event(next(), "push"));
  await gateway.send("stripe", event(next()), { forged: true });
  const opened = await openSignedIn(browser, gateway.url, ACT);
  const { page } = opened;
  const outcomes = () => page.locator("#rows tr .c-outcome").allTextContents();
  await page.locator("#filter-source option[value=github]").waitFor({ state: "attached" });
  await page.locator("#filter-source").selectOption("github");
  await page.waitForURL("**/?source=github");
  await until(async () => {
    const sources = await page.locator("#rows tr .c-source").allTextContents();
    return sources.length > 0 && sources.every((text) => text === "github");
  }, "deliveries of GitHub only");
  await page.goBack();
  await until(async () => (await page.locator("#filter-source").inputValue()) === "", "the filter is gone");
  await page.locator("#filter-outcome").selectOption("refused");
  await until(async () => {
    const all = await outcomes();
    return all.length > 0 && all.every((text) => text === "refused");
  }, "refused deliveries only");
  const shared = page.url();
  assert.ok(shared.endsWith("/?outcome=refused"));
  // A filtered list is live, too.
  const before = (await outcomes()).length;
  await page.locator('#live[data-state="live"]').waitFor();
  await forwarded();
  await gateway.send("stripe", event(next()), { forged: true });
  await until(async () => (await outcomes()).length === before + 1, "the new refused delivery");
  await page.goto(shared);
  await until(async () => (await outcomes()).every((text) => text === "refused"), "the shared address");
  assert.equal(await page.locator("#filter-outcome").inputValue(), "refused");
  await opened.assertClean();
  await opened.close();
});

test("the search answers whether a delivery arrived", async () => {
  const id = next();
  await forwarded(id);
  const opened = await openSignedIn(browser, gateway.url, ACT);
  const { page } = opened;
  await page.locator("#rows tr").first().waitFor();
  await page.keyboard.press("/");
  await page.keyboard.type(id);
  await page.keyboard.press("Enter");
  await page.locator("#answer").filter({ hasText: "Yes: 1 delivery matches." }).waitFor();
  await page.locator("#filter-q").fill("evt_never_sent");
  await page.locator("#answer").filter({ hasText: "not among the records since" }).waitFor();
  assert.match(page.url(), /\?q=evt_never_sent$/);
  assert.equal(await page.locator("#rows tr").count(), 0);
  await page.locator("#empty-forget").waitFor();
  await assertAccessible(page, "a search that finds nothing");
  await opened.assertClean();
  await opened.close();
});

test("a delivery is shown in full: facts, timeline, headers, body, bytes, command, downloads", async () => {
  const id = next();
  const opened = await openDetail(await forwarded(id));
  const { page } = opened;
  const text = await page.locator("#detail-content").innerText();
  for (const part of [id, "invoice.paid", "verify", "claim", "upstream", "stripe-signature", "page-test/1", '"amount": 100', "7b 22 69 64"]) {
    assert.ok(text.includes(part), `${part} is missing in:\n${text}`);
  }
  assert.match(await page.locator(".command code").textContent(), /^hookgate verify /);
  for (const [name, file] of [["Download capture", /^hookgate-.*\.capture$/], ["Download the body", /^hookgate-.*\.body$/]]) {
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name }).click()]);
    assert.match(download.suggestedFilename(), file);
    const content = readFileSync(await download.path(), "utf8");
    assert.ok(content.includes(event(id)), content);
  }
  await opened.assertClean();
  await opened.close();
});

test("a refused delivery is explained", async () => {
  const opened = await openDetail(await rewritten());
  const { page } = opened;
  await page.locator(".causes li").first().waitFor();
  assert.match(await page.locator(".causes li").first().innerText(), /proved[\s\S]*body_json_rewritten/);
  assert.match(await page.locator(".verdict").innerText(), /signature_mismatch No signature matches an active key\. The sender got 401\./);
  await opened.assertClean();
  await opened.close();
});

test("resend sends the bytes again, and the result leads to the new delivery", async () => {
  const id = next();
  const opened = await openDetail(await forwarded(id));
  const { page } = opened;
  const before = upstream.arrived.length;
  await page.getByRole("button", { name: "Resend" }).click();
  await page.locator("#confirm[open]").waitFor();
  await assertAccessible(page, "the question before a resend");
  await page.keyboard.press("Escape");
  await page.locator("#confirm").waitFor({ state: "hidden" });
  assert.equal(upstream.arrived.length, before, "Escape sends nothing");
  await page.getByRole("button", { name: "Resend" }).click();
  await page.locator("#confirm-yes").click();
  await page.locator("#detail .result").filter({ hasText: "sent again: forwarded, status 204" }).waitFor();
  assert.equal(upstream.arrived.length, before + 1);
  assert.equal(upstream.arrived.at(-1).headers["hookgate-resent"], "true");
  assert.equal(upstream.arrived.at(-1).body, event(id));
  await page.getByRole("link", { name: "Open the new delivery" }).click();
  await page.locator(".facts").filter({ hasText: "Sent again by" }).waitFor();
  await page.locator(".related li").first().waitFor();
  await opened.assertClean();
  await opened.close();
});

test("a forgotten event is forwarded again, by its delivery and by its id", async () => {
  const id = next();
  const opened = await openDetail(await forwarded(id));
  const { page } = opened;
  const before = upstream.arrived.length;
  assert.equal((await gateway.send("stripe", event(id))).status, 200, "the control: a duplicate");
  assert.equal(upstream.arrived.length, before);
  await page.getByRole("button", { name: "Forget" }).click();
  await page.locator("#confirm-yes").click();
  await page.locator("#detail .result").filter({ hasText: "Forgotten" }).waitFor();
  assert.equal((await gateway.send("stripe", event(id))).status, 204);
  assert.equal(upstream.arrived.length, before + 1);
  await page.goto(`${gateway.url}?view=status`);
  await page.locator("#status-forget").click();
  await page.locator("#forget-source").selectOption("stripe");
  await page.locator("#confirm-yes").click();
  assert.ok(await page.locator("#confirm[open]").isVisible(), "an empty id is not sent");
  await page.locator("#forget-event").fill(id);
  await page.locator("#confirm-yes").click();
  await page.locator("#status-forget-result").filter({ hasText: "Forgotten" }).waitFor();
  assert.equal((await gateway.send("stripe", event(id))).status, 204);
  await opened.assertClean();
  await opened.close();
});

test("a token that may read cannot act, neither in the page nor past the page", async () => {
  const request = await forwarded();
  const before = upstream.arrived.length;
  const opened = await openDetail(request, READ, { expected: [/status of 403/] });
  const { page } = opened;
  for (const name of ["Resend", "Forget"]) {
    const control = page.getByRole("button", { name });
    assert.equal(await control.getAttribute("aria-disabled"), "true");
    await control.click({ force: true });
    assert.ok(await page.locator("#confirm").isHidden());
    await page.locator(".why li").filter({ hasText: `${name}: This token may read only.` }).waitFor();
  }
  const statuses = await page.evaluate(async (id) => {
    const headers = { authorization: `Bearer ${sessionStorage.getItem("hookgate.token")}`, "content-type": "application/json" };
    const post = async (path, body) => (await fetch(path, { method: "POST", headers, body })).status;
    return [await post(`api/deliveries/${id}/resend`), await post("api/events/forget", JSON.stringify({ request_id: id }))];
  }, request);
  assert.deepEqual(statuses, [403, 403]);
  assert.equal(upstream.arrived.length, before);
  await opened.assertClean();
  await opened.close();
});

test("the keyboard reaches everything", async () => {
  const first = await forwarded();
  const second = await forwarded();
  const opened = await openSignedIn(browser, gateway.url, ACT);
  const { page } = opened;
  await page.locator(`#rows tr[data-id="${second}"]`).waitFor();
  const focused = () => page.evaluate(() => document.activeElement.closest("tr")?.dataset.id ?? document.activeElement.id);
  await page.keyboard.press("j");
  assert.equal(await focused(), second);
  await page.keyboard.press("ArrowDown");
  assert.equal(await focused(), first);
  await page.keyboard.press("k");
  await page.keyboard.press("Enter");
  await page.locator("#detail-title").filter({ hasText: "evt_page" }).waitFor();
  await until(async () => (await focused()) === "detail-title", "the focus in the detail");
  assert.ok(page.url().endsWith(`?id=${second}`));
  await page.keyboard.press("j");
  await page.waitForURL(`**/?id=${first}`);
  await page.keyboard.press("Escape");
  await page.locator("#detail").waitFor({ state: "hidden" });
  assert.equal(await focused(), first, "the focus returns to the row");
  await page.keyboard.press("?");
  await page.locator("#help[open]").waitFor();
  await assertAccessible(page, "the help");
  await page.locator("#single-keys").uncheck();
  await page.keyboard.press("Escape");
  await page.locator("#help").waitFor({ state: "hidden" });
  await page.keyboard.press("/");
  assert.notEqual(await focused(), "filter-q", "the letters are off");
  await page.locator("#help-open").click();
  await page.locator("#single-keys").check();
  await page.locator("#help-close").click();
  await page.keyboard.press("/");
  assert.equal(await focused(), "filter-q");
  await page.keyboard.type("j?r");
  assert.equal(await page.locator("#filter-q").inputValue(), "j?r", "keys in a field are text");
  await page.goto(gateway.url);
  await page.locator("#rows tr").first().waitFor();
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.notEqual(outline, "none", "the focus is visible");
  const requests = [];
  page.on("request", (request) => requests.push(request.url()));
  await page.keyboard.press("r");
  await until(() => requests.some((url) => url.includes("/api/deliveries")), "the refresh");
  await opened.assertClean();
  await opened.close();
});

test("every view is accessible in both colour schemes and fits a phone", async () => {
  const refused = await rewritten();
  const accepted = await forwarded();
  const views = { list: "", refused: `?id=${refused}`, forwarded: `?id=${accepted}`, status: "?view=status" };
  for (const options of [{ colorScheme: "light" }, { colorScheme: "dark" }, { viewport: { width: 390, height: 844 } }]) {
    const opened = await openSignedIn(browser, gateway.url, ACT, { reducedMotion: "reduce", ...options });
    const { page } = opened;
    for (const [name, query] of Object.entries(views)) {
      await page.goto(gateway.url + query);
      const ready = { list: "#rows tr", refused: ".causes", forwarded: ".facts", status: "#status-rates svg" }[name];
      await page.locator(ready).first().waitFor();
      const where = `${name} ${JSON.stringify(options)}`;
      await assertAccessible(page, where);
      await assertNoSidewaysScroll(page, where);
    }
    await opened.assertClean();
    await opened.close();
  }
});

test("the colour scheme follows the system, and a choice stays in the tab", async () => {
  const opened = await openSignedIn(browser, gateway.url, ACT, { colorScheme: "dark" });
  const { page } = opened;
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  assert.equal(await background(), "rgb(15, 19, 24)");
  await page.locator("#scheme").click();
  assert.equal(await page.locator("#scheme").textContent(), "Colours: light");
  assert.equal(await background(), "rgb(245, 246, 248)");
  await page.reload();
  await page.locator("#app").waitFor();
  assert.equal(await background(), "rgb(245, 246, 248)");
  await opened.assertClean();
  await opened.close();
});

test("payloads that real senders send stay text", async () => {
  const payloads = JSON.parse(readFileSync(new URL("xss.json", import.meta.url), "utf8"));
  for (const [index, payload] of payloads.entries()) {
    const body = JSON.stringify({ id: payload, type: payload, [payload]: payload });
    const latin = Buffer.from(payload.replace(/[\r\n\0]/g, " ")).toString("latin1");
    const path = `/hooks/stripe?${encodeURIComponent(payload.toWellFormed())}`;
    await gateway.send("stripe", body, { path, forged: index % 2 === 1 });
    const form = `text=${encodeURIComponent(payload.toWellFormed())}&payload=${encodeURIComponent(JSON.stringify({ [payload]: payload }))}`;
    await gateway.send("slack", form, { headers: { "content-type": "application/x-www-form-urlencoded" } });
    const signed = Object.entries(SIGN.github(body, "forged")).filter(([name]) => !name.includes("delivery"));
    await gateway.sendRaw([
      `POST /hooks/github?${latin.replace(/[^\x21-\x7e]/g, "%20").replace(/#/g, "%23")} HTTP/1.1`, "host: hooks.example", "connection: close",
      `content-length: ${Buffer.byteLength(body)}`, `user-agent: ${latin}`, `content-type: ${latin}`, `x-note: ${latin}`,
      `x-github-delivery: ${latin}`, ...signed.map(([name, value]) => `${name}: ${value}`), "", "",
    ].join("\r\n"), body);
    await gateway.sendRaw(`GET /${latin.replace(/[^\x21-\x7e]/g, "").replace(/[?#]/g, "")} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n`);
  }
  const opened = await openSignedIn(browser, gateway.url, ACT, { expected: [/status of 404/] });
  const { page } = opened;
  const all = (await (await gateway.api("deliveries?limit=500")).json()).deliveries;
  assert.ok(all.length >= 4 * payloads.length, `${all.length} records`);
  const captured = all.filter((one) => one.capture);
  assert.ok(captured.length >= 2 * payloads.length, `${captured.length} captures`);
  await page.locator("#rows tr").first().waitFor();
  for (let shown = 50; shown < all.length; shown = await page.locator("#rows tr").count()) {
    await page.locator("#older").click();
    await until(async () => (await page.locator("#rows tr").count()) > shown, "the next page");
  }
  for (const { request_id: id } of captured) {
    await go(page, `?id=${id}`);
    await until(() => page.evaluate((wanted) => document.querySelector(".facts")?.textContent.includes(wanted), id), id);
    assert.deepEqual(await opened.faults(), [], JSON.stringify(all.find((one) => one.request_id === id)));
  }
  await opened.close();
});

test("the list follows a gateway that restarts", async () => {
  const opened = await openSignedIn(browser, gateway.url, ACT, { expected: [/ERR_/] });
  const { page } = opened;
  await page.locator('#live[data-state="live"]').waitFor();
  await gateway.stop();
  await page.locator("#connection").filter({ hasText: "The page tries again in" }).waitFor();
  await gateway.start();
  const during = next();
  await gateway.send("stripe", event(during));
  await page.locator("#connection button").click({ timeout: 2000 }).catch(() => {});
  await page.locator('#live[data-state="live"]').waitFor();
  await page.locator("#rows tr").filter({ hasText: during }).waitFor();
  const afterwards = next();
  await gateway.send("stripe", event(afterwards));
  await page.locator("#rows tr").filter({ hasText: afterwards }).waitFor();
  assert.ok(await page.locator("#connection").isHidden());
  await opened.assertClean();
  await opened.close();
});
