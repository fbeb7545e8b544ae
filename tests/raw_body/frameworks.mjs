// Runs the handlers of docs/mismatch.md in their frameworks.
//
// Standard input is a JSON object: `handlers` by framework, and `deliveries` as pairs of a content
// type and a body in hex. Standard output is a JSON object: by framework, the body in hex that the
// handler passed to `verify` for each delivery. The first argument is the folder that has
// node_modules.

import { createRequire } from "node:module";
import { text } from "node:stream/consumers";
import path from "node:path";

const require = createRequire(path.join(path.resolve(process.argv[2]), "index.js"));

// Stands in for the check of a signature: responds with the bytes that it would check.
const verify = (headers, body) => body.toString("hex");

const run = (source, names) => new Function(...Object.keys(names), source)(...Object.values(names));

// Sends the deliveries to `server`, and returns the bodies of its responses.
async function post(server, deliveries) {
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${server.address().port}/hooks`;
  const bodies = [];
  for (const [type, body] of deliveries) {
    const response = await fetch(url, { method: "POST", headers: { "content-type": type }, body });
    bodies.push(await response.text());
  }
  server.closeAllConnections();
  server.close();
  return bodies;
}

const { createServer } = await import("node:http");

const FRAMEWORKS = {
  Express(source, deliveries) {
    const express = require("express");
    const app = express();
    run(source, { app, express, verify });
    return post(createServer(app), deliveries);
  },
  async Fastify(source, deliveries) {
    const app = require("fastify")();
    run(source, { app, verify });
    await app.ready();
    return post(createServer(app.routing), deliveries);
  },
  Koa(source, deliveries) {
    const Koa = require("koa");
    const app = new Koa();
    run(source, { app, verify });
    return post(createServer(app.callback()), deliveries);
  },
  async Hono(source, deliveries) {
    const { Hono } = require("hono");
    const app = new Hono();
    run(source, { app, verify });
    return Promise.all(
      deliveries.map(async ([type, body]) => {
        const headers = { "content-type": type };
        return (await app.request("/hooks", { method: "POST", headers, body })).text();
      }),
    );
  },
  async "Next.js"(source, deliveries) {
    const POST = run(`${source.replace("export ", "")}; return POST;`, { verify });
    return Promise.all(
      deliveries.map(async ([type, body]) => {
        const headers = { "content-type": type };
        const request = new Request("http://localhost/hooks", { method: "POST", headers, body });
        return (await POST(request)).text();
      }),
    );
  },
};

const given = JSON.parse(await text(process.stdin));
const deliveries = given.deliveries.map(([type, hex]) => [type, Buffer.from(hex, "hex")]);
const bodies = {};
for (const [name, source] of Object.entries(given.handlers)) {
  bodies[name] = await FRAMEWORKS[name](source, deliveries);
}
process.stdout.write(JSON.stringify(bodies));
