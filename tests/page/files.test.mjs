// The files of the page, without a browser: forbidden constructs, and texts that must be complete.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { clip, visible } from "../../gateway/src/admin/page/text.js";
import { REASONS } from "../../gateway/src/admin/page/reasons.js";

const FOLDER = new URL("../../gateway/src/admin/page/", import.meta.url);
const read = (name) => readFileSync(new URL(name, FOLDER), "utf8");
const SCRIPTS = readdirSync(FOLDER).filter((name) => name.endsWith(".js"));

// Each pattern, and a line that it must find.
const FORBIDDEN = {
  "markup in text": [/innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|setHTML/, "x.innerHTML = y"],
  "code in text": [/\beval\(|new Function|setTimeout\(["'`]|import\(/, "eval(x)"],
  "the token outside of the session storage": [/localStorage|document\.cookie|indexedDB/, "localStorage.x = 1"],
  "another host": [/["'`](https?:)?\/\/(?!www\.w3\.org)/, 'fetch("https://example.com")'],
  "a style attribute": [/setAttribute\("style"|[{ ]style: /, 'el("p", { style: x })'],
};

test("the scripts have no forbidden construct", () => {
  for (const [what, [pattern, control]] of Object.entries(FORBIDDEN)) {
    assert.match(control, pattern, "the pattern finds its control");
    for (const name of SCRIPTS) assert.doesNotMatch(read(name), pattern, `${name}: ${what}`);
  }
  const markup = read("index.html");
  assert.doesNotMatch(markup, / style=| on[a-z]+=|<script>|<style|javascript:/);
});

test("every file of the folder is served, and every served file exists", () => {
  const served = [...read("mod.rs").matchAll(/^ {4}"\/[^"]*" = "([^"]+)",/gm)].map(([, file]) => file).sort();
  const files = readdirSync(FOLDER).filter((name) => name !== "mod.rs").sort();
  assert.deepEqual(served, files);
});

test("every reason has a meaning and a remedy", () => {
  const table = readFileSync(new URL("../../docs/network.md", import.meta.url), "utf8");
  const [, reasons] = table.split("| reason | status | `Retry-After` |");
  const documented = [...reasons.split("\n\n")[0].matchAll(/^\| `([a-z_]+)` \| \d{3} \|/gm)].map(([, label]) => label);
  assert.ok(documented.length > 40);
  assert.deepEqual([...REASONS].sort(), documented.sort());
});

test("every element that a script asks for exists", () => {
  const ids = new Set([...read("index.html").matchAll(/ id="([^"]+)"/g)].map(([, id]) => id));
  for (const name of SCRIPTS) {
    for (const [, id] of read(name).matchAll(/byId\("([^"]+)"\)/g)) {
      if (!["detail-title", "entry-title"].includes(id)) assert.ok(ids.has(id), `${name} asks for ${id}`);
    }
  }
});

test("hidden characters become escapes, and the rest stays as it is", () => {
  const cases = [
    ["plain ünïcödé 漢字", "plain ünïcödé 漢字"], ["a\u0000b\tc\r\n", "a\\0b\\tc\\r\\n"], ["\u001b[31m", "\\e[31m"],
    ["\u202egnp.exe", "\\u{202e}gnp.exe"], ["z\u200b\u200dw\ufeff", "z\\u{200b}\\u{200d}w\\u{feff}"], ["\u00a0\u2028", "\\u{a0}\\u{2028}"],
    ["\ud800", "\\u{d800}"], ["\u{e0041}", "\\u{e0041}"],
  ];
  for (const [text, expected] of cases) assert.equal(visible(text), expected);
  assert.equal(clip("x".repeat(500), 10), `${"x".repeat(10)}…`);
  assert.equal(clip("short", 10), "short");
});
