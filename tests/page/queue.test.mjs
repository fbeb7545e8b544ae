// The view of the queue: with a mock in states that a gateway reaches too slowly, and with a real
// gateway whose upstream fails.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { assertAccessible, assertNoSidewaysScroll, launch, openSignedIn, until } from "./browser.mjs";
import { data, entry, queue } from "./fixtures.mjs";
import { ACT, startGateway, startUpstream } from "./gateway.mjs";
import { startMock, TOKEN } from "./mock.mjs";

let browser;

before(async () => {
  browser = await launch();
});
after(() => browser.close());

async function openQueue(t, changes = {}, options = {}, address = "?view=queue") {
  const all = data({ queue: queue(), ...changes });
  const mock = await startMock(t, all);
  const opened = await openSignedIn(browser, `${mock.url}${address}`, TOKEN, options);
  return { ...opened, all, assertClean: () => opened.assertClean() };
}

const rows = (page) => page.locator("#queue-entries tbody tr");

test("the view shows sources, entries and dead letters", async (t) => {
  const { page, assertClean, close } = await openQueue(t);
  await rows(page).nth(3).waitFor();
  assert.match(await rows(page).nth(0).textContent(), /17waiting.*github \/ acme.*evt_17.*in 1 minute.*3.*status 503.*1\.2 KiB/);
  assert.match(await rows(page).nth(1).textContent(), /18dead letter.*status 410/);
  assert.match(await rows(page).nth(2).textContent(), /19in flight/);
  assert.match(await rows(page).nth(3).textContent(), /20orphaned/);
  assert.match(await page.locator("#queue-sources tbody tr").nth(1).textContent(), /old-shopnot configured/);
  assert.match(await page.locator("#queue-space").textContent(), /9\.22 GiB of 10\.00 GiB.*nearly full/);
  await assertClean();
  await close();
});

test("filters live in the address, and the entry opens and closes by keyboard", async (t) => {
  const { page, assertClean, close } = await openQueue(t);
  await rows(page).first().waitFor();
  await page.locator("#queue-state").selectOption("dead");
  await page.waitForURL("**/?view=queue&state=dead");
  await until(async () => (await rows(page).count()) === 1, "dead letters only");
  await rows(page).first().locator("a").focus();
  await page.keyboard.press("Enter");
  await page.waitForURL("**/?view=queue&state=dead&entry=18");
  await page.locator("#entry-title").waitFor();
  assert.match(await page.locator("#entry-content").textContent(), /dead letter evt_18.*attempts have ended/);
  assert.equal(await page.evaluate(() => document.activeElement.id), "entry-title");
  await page.keyboard.press("Escape");
  await page.waitForURL("**/?view=queue&state=dead");
  await rows(page).first().waitFor();
  await page.keyboard.press("Escape");
  await page.locator("#rows tr").first().waitFor();
  await assertClean();
  await close();
});

test("an entry shows its redacted request, and why an act is not possible", async (t) => {
  const { page, assertClean, close } = await openQueue(t, {}, {}, "?view=queue&entry=17");
  await page.locator("#entry-content .note").filter({ hasText: "header authorization" }).waitFor();
  assert.match(await page.locator("#entry-content").textContent(), /The upstream gets the exact bytes.*"evt_17"/s);
  await page.locator("#entry-close").click();
  await rows(page).nth(3).locator("a").first().click();
  await page.locator("#why-retry").filter({ hasText: "The source is not configured." }).waitFor();
  assert.match(await page.locator("#entry-content").textContent(), /not shown: the source is no longer configured/);
  await assertClean();
  await close();
});

test("retry and drop ask first, and drop says that the delivery is lost", async (t) => {
  const { page, all, assertClean, close } = await openQueue(t, {}, {}, "?view=queue&entry=18");
  await page.getByRole("button", { name: "Retry now" }).click();
  await page.locator("#confirm-no").click();
  assert.equal(all.acts, undefined);
  await page.getByRole("button", { name: "Retry now" }).click();
  await page.locator("#confirm-yes").click();
  await page.locator("#entry-content .result").filter({ hasText: "due now" }).waitFor();
  await page.getByRole("button", { name: "Drop" }).click();
  assert.match(await page.locator("#confirm-content").textContent(), /The delivery is lost/);
  await page.locator("#confirm-yes").click();
  await page.locator("#entry-content .result").filter({ hasText: "was dropped" }).waitFor();
  assert.deepEqual(all.acts, [
    { method: "POST", path: "queue/18/retry", body: {} }, { method: "DELETE", path: "queue/18", body: null },
  ]);
  await assertClean();
  await close();
});

test("an act on all entries uses the filters, and continues until it is done", async (t) => {
  const parts = [{ changed: 2, skipped: 0, next: { after: "18", most: 2 } }, { changed: 1, skipped: 1 }];
  const { page, all, assertClean, close } = await openQueue(t, { actResult: () => parts.shift() }, {}, "?view=queue&source=github");
  await rows(page).first().waitFor();
  await page.getByRole("button", { name: "Drop all" }).click();
  assert.match(await page.locator("#confirm-content").textContent(), /4 entries of the source github/);
  await page.locator("#confirm-yes").click();
  await page.locator("#queue-result").filter({ hasText: "3 deliveries dropped; 1 skipped" }).waitFor();
  assert.deepEqual(all.acts.map((act) => act.body), [{ source: "github" }, { source: "github", after: "18", most: 2 }]);
  await assertClean();
  await close();
});

test("a token that may read cannot act", async (t) => {
  const { page, assertClean, close } = await openQueue(t, { may: "read" });
  await page.getByRole("button", { name: "Drop all" }).click({ force: true });
  assert.match(await page.locator("#queue-acts").textContent(), /Retry all: This token may read only.*Drop all: This token may read only/);
  assert.equal(await page.locator("dialog[open]").count(), 0);
  await assertClean();
  await close();
});

test("a long queue shows more on demand, and stays one page", async (t) => {
  const { page, assertClean, close } = await openQueue(t, { queue: queue(700) });
  await until(async () => (await rows(page).count()) === 50, "the first page");
  for (const size of [100, 200, 400, 500]) {
    await page.locator("#queue-more").click();
    await until(async () => (await rows(page).count()) === size, `${size} rows`);
  }
  await page.locator("#queue-cut").waitFor();
  await assertClean();
  await close();
});

test("hostile text stays text", async (t) => {
  const hostile = "<img src=x onerror=globalThis.pwned=1>\u202e\u0000\u001b[2J";
  const bad = entry(7, { event_id: hostile, source: hostile, tenant: hostile, key_id: hostile, last_failure: { kind: hostile, time: hostile } });
  const full = queue();
  full.entries = [bad];
  full.stats.sources[0].source = hostile;
  const { page, assertClean, close } = await openQueue(t, { queue: full });
  await rows(page).first().waitFor();
  assert.match(await rows(page).first().textContent(), /<img src=x.*\\u\{202e\}\\0\\e/);
  await rows(page).first().locator("a").first().click();
  await page.locator("#entry-content .facts").waitFor();
  await assertClean();
  await close();
});

test("the view of a gateway without a queue is absent, and says what to do", async (t) => {
  const { page, close } = await openQueue(t, { queue: undefined }, { expected: [/status of 404/] });
  await page.locator("#queue-error").filter({ hasText: "This gateway has no queue" }).waitFor();
  assert.equal(await page.locator("#queue-link").isHidden(), true);
  await close();
});

for (const colorScheme of ["light", "dark"]) {
  for (const [device, viewport] of [["desk", { width: 1440, height: 900 }], ["phone", { width: 390, height: 844 }]]) {
    test(`the queue is accessible: ${colorScheme}, ${device}`, async (t) => {
      const { page, assertClean, close } = await openQueue(t, {}, { viewport, colorScheme });
      await rows(page).first().waitFor();
      await assertAccessible(page, "the queue");
      await assertNoSidewaysScroll(page, "the queue");
      for (const id of ["17", "20"]) {
        await rows(page).filter({ hasText: id }).first().locator("a").first().click();
        await page.locator("#entry-title").waitFor();
        await assertAccessible(page, `the entry ${id}`);
        await assertNoSidewaysScroll(page, `the entry ${id}`);
        await page.locator("#entry-close").click();
        await rows(page).first().waitFor();
      }
      await page.getByRole("button", { name: "Drop all" }).click();
      await assertAccessible(page, "the question");
      await page.locator("#confirm-no").click();
      await assertClean();
      await close();
    });
  }
}

test("a delivery waits while its upstream is down, and arrives after a retry", async (t) => {
  const upstream = await startUpstream();
  t.after(() => upstream.close());
  upstream.status = () => 503;
  const gateway = await startGateway(upstream, { queued: true });
  t.after(() => gateway.close());
  const { status, outcome } = await gateway.send("stripe", JSON.stringify({ id: "evt_queued", object: "event", type: "invoice.paid" }));
  assert.deepEqual({ status, outcome }, { status: 200, outcome: "queued" }, gateway.log);
  const opened = await openSignedIn(browser, gateway.url, ACT);
  const { page } = opened;
  const record = page.locator("#rows tr").filter({ hasText: "evt_queued" });
  assert.match(await record.textContent(), /queued.*stripe/);
  await record.locator("a").click();
  await page.locator("#detail-content .note").filter({ hasText: "The queue has this event: waiting" }).waitFor();
  await page.locator("#why-forget").filter({ hasText: "waits in the queue" }).waitFor();
  await page.getByRole("link", { name: "Open its entry" }).click();
  await page.locator("#entry-content .facts").waitFor();
  assert.match(await page.locator("#entry-content").textContent(), /waiting evt_queued.*status 503.*"evt_queued"/s);
  upstream.status = () => 204;
  await page.getByRole("button", { name: "Retry now" }).click();
  await page.locator("#confirm-yes").click();
  await page.locator("#entry-content .result").filter({ hasText: "due now" }).waitFor();
  const attempts = await until(() => upstream.arrived.length === 2 && upstream.arrived, "the second attempt");
  assert.equal(attempts[0].body, attempts[1].body);
  await page.locator("#entry-close").click();
  await page.locator("#queue-entries").filter({ hasText: "No entry of the queue matches." }).waitFor();
  await opened.assertClean();
  await opened.close();
});
