// Text that a sender controls, made safe to read: characters that hide, reorder or split text
// become visible escapes. The page writes all text through this module, and never as markup.

// Control and format characters, halves of surrogate pairs, separators other than the space, and
// letters without a shape. Bidirectional overrides (CVE-2021-42574) are format characters.
const HIDDEN =
  /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0]+/gu;

const SHORT = new Map([[0, "\\0"], [9, "\\t"], [10, "\\n"], [13, "\\r"], [27, "\\e"]]);

function escape(character) {
  const code = character.codePointAt(0);
  return SHORT.get(code) ?? `\\u{${code.toString(16)}}`;
}

function escapeAll(text) {
  let escaped = "";
  for (const character of text) escaped += escape(character);
  return escaped;
}

/** Returns the text on one line with its hidden characters as escapes, for titles and labels. */
export function visible(text) {
  return String(text).replace(HIDDEN, escapeAll);
}

/** Returns at most `limit` characters of the visible text. */
export function clip(text, limit) {
  const whole = String(text);
  const shown = visible(whole.slice(0, limit + 1));
  return shown.length <= limit && whole.length <= limit ? shown : `${shown.slice(0, limit)}…`;
}

/**
 * Returns DOM nodes for the text: plain text, and a marked element for each run of hidden
 * characters. With `lines`, line feeds and tabs stay as they are.
 */
export function nodes(text, { lines = false } = {}) {
  const out = document.createDocumentFragment();
  let last = 0;
  for (const match of text.matchAll(HIDDEN)) {
    const run = match[0];
    if (lines && /^[\n\t]+$/.test(run)) continue;
    out.append(text.slice(last, match.index));
    last = match.index + run.length;
    for (const piece of lines ? run.split(/([\n\t]+)/) : [run]) {
      if (piece === "") continue;
      if (lines && /^[\n\t]+$/.test(piece)) out.append(piece);
      else out.append(mark(piece));
    }
  }
  out.append(text.slice(last));
  return out;
}

function mark(run) {
  const element = document.createElement("span");
  element.className = "hidden-char";
  element.textContent = escapeAll(run);
  element.title = "This is a character that does not show by itself.";
  return element;
}
