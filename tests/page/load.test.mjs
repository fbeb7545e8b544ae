// The page under load and in rare states, against the mock.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { assertAccessible, assertNoSidewaysScroll, launch, openPage, openSignedIn, signIn, until } from "./browser.mjs";
import { capture, data, record, records } from "./fixtures.mjs";
import { startMock, TOKEN } from "./mock.mjs";

let browser;
before(async () => { browser = await launch(); });
after(() => browser.close());

test("a flood of deliveries does not hang the page", async (t) => {
  const mock = await startMock(t, data());
  const opened = await openSignedIn(browser, mock.url, TOKEN);
  const { page } = opened;
  await until(() => mock.streams() === 1, "the stream");
  await page.evaluate(() => {
    globalThis.longest = 0;
    let last = performance.now();
    const frame = (now) => {
      globalThis.longest = Math.max(globalThis.longest, now - last);
      last = now;
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
    globalThis.updates = 0;
    new MutationObserver(() => { globalThis.updates += 1; }).observe(document.getElementById("rows"), { childList: true });
  });
  // A gateway sends at most 100 deliveries in a quarter of a second. This is up to 25 times as much.
  const seconds = 3;
  const start = Date.now();
  let seq = 1000;
  while (Date.now() - start < seconds * 1000) {
    const batch = Array.from({ length: 100 }, () => record((seq += 1)));
    mock.publish(batch);
    await new Promise((resolve) => setTimeout(resolve, 10 - (Date.now() - start) % 10));
  }
  mock.publish([record((seq += 1))], 1234);
  const sent = seq - 1000;
  // The page still responds. Playwright gives up after 15 seconds.
  await page.locator("#help-open").click();
  await page.locator("#help[open]").waitFor();
  await page.locator("#help-close").click();
  await until(async () => (await page.locator(`#rows tr[data-id="request-${seq}"]`).count()) === 1, "the newest row");
  const { longest, updates, rows } = await page.evaluate(() => ({
    longest: globalThis.longest, updates: globalThis.updates, rows: document.querySelectorAll("#rows tr").length,
  }));
  t.diagnostic(`sent ${sent}, longest frame ${Math.round(longest)} ms, ${updates} updates`);
  assert.ok(rows <= 500, `${rows} rows`);
  const most = Math.ceil((Date.now() - start) / 250) + 1;
  assert.ok(updates <= most, `${updates} updates of the list, at most ${most}`);
  assert.match(await page.locator("#rows tr.gap").first().textContent(), /[\d,]+ deliveries are not shown here/);
  await opened.assertClean();
  await opened.close();
});

test("the list stands still while the user reads, and a button shows what is new", async (t) => {
  const mock = await startMock(t, data());
  const opened = await openSignedIn(browser, mock.url, TOKEN);
  const { page } = opened;
  await until(() => mock.streams() === 1, "the stream");
  const first = () => page.locator("#rows tr").first().getAttribute("data-id");
  const pauses = {
    scrolling: () => page.evaluate(() => scrollTo(0, 500)),
    "a row with the focus": async () => {
      await page.evaluate(() => scrollTo(0, 0));
      await page.keyboard.press("j");
    },
    "selected text": () => page.evaluate(() => {
      scrollTo(0, 0);
      getSelection().selectAllChildren(document.querySelector("#rows tr"));
    }),
    "the button Pause": () => page.locator("#pause").click(),
  };
  let seq = 500;
  for (const [what, pause] of Object.entries(pauses)) {
    const before = await first();
    await pause();
    mock.publish([record((seq += 1)), record((seq += 1))], 3);
    await page.locator("#new").filter({ hasText: "5 new deliveries" }).waitFor();
    assert.equal(await first(), before, what);
    await page.locator("#new").click();
    await page.locator(`#rows tr[data-id="request-${seq}"]`).waitFor();
    assert.equal(await first(), `request-${seq}`, what);
    assert.equal(await page.evaluate(() => scrollY), 0);
    assert.ok(await page.locator("#new").isHidden());
    await page.evaluate(() => getSelection().removeAllRanges());
  }
  // The control: without a reason to stand still, the list moves.
  mock.publish([record((seq += 1))]);
  await until(async () => (await first()) === `request-${seq}`, "the new row");
  await page.locator("#announce").filter({ hasText: "new deliver" }).waitFor({ state: "attached" });
  await opened.assertClean();
  await opened.close();
});

test("older deliveries are read by pages, and at most 500 stay in the document", async (t) => {
  const mock = await startMock(t, data({ deliveries: records(900) }));
  const opened = await openSignedIn(browser, mock.url, TOKEN);
  const { page } = opened;
  const rows = page.locator("#rows tr");
  await until(async () => (await rows.count()) === 50, "the first page");
  for (let shown = 50; shown < 900; shown = Math.min(shown + 100, 900)) {
    await page.locator("#older").click();
    await until(async () => (await rows.count()) === Math.min(shown + 100, 500)
      && (await page.locator("#older").isEnabled()), `the page after ${shown}`);
  }
  assert.equal(await rows.last().getAttribute("data-id"), "request-1");
  assert.ok(await page.locator("#older").isHidden());
  await page.locator("#new").filter({ hasText: "Back to the newest deliveries" }).click();
  await page.locator('#rows tr[data-id="request-900"]').waitFor();
  await opened.assertClean();
  await opened.close();
});

test("the status view names everything that needs attention", async (t) => {
  const mock = await startMock(t, data());
  for (const [name, options] of Object.entries({
    light: { colorScheme: "light" }, dark: { colorScheme: "dark" }, phone: { viewport: { width: 390, height: 844 } },
  })) {
    const opened = await openSignedIn(browser, `${mock.url}?view=status`, TOKEN, options);
    const { page } = opened;
    for (const text of [
      "951,000 of 1,000,000 events (95.1 %)", "The store is nearly full", "12 records were dropped",
      "3 requests were not captured", "1 operation on capture_dir failed", "4 captures are not in capture_dir",
      "6 records are not in the history", "unhealthy", "5 days left", "never since the start",
    ]) await page.locator("#status").getByText(text).first().waitFor();
    assert.match(await page.locator("#status-rates svg").first().getAttribute("aria-label"), /[\d,]+ forwarded/);
    await assertAccessible(page, `status, ${name}`);
    await assertNoSidewaysScroll(page, `status, ${name}`);
    await opened.assertClean();
    await opened.close();
  }
});

test("a body is shown as JSON with its exact tokens, as a form, as text, or as bytes", async (t) => {
  const bodies = {
    json: [capture('{"n":12345678901234567890,"n":1.50,"t":"caf\\u00e9"}'), /12345678901234567890,\s*"n": 1\.50,\s*"t": "caf\\u00e9"/],
    form: [capture("payload=%7B%22a%22%3A1%7D&text=a+b%26c", { headers: [["Content-Type", "application/x-www-form-urlencoded"]] }), /text\s*a b&c/],
    text: [capture("<Response>ok</Response>\n"), /<Response>ok<\/Response>/],
    bytes: [capture(Buffer.from([0xff, 0xfe, 0x00, 0x01])), /not UTF-8 text[\s\S]*00000 {2}ff fe 00 01/],
    empty: [capture(""), /The body is empty/],
    cut: [{ ...capture('{"a":[1,2,{"b":"cut he'), body: { base64: Buffer.from('{"a":[1,2,{"b":"cut he').toString("base64"), bytes: 300_000, shown: 22 } },
      /first 22 bytes of 293\.0 KiB[\s\S]*"b": "cut he/],
    deep: [capture("[".repeat(20_000) + "]".repeat(20_000)), /\[\s*\[/],
    redacted: [capture('{"card":{"number":"[redacted]"}}', { redacted: true, redactions: ["header authorization", "body /card/number"] }),
      /removed secrets[\s\S]*header authorization\s*body \/card\/number/],
    partial: [capture('{"a":1', { complete: false }), /lacks the end of the body/],
  };
  const deliveries = Object.keys(bodies).map((name, index) => record(100 - index, { request_id: name }));
  const details = Object.fromEntries(Object.entries(bodies).map(([name, [one]]) => [name, { capture: one }]));
  const mock = await startMock(t, data({ deliveries, details }));
  const opened = await openSignedIn(browser, mock.url, TOKEN, { expected: [/status of 404/] });
  const { page } = opened;
  for (const [name, [, expected]] of Object.entries(bodies)) {
    await page.goto(`${mock.url}?id=${name}`);
    await page.locator(".facts").waitFor();
    const texts = await page.locator("#detail-content").innerText();
    assert.match(texts, expected, name);
  }
  await opened.assertClean();
  await opened.close();
});

test("wrong guesses, a lost connection and an expired session have their own messages", async (t) => {
  const state = data();
  const mock = await startMock(t, state);
  const opened = await openPage(browser, mock.url, { expected: [/status of (401|429|503)/, /ERR_CONNECTION_REFUSED|ERR_FAILED/] });
  const { page } = opened;
  const message = page.locator("#sign-in-message");
  await signIn(page, "größer");
  await message.filter({ hasText: "visible ASCII characters only" }).waitFor();
  await signIn(page, "wrong-token-0123456789");
  await message.filter({ hasText: "does not know this token" }).waitFor();
  state.fail = { status: 429, retryAfter: 42, detail: "too many wrong tokens" };
  await signIn(page, TOKEN);
  await message.filter({ hasText: "Wait 42 seconds" }).waitFor();
  state.fail = null;
  await page.route("**/api/session", (route) => route.abort());
  await signIn(page, TOKEN);
  await message.filter({ hasText: "does not respond" }).waitFor();
  await page.unroute("**/api/session");
  await signIn(page, TOKEN);
  await page.locator("#rows tr").first().waitFor();
  state.fail = { status: 503, detail: "64 streams are open; close another tab" };
  await page.locator("#refresh").click();
  await page.locator("#answer").filter({ hasText: "64 streams are open" }).waitFor();
  await page.locator("#connection").filter({ hasText: "The page tries again in" }).waitFor();
  state.fail = { status: 401, detail: "the token is unknown" };
  await page.locator("#refresh").click();
  await message.filter({ hasText: "no longer accepts the token" }).waitFor();
  assert.equal(await page.locator("#rows tr").count(), 0, "no data stays in the document");
  assert.equal(await page.evaluate(() => sessionStorage.getItem("hookgate.token")), null);
  await opened.assertClean();
  await opened.close();
});
