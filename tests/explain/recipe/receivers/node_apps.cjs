// Web applications of Node.js frameworks that read a delivery in a wrong way.
//
// The path `/as/KIND` chooses how. Each response says what the application has: the headers, the
// body, and for other paths the address. The process prints its ports and ends with its input.

const util = require('node:util');
const express = require('express');
const bodyParser = require('body-parser');
const methodOverride = require('method-override');
const multer = require('multer');
const qs = require('qs');
const stable = require('json-stable-stringify');
const Fastify = require('fastify');
const Koa = require('koa');
const koaBody = require('koa-bodyparser');
const { Hono } = require('hono');
const { serve } = require('@hono/node-server');
const pino = require('pino');

const pairs = (raw) => raw.flatMap((name, i) => (i % 2 ? [] : [[name, raw[i + 1]]]));
const joined = (headers) => Object.entries(headers).map(([name, value]) => [name, String(value)]);
const seen = (headers, body, url, method = 'POST') =>
  JSON.stringify({ headers, url, method, body: Buffer.from(body).toString('base64') });

// Express

const json = express.json({ limit: '4mb' });
const raw = express.raw({ type: '*/*', limit: '4mb' });
const extended = express.urlencoded({ extended: true });
const simple = express.urlencoded({ extended: false });

// How the application reads the body: the middleware, and what it makes of `req.body`.
const EXPRESS = {
  stringify: [json, (body) => JSON.stringify(body)],
  indent: [json, (body) => JSON.stringify(body, null, 2)],
  tab: [json, (body) => JSON.stringify(body, null, '\t')],
  stable: [json, (body) => stable(body)],
  string: [json, (body) => `${body}`],
  inspect: [json, (body) => util.inspect(body, { depth: 9 })],
  twice: [json, (body) => JSON.stringify(JSON.stringify(body))],
  'text-twice': [express.text({ type: '*/*' }), (body) => JSON.stringify(body)],
  part: [json, (body) => JSON.stringify(body.data)],
  wrapped: [json, (body) => JSON.stringify({ receivedAt: '2026-11-18T14:32:25.204Z', body })],
  'no-parser': [(req, res, next) => next(), (body) => String(body)],
  'wrong-type': [
    bodyParser.json({ type: 'application/vnd.api+json' }),
    (body) => JSON.stringify(body ?? {}),
  ],
  'form-qs': [extended, (body) => qs.stringify(body)],
  'form-qs-rfc1738': [extended, (body) => qs.stringify(body, { format: 'RFC1738' })],
  'form-params': [simple, (body) => new URLSearchParams(body).toString()],
  'form-json': [simple, (body) => JSON.stringify(body)],
  'form-payload': [simple, (body) => body.payload],
  'form-trim': [
    simple,
    (body) => qs.stringify(Object.fromEntries(Object.entries(body).map(([k, v]) => [k, v.trim()]))),
  ],
  'json-as-form': [json, (body) => new URLSearchParams(body).toString()],
  'json-as-qs': [json, (body) => qs.stringify(body)],
  raw: [raw, (body) => body],
  latin1: [raw, (body) => body.toString('latin1')],
  ascii: [raw, (body) => body.toString('ascii')],
  'latin1-bytes': [raw, (body) => Buffer.from(body.toString('utf8'), 'latin1')],
  utf16: [raw, (body) => Buffer.from(body.toString('utf8'), 'utf16le')],
  base64: [raw, (body) => body.toString('base64')],
  'buffer-json': [raw, (body) => JSON.stringify(body)],
  encodeuri: [raw, (body) => encodeURIComponent(body.toString())],
  doubled: [raw, (body) => Buffer.concat([body, body])],
  'multipart-json': [multer().none(), (body) => JSON.stringify(body)],
};

function expressApp() {
  const app = express();
  app.post('/as/:kind', (req, res, next) => {
    const [middleware, make] = EXPRESS[req.params.kind];
    middleware(req, res, (error) => {
      if (error) return next(error);
      res.send(seen(pairs(req.rawHeaders), make(req.body), null));
    });
  });
  // Node.js joins repeated headers in `req.headers`.
  app.all('/joined/*rest', raw, (req, res) => {
    res.send(seen(joined(req.headers), req.body, null, req.method));
  });
  app.all('/override/*rest', methodOverride('X-HTTP-Method-Override'), raw, (req, res) => {
    const url = `${req.protocol}://${req.get('host')}${req.originalUrl}`;
    res.send(seen(pairs(req.rawHeaders), req.body, url, req.method));
  });
  app.all('/mounted', (req, res) => res.end());
  const hooks = express.Router();
  hooks.all('/*rest', raw, (req, res) => {
    res.send(seen(pairs(req.rawHeaders), req.body, `https://${req.get('host')}${req.url}`, req.method));
  });
  app.use('/api', hooks);
  app.all('/*rest', raw, (req, res) => {
    const url = `${req.protocol}://${req.get('host')}${req.originalUrl}`;
    const body = Buffer.isBuffer(req.body) ? req.body : '';
    res.send(seen(pairs(req.rawHeaders), body, url, req.method));
  });
  return app;
}

// Fastify: the response schema decides which members are written, and in which order.

async function fastify() {
  const app = Fastify({ bodyLimit: 4 << 20 });
  const lines = [];
  const log = pino({ base: null, timestamp: false }, { write: (line) => lines.push(line) });
  await app.register(require('@fastify/formbody'));
  const serializer = require('fast-json-stringify');
  const narrow = serializer({
    type: 'object',
    properties: {
      type: { type: 'string' },
      data: { type: 'object', additionalProperties: true },
      timestamp: { type: 'string' },
    },
  });
  app.post('/as/:kind', async (req) => {
    const make = {
      stringify: () => JSON.stringify(req.body),
      schema: () => narrow(req.body),
      'form-json': () => JSON.stringify(req.body),
      log: () => (log.info({ body: JSON.stringify(req.body) }, 'webhook'), lines.pop()),
    }[req.params.kind];
    return seen(pairs(req.raw.rawHeaders), make(), null);
  });
  return app;
}

function koa() {
  const app = new Koa();
  app.use(koaBody({ jsonLimit: '4mb' }));
  app.use((ctx) => {
    const kind = ctx.path.split('/').pop();
    const body = {
      stringify: () => JSON.stringify(ctx.request.body),
      'raw-body': () => ctx.request.rawBody,
      reread: () => ctx.req.read() ?? '',
    }[kind]();
    ctx.body = seen(pairs(ctx.req.rawHeaders), body, null);
  });
  return app;
}

// Hono and Next.js read the body with the methods of the Fetch API.

function hono() {
  const app = new Hono();
  app.post('/as/:kind', async (c) => {
    const headers = [...c.req.raw.headers];
    const kinds = {
      stringify: async () => JSON.stringify(await c.req.json()),
      'next-json': async () => JSON.stringify(await new Request(c.req.raw).json(), null, 4),
      text: () => c.req.text(),
      'parse-body': async () => JSON.stringify(await c.req.parseBody()),
      'form-data': async () => new URLSearchParams(await c.req.raw.formData()).toString(),
    };
    return c.body(seen(headers, await kinds[c.req.param('kind')](), null));
  });
  app.all('*', async (c) => c.body(seen([...c.req.raw.headers], await c.req.text(), c.req.url, c.req.method)));
  return app;
}

async function nest() {
  require('reflect-metadata');
  const { NestFactory } = require('@nestjs/core');
  const { Module, Controller, Post, Body, Headers, Bind } = require('@nestjs/common');
  class Hooks {
    stringify(body, headers) {
      return seen(joined(headers), JSON.stringify(body), null);
    }
  }
  Controller('as')(Hooks);
  Bind(Body(), Headers())(Hooks.prototype, 'stringify', Object.getOwnPropertyDescriptor(Hooks.prototype, 'stringify'));
  Post('stringify')(Hooks.prototype, 'stringify', Object.getOwnPropertyDescriptor(Hooks.prototype, 'stringify'));
  class App {}
  Module({ controllers: [Hooks] })(App);
  const app = await NestFactory.create(App, { logger: false });
  await app.listen(0, '127.0.0.1');
  return app.getHttpServer().address().port;
}

const port = (server) =>
  new Promise((resolve) => server.on('listening', () => resolve(server.address().port)));

async function main() {
  const ports = {
    express: await port(expressApp().listen(0, '127.0.0.1')),
    koa: await port(koa().listen(0, '127.0.0.1')),
    hono: await port(serve({ fetch: hono().fetch, port: 0, hostname: '127.0.0.1' })),
    nest: await nest(),
  };
  const fast = await fastify();
  await fast.listen({ port: 0, host: '127.0.0.1' });
  ports.fastify = fast.server.address().port;
  console.log(JSON.stringify(ports));
  process.stdin.resume().on('end', () => process.exit(0));
}

main();
