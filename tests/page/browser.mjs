// Chromium, pages that notice every fault, and the accessibility check.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { existsSync, readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Starts Chromium. */
export function launch() {
  return chromium.launch({
    executablePath: ["/usr/bin/chromium", "/usr/bin/google-chrome"].find((path) => existsSync(path)),
    // A container has no user namespaces for the sandbox, and a small /dev/shm.
    args: ["--no-sandbox", "--disable-dev-shm-usage"],
  });
}

/**
 * Opens a page that records its faults: messages on the console, exceptions, violations of the
 * content security policy, dialogs, and requests to other hosts. `expected` are patterns of console
 * messages that the test causes, such as a response with the status 401.
 */
export async function openPage(browser, url, { expected = [], ...options } = {}) {
  const context = await browser.newContext({
    viewport: { width: 1440, height: 900 }, acceptDownloads: true, locale: "en-GB", timezoneId: "UTC",
    ...options,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const faults = [];
  const origin = new URL(url).origin;
  page.on("console", (message) => {
    const text = `${message.type()}: ${message.text()} ${message.location().url}`;
    if (message.type() === "debug" || expected.some((pattern) => pattern.test(text))) return;
    faults.push(text);
  });
  page.on("pageerror", (error) => faults.push(`exception: ${error.stack}`));
  page.on("dialog", async (dialog) => {
    faults.push(`dialog: ${dialog.message()}`);
    await dialog.dismiss();
  });
  page.on("request", (request) => {
    const target = new URL(request.url());
    if (target.origin !== origin && target.protocol !== "blob:") faults.push(`request: ${request.url()}`);
  });
  context.on("page", (opened) => faults.push(`window: ${opened.url()}`));
  await page.addInitScript(() => {
    globalThis.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => {
      globalThis.violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`);
    });
  });
  await page.goto(url);
  return {
    page,
    /** Returns everything that went wrong so far. */
    async faults() {
      const violations = await page.evaluate(() => globalThis.violations);
      const pwned = await page.evaluate(() => globalThis.pwned);
      return [...faults, ...violations.map((text) => `policy: ${text}`),
        ...(pwned === undefined ? [] : [`canary: ${pwned}`])];
    },
    async assertClean() {
      assert.deepEqual(await this.faults(), []);
    },
    close: () => context.close(),
  };
}

/** Opens a page and signs in. */
export async function openSignedIn(browser, url, token, options = {}) {
  const opened = await openPage(browser, url, options);
  await signIn(opened.page, token);
  await opened.page.locator("#app").waitFor();
  return opened;
}

/** Enters a token in the form. */
export async function signIn(page, token) {
  await page.locator("#token").fill(token);
  await page.locator("#sign-in-form button").click();
}

/** Asserts that axe finds no serious or critical fault in the page as it is now. */
export async function assertAccessible(page, where) {
  await page.evaluate(AXE);
  // The colours of an element that is still fading in are not its final ones.
  await page.evaluate(() => Promise.all(document.getAnimations().map((animation) => animation.finished)));
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  }));
  const bad = violations.filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html.slice(0, 200)).join(" | ")}`);
  assert.deepEqual(bad, [], where);
}

/** Asserts that the page does not scroll sideways. */
export async function assertNoSidewaysScroll(page, where) {
  const [content, window] = await page.evaluate(() =>
    [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(content <= window, `${where}: the content is ${content} pixels wide, the window ${window}`);
}

/** Goes to an address of the page without a new document, as the back button does. */
export function go(page, address) {
  return page.evaluate((target) => {
    history.pushState(null, "", target);
    dispatchEvent(new PopStateEvent("popstate"));
  }, address);
}

/** Waits until `check` returns a true value, and returns it. */
export async function until(check, what) {
  const end = Date.now() + 20_000;
  while (Date.now() < end) {
    const value = await check();
    if (value) return value;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  assert.fail(`timed out: ${what}`);
}
