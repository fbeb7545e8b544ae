// JSON with indentation and colours. Each token keeps its exact text: long numbers, escapes and
// repeated keys stay as the sender wrote them, which a parser and a serializer would change.

import { el } from "./dom.js";
import { nodes } from "./text.js";

const TOKEN = /\s*(?:([{}[\],:])|("[^"\\]*(?:\\[\s\S][^"\\]*)*")|(-?[0-9][0-9.eE+-]*)|(true|false|null))/y;
// Hostile nesting would make the indentation quadratic in the length of the body.
const DEEPEST_INDENT = 32;
const MOST_MARKS = 5_000;

/**
 * Returns a fragment with the JSON indented, or null if the text is not JSON. With `cut`, the text
 * is the beginning of a document.
 */
export function pretty(text, { cut = false } = {}) {
  if (!cut && !isJson(text)) return null;
  const tokens = tokenize(text, cut);
  return tokens === null ? null : new Printer().print(tokens);
}

function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function tokenize(text, cut) {
  const tokens = [];
  TOKEN.lastIndex = 0;
  for (;;) {
    const start = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (match === null) {
      const rest = text.slice(start).trim();
      if (rest === "") return tokens.length > 0 ? tokens : null;
      if (!cut || tokens.length === 0 || !"{[".includes(tokens[0].text)) return null;
      tokens.push({ kind: "rest", text: rest });
      return tokens;
    }
    const [, mark, string, number, literal] = match;
    if (mark) tokens.push({ kind: "mark", text: mark });
    else if (string) tokens.push({ kind: "string", text: string });
    else tokens.push({ kind: number ? "number" : "literal", text: number ?? literal });
  }
}

class Printer {
  #out = document.createDocumentFragment();
  #plain = "";
  #marks = 0;
  #depth = 0;

  print(tokens) {
    tokens.forEach((token, index) => {
      if (token.kind === "mark") this.#mark(token.text, tokens[index - 1], tokens[index + 1]);
      else this.#value(token, tokens[index + 1]?.text === ":");
    });
    this.#flush();
    return this.#out;
  }

  #mark(text, previous, next) {
    const isOpen = text === "{" || text === "[";
    const isClose = text === "}" || text === "]";
    if (isClose) {
      this.#depth -= 1;
      if (!"{[".includes(previous?.text)) this.#line();
    }
    this.#plain += text === ":" ? ": " : text;
    if (isOpen) this.#depth += 1;
    if (text === "," || (isOpen && !"}]".includes(next?.text))) this.#line();
  }

  #value(token, isKey) {
    if (this.#marks >= MOST_MARKS) {
      this.#plain += token.text;
      return;
    }
    this.#marks += 1;
    this.#flush();
    const name = isKey ? "json-key" : `json-${token.kind}`;
    const span = el("span", { class: name });
    span.append(nodes(token.text, { lines: token.kind === "rest" }));
    this.#out.append(span);
  }

  #line() {
    this.#plain += this.#depth > DEEPEST_INDENT ? " " : `\n${"  ".repeat(Math.max(this.#depth, 0))}`;
  }

  #flush() {
    if (this.#plain !== "") this.#out.append(nodes(this.#plain, { lines: true }));
    this.#plain = "";
  }
}
