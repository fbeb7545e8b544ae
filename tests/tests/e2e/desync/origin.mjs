// An app for Node.js. It writes each complete request to the file in ORIGIN_LOG, as JSON in one line.

import { appendFileSync } from "node:fs";
import { createServer } from "node:http";

const server = createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("error", () => {});
  request.on("end", () => {
    const raw = request.rawHeaders;
    const fields = raw.flatMap((name, at) => (at % 2 === 0 ? [[name, raw[at + 1]]] : []));
    const body = Buffer.concat(chunks).toString("hex");
    const record = { method: request.method, target: request.url, fields, body };
    appendFileSync(process.env.ORIGIN_LOG, `${JSON.stringify(record)}\n`);
    response.writeHead(204).end();
  });
});
server.listen(Number(process.argv[2]), "127.0.0.1");
