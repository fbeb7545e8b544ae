// The stream of new deliveries: server-sent events read with fetch, because `EventSource` cannot
// send the token. A stream that breaks off is opened again with a growing pause.

import { Failure, request } from "./api.js";

// The gateway sends a comment every 15 seconds. A longer silence means a dead connection.
const SILENCE = 40_000;
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 15_000;
// A hidden tab releases its connection: a browser has only six for one address.
const HIDDEN = 30_000;

/** Follows the deliveries that match the filters. */
export class Stream {
  #handlers;
  #controller = null;
  #filters = {};
  #hiddenTimer = null;
  #asleep = false;
  #wake = null;

  /**
   * `handlers` has `deliveries(records, skipped)`, `state(name, seconds, failure)` with the names
   * "live", "connecting", "waiting" and "stopped", and `catchUp(signal)`, which reads the list anew
   * and returns the sequence number to follow from.
   */
  constructor(handlers) {
    this.#handlers = handlers;
    document.addEventListener("visibilitychange", () => this.#visibility());
  }

  /**
   * Starts to follow after the sequence number `after`, in place of an earlier start. Without a
   * number, the stream catches up first.
   */
  start(filters, after) {
    this.stop();
    const controller = new AbortController();
    this.#controller = controller;
    this.#filters = filters;
    this.#run(controller.signal, filters, after);
  }

  stop() {
    this.#controller?.abort();
    this.#controller = null;
    this.#asleep = false;
  }

  /** Ends a pause before the next attempt. */
  retryNow() {
    this.#wake?.();
  }

  async #run(signal, filters, after) {
    let pause = FIRST_PAUSE;
    let position = after;
    while (!signal.aborted) {
      const opened = Date.now();
      let failure = null;
      try {
        if (position === null) position = await this.#handlers.catchUp(signal);
        await this.#read(signal, { ...filters, after: position });
      } catch (error) {
        // The browser's own texts about a broken connection do not help.
        failure = error instanceof Failure ? error : null;
      }
      if (signal.aborted) return;
      if ([400, 401, 403].includes(failure?.status)) {
        this.#handlers.state("stopped", 0, failure);
        return;
      }
      if (Date.now() - opened > LONGEST_PAUSE) pause = FIRST_PAUSE;
      position = null;
      const wait = Math.max(pause * (0.75 + Math.random() / 2), (failure?.retryAfter ?? 0) * 1000);
      this.#handlers.state("waiting", Math.ceil(wait / 1000), failure);
      await this.#sleep(wait, signal);
      pause = Math.min(pause * 2, LONGEST_PAUSE);
    }
  }

  async #read(outer, query) {
    const inner = new AbortController();
    const abort = () => inner.abort();
    outer.addEventListener("abort", abort);
    let watchdog = setTimeout(abort, SILENCE);
    this.#handlers.state("connecting");
    try {
      const response = await request("stream", {
        query, signal: inner.signal, accept: "text/event-stream",
      });
      this.#handlers.state("live");
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      const parser = new EventParser((event) => this.#deliver(event, outer));
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(watchdog);
        watchdog = setTimeout(abort, SILENCE);
        parser.push(value);
      }
    } finally {
      clearTimeout(watchdog);
      outer.removeEventListener("abort", abort);
      inner.abort();
    }
  }

  #deliver(event, signal) {
    if (signal.aborted || event.type !== "deliveries") return;
    const { deliveries = [], skipped = 0 } = JSON.parse(event.data);
    this.#handlers.deliveries(deliveries, skipped);
  }

  #sleep(milliseconds, signal) {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        this.#wake = null;
        resolve();
      };
      const timer = setTimeout(done, milliseconds);
      signal.addEventListener("abort", done);
      this.#wake = done;
    });
  }

  #visibility() {
    clearTimeout(this.#hiddenTimer);
    if (document.hidden) {
      this.#hiddenTimer = setTimeout(() => this.#sleepWhileHidden(), HIDDEN);
    } else if (this.#asleep) {
      this.start(this.#filters, null);
    }
  }

  #sleepWhileHidden() {
    if (this.#controller === null) return;
    this.stop();
    this.#asleep = true;
  }
}

/** Splits text into server-sent events. */
export class EventParser {
  #emit;
  #rest = "";
  #type = "message";
  #data = [];

  constructor(emit) {
    this.#emit = emit;
  }

  push(text) {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop();
    for (const line of lines) this.#line(line.endsWith("\r") ? line.slice(0, -1) : line);
  }

  #line(line) {
    if (line === "") {
      if (this.#data.length > 0) this.#emit({ type: this.#type, data: this.#data.join("\n") });
      this.#type = "message";
      this.#data = [];
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#type = value;
    else if (field === "data") this.#data.push(value);
  }
}
