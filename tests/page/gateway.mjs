// A real gateway with a temporary configuration, an upstream, and senders with real signatures.

import { execFileSync, spawn } from "node:child_process";
import { createHmac, randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const BINARY = process.env.HOOKGATE_UNDER_TEST
  ?? fileURLToPath(new URL("../../target/debug/hookgate-under-test", import.meta.url));

export const ACT = "act-token-0123456789abcdef";
export const READ = "read-token-0123456789abcdef";
const SECRETS = {
  stripe: "whsec_test_3f0c9a7d51e84b26", github: "github-test-secret-71c2", slack: "5d0c8a1f2b3e49706c7d8e9fa0b1c2d3",
};

// The lines of a source whose failed deliveries wait for an hour.
const QUEUED = 'queue = "on_failure"\nretry = { first = "1h", max = "1h", give_up = "24h" }\n';

function config({ listen, admin, upstream, folder, queued }) {
  return `
[server]
listen = ["${listen}"]
admin = "${admin}"

[replay]
store = "disk"
path = "${folder}/replay"

${queued ? `[queue]\nstore = "disk"\npath = "${folder}/queue"\n` : ""}
[inspector]
tokens = [{ name = "ops", from = "env:ACT_TOKEN", may = "act" }, { name = "support", from = "env:READ_TOKEN", may = "read" }]
capture = "all"
redact = ["/card/number"]

[upstreams.app]
servers = ["${upstream}"]
${Object.keys(SECRETS).map((name) => `
[[sources]]
name = "${name}"
path = "/hooks/${name}"
provider = "${name}"
secrets = ["env:${name.toUpperCase()}_SECRET"]
upstream = "app"
${queued ? QUEUED : ""}`).join("")}`;
}

/** Starts an upstream that keeps the requests it gets. `status()` is the status of its responses. */
export async function startUpstream() {
  const arrived = [];
  const upstream = { arrived, status: () => 204 };
  const server = createServer((request, response) => {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      arrived.push({ headers: request.headers, body: Buffer.concat(chunks).toString() });
      response.writeHead(upstream.status()).end();
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  upstream.address = `127.0.0.1:${server.address().port}`;
  upstream.close = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return upstream;
}

/** Starts a gateway in front of the upstream. With `queued`, its sources have a queue. */
export async function startGateway(upstream, { queued = false } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "hookgate-page-"));
  const gateway = new Gateway(folder, upstream, queued);
  await gateway.start();
  return gateway;
}

class Gateway {
  #folder;
  #upstream;
  #queued;
  #process;
  #log = [];
  listen = "127.0.0.1:0";
  admin = "127.0.0.1:0";

  constructor(folder, upstream, queued) {
    this.#folder = folder;
    this.#upstream = upstream;
    this.#queued = queued;
  }

  get url() {
    return `http://${this.admin}/`;
  }

  /** Starts the process; after a stop, on the same addresses. */
  async start() {
    const file = join(this.#folder, "gateway.toml");
    writeFileSync(file, config({ listen: this.listen, admin: this.admin, upstream: this.#upstream.address, folder: this.#folder, queued: this.#queued }));
    const secrets = Object.entries(SECRETS).map(([name, secret]) => [`${name.toUpperCase()}_SECRET`, secret]);
    this.#process = spawn(BINARY, ["run", "--config", file, "--log", "json"], {
      env: { ...process.env, ACT_TOKEN: ACT, READ_TOKEN: READ, ...Object.fromEntries(secrets) },
      stdio: ["ignore", "ignore", "pipe"],
    });
    await new Promise((resolve, reject) => {
      this.#process.once("exit", () => reject(new Error(`the gateway ended:\n${this.#log.join("\n")}`)));
      createInterface({ input: this.#process.stderr }).on("line", (line) => {
        this.#log.push(line);
        const { role, address } = fieldsOf(line);
        if (role === "deliveries") this.listen = address;
        if (role === "admin") this.admin = address;
        if (!this.listen.endsWith(":0") && role === "admin") resolve();
      });
    });
    this.#process.removeAllListeners("exit");
  }

  /** Kills the process and waits for its end. */
  async stop() {
    const ended = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.kill("SIGKILL");
    await ended;
  }

  async close() {
    await this.stop();
    rmSync(this.#folder, { recursive: true });
  }

  get log() {
    return this.#log.join("\n");
  }

  /** Sends a delivery. Returns the status and the headers of the response. */
  async send(source, body, { headers = {}, path = `/hooks/${source}`, forged = false } = {}) {
    const signed = SIGN[source](body, forged ? "another-secret-0123" : SECRETS[source]);
    const response = await fetch(`http://${this.listen}${path}`, {
      method: "POST", body, headers: { "content-type": "application/json", "user-agent": "page-test/1", ...signed, ...headers },
    });
    await response.arrayBuffer();
    return { status: response.status, id: response.headers.get("x-request-id"), outcome: response.headers.get("hookgate-outcome") };
  }

  /** Sends the bytes of a request as they are. */
  sendRaw(head, body = "") {
    return new Promise((resolve, reject) => {
      const [host, port] = this.listen.split(":");
      const socket = connect(Number(port), host, () => socket.end(Buffer.concat([Buffer.from(head, "latin1"), Buffer.from(body)])));
      socket.on("close", resolve).on("error", reject).resume();
    });
  }

  /** Calls the API. */
  async api(path, token = ACT, options = {}) {
    return fetch(`${this.url}api/${path}`, { ...options, headers: { authorization: `Bearer ${token}`, ...options.headers } });
  }
}

function fieldsOf(line) {
  try {
    return JSON.parse(line).fields ?? {};
  } catch {
    return {};
  }
}

const now = () => Math.floor(Date.now() / 1000) + 2;
const hmac = (secret, text) => createHmac("sha256", secret).update(text).digest("hex");

/** Returns the headers with which each provider signs a body. */
export const SIGN = {
  stripe(body, secret) {
    const time = now();
    return { "stripe-signature": `t=${time},v1=${hmac(secret, `${time}.${body}`)}` };
  },
  github(body, secret) {
    return { "x-hub-signature-256": `sha256=${hmac(secret, body)}`, "x-github-event": "push", "x-github-delivery": randomUUID() };
  },
  slack(body, secret) {
    const time = String(now());
    return { "x-slack-request-timestamp": time, "x-slack-signature": `v0=${hmac(secret, `v0:${time}:${body}`)}` };
  },
};

/** Runs a command of the gateway's binary and returns its output. */
export const run = (...args) => execFileSync(BINARY, args, { encoding: "utf8" });
