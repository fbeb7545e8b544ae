// Takes the pictures of docs/inspector.md: images.mjs FOLDER. The status is that of the mock, because
// a real gateway needs a quarter of an hour to fill its charts.

import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { launch, openSignedIn, until } from "./browser.mjs";
import { data } from "./fixtures.mjs";
import { ACT, SIGN, startGateway, startUpstream } from "./gateway.mjs";
import { startMock, TOKEN } from "./mock.mjs";

const LARGEST = 200 * 1024;
const folder = process.argv[2];
const cleanups = [];
const json = (value) => JSON.stringify(value);

// A mixed minute: deliveries of three sources, with duplicates, a failure and refusals.
async function traffic(gateway, upstream) {
  const invoice = (id, amount) => json({ id, object: "event", type: "invoice.paid", data: { object: { customer: "cus_9s6XKzkNRiz8i3", amount, currency: "eur", paid: true } } });
  await gateway.send("stripe", invoice("evt_1PXk2aLkdIwHu7ix", 4900));
  await gateway.send("github", json({ ref: "refs/heads/main", after: "8dd1562f0c", repository: { full_name: "acme/shop" } }));
  upstream.status = () => 500;
  await gateway.send("stripe", json({ id: "evt_1PXk3FLkdIwHuA02", object: "event", type: "customer.subscription.updated" }));
  upstream.status = () => 204;
  await gateway.send("slack", json({ type: "event_callback", event_id: "Ev08MFMKH6", event: { type: "app_mention" } }));
  await gateway.send("stripe", invoice("evt_1PXk3tLkdIwHuQ81", 12900));
  await gateway.send("stripe", invoice("evt_1PXk3tLkdIwHuQ81", 12900));
  await gateway.send("stripe", json({ id: "evt_1PXk3FLkdIwHuA02", object: "event", type: "customer.subscription.updated" }));
  await gateway.send("github", json({ action: "opened", number: 1347 }), { forged: true });
  await gateway.send("github", json({ action: "closed", number: 1347, repository: { full_name: "acme/shop" } }));
  await gateway.send("stripe", invoice("evt_1PXk5bLkdIwHuT47", 4900));
  await gateway.sendRaw("GET /.env HTTP/1.1\r\nhost: hooks.example\r\nconnection: close\r\n\r\n");
  const signed = invoice("evt_1PXk6QLkdIwHuZ33", 31900);
  const headers = SIGN.stripe(signed, "whsec_test_3f0c9a7d51e84b26");
  await gateway.send("stripe", json(JSON.parse(signed)).replace(/([:,])/g, "$1 "), { headers });
  await gateway.send("stripe", invoice("evt_1PXk7eLkdIwHuK19", 8900));
  const found = await until(async () => {
    const page = await (await gateway.api("deliveries")).json();
    return page.deliveries.length >= 13 && page.deliveries;
  }, "the records");
  const requestOf = (outcome) => found.find((one) => one.source === "stripe" && one.outcome === outcome).request_id;
  return { refused: requestOf("refused"), forwarded: requestOf("forwarded") };
}

async function picture(browser, url, token, name, ready, options) {
  const opened = await openSignedIn(browser, url, token, { viewport: { width: 1280, height: 800 }, reducedMotion: "reduce", ...options });
  await opened.page.locator(ready).first().waitFor();
  await until(() => opened.page.evaluate(() => document.fonts.status === "loaded"), "the fonts");
  const path = join(folder, `${name}.png`);
  await opened.page.locator("#live[data-state=live], #status:not([hidden])").first().waitFor();
  if (options?.scrollTo) await opened.page.locator(options.scrollTo).evaluate((element) => element.closest("section").scrollIntoView());
  await opened.page.screenshot({ path });
  await opened.assertClean();
  await opened.close();
  if (statSync(path).size > LARGEST) throw new Error(`${path} has ${statSync(path).size} bytes; expected at most ${LARGEST}`);
}

try {
  mkdirSync(folder, { recursive: true });
  const browser = await launch();
  cleanups.push(() => browser.close());
  const upstream = await startUpstream();
  cleanups.push(() => upstream.close());
  const gateway = await startGateway(upstream);
  cleanups.push(() => gateway.close());
  const { refused, forwarded } = await traffic(gateway, upstream);
  const mock = await startMock({ after: (cleanup) => cleanups.push(cleanup) }, data());
  await picture(browser, gateway.url, ACT, "list", "#rows tr");
  await picture(browser, `${gateway.url}?id=${refused}`, ACT, "refused", ".causes");
  await picture(browser, `${gateway.url}?id=${forwarded}`, ACT, "dark", ".json-key", { colorScheme: "dark", scrollTo: ".request-line" });
  await picture(browser, gateway.url, ACT, "phone", "#rows tr", { viewport: { width: 390, height: 780 } });
  await picture(browser, `${mock.url}?view=status`, TOKEN, "status", "#status-rates svg", { viewport: { width: 1280, height: 1240 } });
} finally {
  for (const cleanup of cleanups.reverse()) await cleanup();
}
