// Signs and verifies deliveries with the providers' own JavaScript libraries, for
// `tests/e2e/provider_sdks`.
//
// The process reads one JSON request a line and writes one JSON response a line. The test copies
// this file into the folder of the libraries, so that their names resolve.
//
//   {"op":"verify","provider":"stripe","package":"stripe","secret":"…","method":"POST",
//    "url":"https://…","headers":[["stripe-signature","…"]],"body":"BASE64","params":{}}
//   {"op":"sign",…,"at":1790000000,"id":"msg_1"}
//
// The response is {"accepted":true}, {"accepted":false,"error":"…"} or, to a signing request,
// {"headers":[["name","value"]],"body":"BASE64"}.

import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";

const require = createRequire(import.meta.url);

/** Loads a library, whether it is a CommonJS or an ECMAScript module. */
async function load(name) {
  try {
    return require(name);
  } catch (error) {
    if (!["ERR_REQUIRE_ESM", "ERR_PACKAGE_PATH_NOT_EXPORTED"].includes(error.code)) throw error;
    return import(name);
  }
}

/** Returns the headers of a delivery under the names that a library gives them. */
const pick = (delivery, names) =>
  Object.fromEntries(Object.entries(names).map(([key, name]) => [key, delivery.headers[name]]));

const signStandard = (prefix) => async (request) => {
  const { Webhook } = await load("standardwebhooks");
  const at = new Date(request.at * 1000);
  return {
    [`${prefix}-id`]: request.id,
    [`${prefix}-timestamp`]: String(request.at),
    [`${prefix}-signature`]: new Webhook(request.secret).sign(request.id, at, request.text),
  };
};

/** The client of an SDK that its generator gives one shape: `new Client({apiKey})`. */
const client = async (name, options = {}) => {
  const module = await load(name);
  return new (module.default ?? module)({ apiKey: "unused", ...options });
};

const braintree = async (request) => {
  const library = await load("braintree");
  return new library.BraintreeGateway({
    environment: library.Environment.Sandbox,
    merchantId: "unused",
    publicKey: request.params.public_key,
    privateKey: request.secret,
  });
};

const zoomReceiver = async (secret) => {
  const { AwsLambdaReceiver } = await load("@zoom/rivet/meetings");
  const receiver = new AwsLambdaReceiver({ webhooksSecretToken: secret });
  receiver.init({ eventEmitter: { emit: async () => {} } });
  return receiver.start();
};

const twitch = async (request) => {
  const { EventSubHttpListener } = await load("@twurple/eventsub-http");
  return Object.assign(Object.create(EventSubHttpListener.prototype), { _secret: request.secret });
};

const sendgridKey = (secret) => `-----BEGIN PUBLIC KEY-----\n${secret}\n-----END PUBLIC KEY-----`;

const form = (text) => Object.fromEntries(new URLSearchParams(text));

// The key is the package, or the package and the provider where one library has several.
const adapters = {
  standardwebhooks: {
    verify: async (d) => new (await load("standardwebhooks")).Webhook(d.secret).verify(d.text, d.headers),
    sign: signStandard("webhook"),
  },
  svix: {
    verify: async (d) => new (await load("svix")).Webhook(d.secret).verify(d.text, d.headers),
    sign: async (r) => ({
      "svix-id": r.id,
      "svix-timestamp": String(r.at),
      "svix-signature": new (await load("svix")).Webhook(r.secret).sign(r.id, new Date(r.at * 1000), r.text),
    }),
  },
  resend: {
    verify: async (d) => {
      const { Resend } = await load("resend");
      const headers = pick(d, { id: "svix-id", timestamp: "svix-timestamp", signature: "svix-signature" });
      return new Resend("re_unused").webhooks.verify({ payload: d.text, headers, webhookSecret: d.secret });
    },
  },
  "@clerk/backend": {
    verify: async (d) => {
      const { verifyWebhook } = await load("@clerk/backend/webhooks");
      const request = new Request(d.url, { method: "POST", headers: d.headers, body: d.body });
      return verifyWebhook(request, { signingSecret: d.secret });
    },
  },
  openai: {
    verify: async (d) => (await client("openai")).webhooks.unwrap(d.text, d.headers, d.secret),
  },
  "@anthropic-ai/sdk": {
    verify: async (d) => (await client("@anthropic-ai/sdk")).beta.webhooks.unwrap(d.text, { headers: d.headers, key: d.secret }),
  },
  lithic: {
    verify: async (d) => (await client("lithic")).webhooks.verifySignature(d.text, d.headers, d.secret),
  },
  "@tryfinch/finch-api": {
    verify: async (d) => (await client("@tryfinch/finch-api")).webhooks.verifySignature(d.text, d.headers, d.secret),
  },
  replicate: {
    verify: async (d) => {
      const { validateWebhook } = await load("replicate");
      return validateWebhook({ headers: d.headers, body: d.text }, d.secret);
    },
  },
  "@mux/mux-node": {
    verify: async (d) => (await client("@mux/mux-node", { tokenId: "a", tokenSecret: "b" })).webhooks.verifySignature(d.text, d.headers, d.secret),
  },
  "modern-treasury": {
    verify: async (d) => (await client("modern-treasury", { organizationID: "a" })).webhooks.validateSignature(d.text, d.headers, { key: d.secret }),
    sign: async (r) => ({
      "x-signature": (await client("modern-treasury", { organizationID: "a" })).webhooks.getSignature(r.text, { key: r.secret }),
    }),
  },
  telnyx: {
    verify: async (d) => (await client("telnyx")).webhooks.unwrap(d.text, { headers: d.headers, key: d.secret }),
  },
  "@polar-sh/sdk": {
    verify: async (d) => {
      const { validateEvent } = await load("@polar-sh/sdk/webhooks");
      try {
        return validateEvent(d.text, d.headers, d.secret);
      } catch (error) {
        // The signature was right, and the invented payload is not one of the known events.
        if (error.constructor.name === "SDKValidationError") return true;
        throw error;
      }
    },
  },
  stripe: {
    verify: async (d) => {
      const Stripe = await load("stripe");
      return (Stripe.default ?? Stripe).webhooks.constructEvent(d.text, d.headers["stripe-signature"], d.secret);
    },
    sign: async (r) => {
      const Stripe = await load("stripe");
      const options = { timestamp: r.at, payload: r.text, secret: r.secret };
      return { "stripe-signature": (Stripe.default ?? Stripe).webhooks.generateTestHeaderString(options) };
    },
  },
  "@workos-inc/node": {
    verify: async (d) => {
      const { WorkOS } = await load("@workos-inc/node");
      const workos = new WorkOS("sk_unused", { clientId: "unused" });
      return workos.webhooks.verifyHeader({ payload: JSON.parse(d.text), sigHeader: d.headers["workos-signature"], secret: d.secret });
    },
    sign: async (r) => {
      const { WorkOS } = await load("@workos-inc/node");
      const timestamp = String(r.at * 1000);
      const workos = new WorkOS("sk_unused", { clientId: "unused" });
      const signature = await workos.webhooks.computeSignature(timestamp, JSON.parse(r.text), r.secret);
      return { "workos-signature": `t=${timestamp}, v1=${signature}` };
    },
  },
  "@octokit/webhooks-methods": {
    verify: async (d) => (await load("@octokit/webhooks-methods")).verify(d.secret, d.text, d.headers["x-hub-signature-256"]),
    sign: async (r) => ({ "x-hub-signature-256": await (await load("@octokit/webhooks-methods")).sign(r.secret, r.text) }),
  },
  "@shopify/shopify-api": {
    verify: async (d) => {
      require("@shopify/shopify-api/adapters/node");
      const { shopifyApi, ApiVersion } = require("@shopify/shopify-api");
      const shopify = shopifyApi({
        apiKey: "unused",
        apiSecretKey: d.secret,
        apiVersion: Object.values(ApiVersion)[0],
        hostName: "hooks.example.com",
        isEmbeddedApp: false,
        logger: { log: () => {} },
      });
      const rawRequest = { headers: d.headers, method: "POST", url: d.url };
      const result = await shopify.webhooks.validate({ rawBody: d.text, rawRequest, rawResponse: {} });
      return result.valid;
    },
  },
  square: {
    verify: async (d) =>
      (await load("square")).WebhooksHelper.verifySignature({
        requestBody: d.text,
        signatureHeader: d.headers["x-square-hmacsha256-signature"],
        signatureKey: d.secret,
        notificationUrl: d.url,
      }),
  },
  "@paddle/paddle-node-sdk": {
    verify: async (d) => {
      const { Paddle } = await load("@paddle/paddle-node-sdk");
      return new Paddle("unused").webhooks.isSignatureValid(d.text, d.secret, d.headers["paddle-signature"]);
    },
  },
  "@adyen/api-library adyen": {
    verify: async (d) => {
      const { hmacValidator } = await load("@adyen/api-library");
      const Validator = hmacValidator;
      const item = JSON.parse(d.text).notificationItems[0].NotificationRequestItem;
      return new Validator().validateHMAC(item, d.secret);
    },
  },
  "@adyen/api-library adyen-platform": {
    verify: async (d) => {
      const { hmacValidator } = await load("@adyen/api-library");
      return new hmacValidator().validateHMACSignature(d.secret, d.headers.hmacsignature, d.text);
    },
  },
  messagebird: {
    verify: async (d) => {
      const { verify } = require("messagebird/lib/webhook-signature-jwt");
      return verify(d.url, d.body, d.headers["messagebird-signature-jwt"], Buffer.from(d.secret));
    },
  },
  "@line/bot-sdk": {
    verify: async (d) => (await load("@line/bot-sdk")).validateSignature(d.text, d.secret, d.headers["x-line-signature"]),
  },
  "@hubspot/api-client": {
    verify: async (d) => {
      const { Signature } = await load("@hubspot/api-client");
      return Signature.isValid({
        signatureVersion: "v3",
        method: d.method,
        clientSecret: d.secret,
        requestBody: d.text,
        url: d.url,
        signature: d.headers["x-hubspot-signature-v3"],
        timestamp: Number(d.headers["x-hubspot-request-timestamp"]),
      });
    },
    sign: async (r) => {
      const { Signature } = await load("@hubspot/api-client");
      const timestamp = r.at * 1000;
      const options = { clientSecret: r.secret, requestBody: r.text, url: r.url, timestamp };
      return {
        "x-hubspot-signature-v3": Signature.getSignature(r.method, "v3", options),
        "x-hubspot-request-timestamp": String(timestamp),
      };
    },
  },
  "coinbase-commerce-node": {
    verify: async (d) => require("coinbase-commerce-node").Webhook.verifySigHeader(d.text, d.headers["x-cc-webhook-signature"], d.secret),
  },
  "@sendgrid/eventwebhook": {
    verify: async (d) => {
      const { EventWebhook } = require("@sendgrid/eventwebhook");
      const webhook = new EventWebhook();
      const key = webhook.convertPublicKeyToECDSA(sendgridKey(d.secret));
      const prefix = "x-twilio-email-event-webhook";
      return webhook.verifySignature(key, d.text, d.headers[`${prefix}-signature`], d.headers[`${prefix}-timestamp`]);
    },
  },
  "@elevenlabs/elevenlabs-js": {
    verify: async (d) => {
      const { ElevenLabsClient } = await load("@elevenlabs/elevenlabs-js");
      return new ElevenLabsClient({ apiKey: "unused" }).webhooks.constructEvent(d.text, d.headers["elevenlabs-signature"], d.secret);
    },
  },
  cronofy: {
    verify: async (d) => {
      const Cronofy = require("cronofy");
      const cronofy = new Cronofy({ client_id: "unused", client_secret: d.secret });
      return cronofy.hmacValid({ hmac: d.headers["cronofy-hmac-sha256"], body: d.text, client_secret: d.secret });
    },
  },
  smartcar: {
    verify: async (d) => require("smartcar").verifyPayload(d.secret, d.headers["sc-signature"], JSON.parse(d.text)),
    sign: async (r) => ({ "sc-signature": require("smartcar").hashChallenge(r.secret, r.text) }),
  },
  "@slack/bolt": {
    verify: async (d) => {
      const path = require.resolve("@slack/bolt").replace(/dist\/.*/, "dist/receivers/verify-request.js");
      require(path).verifySlackRequest({ signingSecret: d.secret, body: d.text, headers: { ...d.headers, "x-slack-request-timestamp": Number(d.headers["x-slack-request-timestamp"]) } });
    },
  },
  "webflow-api": {
    verify: async (d) => {
      const { WebflowClient } = await load("webflow-api");
      return new WebflowClient({ accessToken: "unused" }).webhooks.verifySignature({ headers: d.headers, body: d.text, secret: d.secret });
    },
  },
  "@twurple/eventsub-http": {
    verify: async (d) => {
      const names = { id: "id", at: "timestamp", signature: "signature" };
      const { id, at, signature } = pick(d, Object.fromEntries(Object.entries(names).map(([key, name]) => [key, `twitch-eventsub-message-${name}`])));
      return (await twitch(d))._verifyData(id, at, d.text, signature);
    },
  },
  "box-node-sdk": {
    verify: async (d) => {
      const { WebhooksManager } = require("box-node-sdk/lib/managers/webhooks");
      return WebhooksManager.validateMessage(d.text, d.headers, d.secret);
    },
  },
  "twilio form": {
    verify: async (d) => require("twilio").validateRequest(d.secret, d.headers["x-twilio-signature"], d.url, form(d.text)),
    sign: async (r) => ({ "x-twilio-signature": require("twilio/lib/webhooks/webhooks").getExpectedTwilioSignature(r.secret, r.url, form(r.text)) }),
  },
  "twilio json": {
    verify: async (d) => require("twilio").validateRequestWithBody(d.secret, d.headers["x-twilio-signature"], d.url, d.text),
  },
  "@zoom/rivet": {
    verify: async (d) => {
      const handle = await zoomReceiver(d.secret);
      const response = await handle({ body: d.text, headers: d.headers, isBase64Encoded: false }, {});
      return response.statusCode === 200;
    },
  },
  mercadopago: {
    verify: async (d) => {
      const { WebhookSignatureValidator } = require("mercadopago");
      return WebhookSignatureValidator.validate({
        xSignature: d.headers["x-signature"],
        xRequestId: d.headers["x-request-id"],
        dataId: new URL(d.url).searchParams.get("data.id"),
        secret: d.secret,
      });
    },
  },
  "discord-interactions": {
    verify: async (d) =>
      require("discord-interactions").verifyKey(d.body, d.headers["x-signature-ed25519"], d.headers["x-signature-timestamp"], d.secret),
  },
  "@sanity/webhook": {
    verify: async (d) => require("@sanity/webhook").assertValidSignature(d.text, d.headers["sanity-webhook-signature"], d.secret),
    sign: async (r) => ({
      "sanity-webhook-signature": await require("@sanity/webhook").encodeSignatureHeader(r.text, r.at * 1000, r.secret),
    }),
  },
  "@vonage/jwt": {
    verify: async (d) => {
      const { verifySignature } = await load("@vonage/jwt");
      return verifySignature(d.headers.authorization.replace(/^Bearer /, ""), d.secret);
    },
  },
  plivo: {
    verify: async (d) =>
      require("plivo").validateSignature(d.url, d.headers["x-plivo-signature-v2-nonce"], d.headers["x-plivo-signature-v2"], d.secret),
  },
  pusher: {
    verify: async (d) => {
      const Pusher = require("pusher");
      const pusher = new Pusher({ appId: "1", key: d.headers["x-pusher-key"], secret: d.secret });
      return pusher.webhook({ headers: d.headers, rawBody: d.text }).isValid();
    },
  },
  razorpay: {
    verify: async (d) => require("razorpay").validateWebhookSignature(d.text, d.headers["x-razorpay-signature"], d.secret),
  },
  braintree: {
    verify: async (d) => {
      const gateway = await braintree(d);
      const fields = form(d.text);
      return gateway.webhookNotification.parse(fields.bt_signature, fields.bt_payload);
    },
    sign: async (r) => {
      const gateway = await braintree(r);
      const sample = gateway.webhookTesting.sampleNotification("check", r.id);
      return { body: new URLSearchParams(sample).toString() };
    },
  },
  "gocardless-nodejs": {
    verify: async (d) => (await load("gocardless-nodejs/webhooks")).parse(d.text, d.secret, d.headers["webhook-signature"]),
  },
  "whatsapp-api-js": {
    verify: async (d) => {
      const { WhatsAppAPI } = await load("whatsapp-api-js");
      const api = new WhatsAppAPI({ token: "unused", appSecret: d.secret, v: "v20.0" });
      return api.verifyRequestSignature(d.text, d.headers["x-hub-signature-256"]);
    },
  },
  "@notionhq/client": {
    verify: async (d) => {
      const { verifyWebhookSignature } = require("@notionhq/client");
      return verifyWebhookSignature({ body: d.text, signature: d.headers["x-notion-signature"], verificationToken: d.secret });
    },
    sign: async (r) => {
      const { signWebhookPayload } = require("@notionhq/client");
      return { "x-notion-signature": await signWebhookPayload({ body: r.text, verificationToken: r.secret }) };
    },
  },
  "@linear/sdk": {
    verify: async (d) => {
      const { LinearWebhookClient } = await load("@linear/sdk/webhooks");
      return new LinearWebhookClient(d.secret).verify(d.body, d.headers["linear-signature"], JSON.parse(d.text).webhookTimestamp);
    },
  },
  "twitter-autohook": {
    verify: async (d) => {
      const { validateSignature } = require("twitter-autohook");
      return validateSignature(d.headers, { consumer_secret: d.secret }, d.text);
    },
  },
  grammy: {
    verify: async (d) => {
      const { Bot, webhookCallback } = require("grammy");
      const botInfo = { id: 1, is_bot: true, first_name: "a", username: "a_bot" };
      const bot = new Bot("1:unused", { botInfo });
      let accepted = true;
      const refuse = async () => {
        accepted = false;
      };
      const token = d.headers["x-telegram-bot-api-secret-token"];
      const handle = webhookCallback(bot, "callback", { secretToken: d.secret });
      await handle(JSON.parse(d.text), async () => {}, token, refuse);
      return accepted;
    },
  },
  chargebee: {
    verify: async (d) => {
      const { basicAuthValidator } = await load("chargebee");
      const [user, password] = d.secret.split(":");
      return basicAuthValidator((u, p) => u === user && p === password)(d.headers);
    },
  },
  "hook0-client": {
    verify: async (d) => {
      const { verifyWebhookSignature } = await load("hook0-client");
      return verifyWebhookSignature(d.headers["x-hook0-signature"], d.body, new Headers(d.headers), d.secret, 300);
    },
  },
  "@onfido/api": {
    verify: async (d) => new (require("@onfido/api").WebhookEventVerifier)(d.secret).readPayload(d.text, d.headers["x-sha2-signature"]),
  },
  "viber-bot": {
    verify: async (d) => {
      const Validator = require("viber-bot/lib/message/message-validator");
      return new Validator({ debug: () => {} }, d.secret).validateMessage(d.headers["x-viber-content-signature"], d.text);
    },
  },
  "livekit-server-sdk": {
    verify: async (d) => {
      const { WebhookReceiver } = await load("livekit-server-sdk");
      return new WebhookReceiver(d.params.api_key, d.secret).receive(d.text, d.headers.authorization);
    },
    sign: async (r) => {
      const { AccessToken } = await load("livekit-server-sdk");
      const token = new AccessToken(r.params.api_key, r.secret);
      token.sha256 = createHash("sha256").update(r.body).digest("base64");
      return { authorization: await token.toJwt() };
    },
  },
  "retell-sdk": {
    verify: async (d) => {
      const { Retell } = await load("retell-sdk");
      return Retell.verify(d.text, d.secret, d.headers["x-retell-signature"]);
    },
    sign: async (r) => ({ "x-retell-signature": await (await load("retell-sdk")).Retell.sign(r.text, r.secret) }),
  },
  "@easypost/api": {
    verify: async (d) => {
      const EasyPost = require("@easypost/api");
      return new (EasyPost.default ?? EasyPost)("unused").Utils.validateWebhook(d.body, d.headers, d.secret);
    },
  },
  "@liveblocks/node": {
    verify: async (d) => {
      const { WebhookHandler } = await load("@liveblocks/node");
      return new WebhookHandler(d.secret).verifyRequest({ headers: d.headers, rawBody: d.text });
    },
  },
  dodopayments: {
    verify: async (d) => (await client("dodopayments", { bearerToken: "unused" })).webhooks.unwrap(d.text, { headers: d.headers, key: d.secret }),
  },
  "@whop/sdk": {
    // The documentation tells its readers to encode the secret for the library.
    verify: async (d) => (await client("@whop/sdk")).webhooks.unwrap(d.text, { headers: d.headers, key: Buffer.from(d.secret).toString("base64") }),
  },
  mailersend: {
    verify: async (d) => {
      const { MailerSendUtils } = require("mailersend/lib/services/mailersend.utils");
      const utils = new MailerSendUtils();
      return (utils.verifyWebHook ?? MailerSendUtils.verifyWebHook).call(utils, d.body, d.headers.signature, d.secret);
    },
  },
  mailtrap: {
    verify: async (d) => (await load("mailtrap")).verifyWebhookSignature(d.text, d.headers["mailtrap-signature"], d.secret),
  },
  "@blockfrost/blockfrost-js": {
    verify: async (d) => (await load("@blockfrost/blockfrost-js")).verifyWebhookSignature(d.text, d.headers["blockfrost-signature"], d.secret),
  },
  "@kontent-ai/webhook-helper": {
    verify: async (d) => (await load("@kontent-ai/webhook-helper")).signatureHelper.isValidSignatureFromString(d.text, d.secret, d.headers["x-kc-signature"]),
    sign: async (r) => ({ "x-kc-signature": (await load("@kontent-ai/webhook-helper")).signatureHelper.getHashFromString(r.text, r.secret) }),
  },
  "cashfree-pg": {
    verify: async (d) => {
      const { Cashfree, CFEnvironment } = require("cashfree-pg");
      const cashfree = new Cashfree(CFEnvironment.SANDBOX, "unused", d.secret);
      return cashfree.PGVerifyWebhookSignature(d.headers["x-webhook-signature"], d.text, d.headers["x-webhook-timestamp"]);
    },
  },
  "terra-api": {
    verify: async (d) => (await load("terra-api")).verifyTerraWebhookSignature(d.text, d.headers["terra-signature"], d.secret),
  },
  "orb-billing": {
    verify: async (d) => (await client("orb-billing")).webhooks.verifySignature(d.text, d.headers, d.secret),
  },
  "truelayer-signing": {
    verify: async (d) => {
      const { verify } = require("truelayer-signing");
      const { method, headers, text, secret } = d;
      verify({ publicKeyPem: secret, signature: headers["tl-signature"], method, path: new URL(d.url).pathname, headers, body: text });
    },
    sign: async (r) => {
      const headers = { "x-tl-webhook-timestamp": new Date(r.at * 1000).toISOString() };
      const signed = { privateKeyPem: r.secret, kid: "hookgate", method: r.method, path: new URL(r.url).pathname, headers, body: r.text };
      return { ...headers, "tl-signature": require("truelayer-signing").sign(signed) };
    },
  },
  "sns-validator": {
    verify: (d) => {
      // The library fetches a certificate. This response holds the public key instead.
      const https = require("node:https");
      https.get = (_, respond) => {
        respond(Object.assign(Readable.from([d.secret]), { statusCode: 200 }));
        return { on: () => {} };
      };
      return new Promise((resolve, reject) => {
        const Validator = require("sns-validator");
        new Validator().validate(d.text, (error) => (error ? reject(error) : resolve(true)));
      });
    },
  },
  "@metronome/sdk": {
    verify: async (d) => (await client("@metronome/sdk", { bearerToken: "unused" })).webhooks.verifySignature(d.text, d.headers, d.secret),
  },
};

function decode(request) {
  const body = Buffer.from(request.body, "base64");
  const headers = {};
  // Node joins the values of a repeated field in this way.
  for (const [name, value] of request.headers ?? []) {
    headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`;
  }
  return { ...request, headers, body, text: body.toString("utf8"), params: request.params ?? {} };
}

async function respond(request) {
  const names = [`${request.package} ${request.name}`, `${request.package} ${request.variant}`, request.package];
  const adapter = adapters[names.find((name) => adapters[name])];
  if (adapter?.[request.op] === undefined) return { error: `no ${request.op} for ${names[0]}` };
  const delivery = decode(request);
  if (request.op === "sign") {
    const { body, ...headers } = await adapter.sign(delivery);
    return { headers: Object.entries(headers), body: body && Buffer.from(body).toString("base64") };
  }
  try {
    const verdict = await adapter.verify(delivery);
    return { accepted: verdict === undefined || Boolean(verdict) };
  } catch (error) {
    return { accepted: false, error: String(error?.message ?? error) };
  }
}

// The libraries print notices. Only responses may go to the standard output.
const write = process.stdout.write.bind(process.stdout);
for (const name of ["log", "info", "warn", "error", "debug"]) console[name] = () => {};

for await (const line of createInterface({ input: process.stdin })) {
  const response = await respond(JSON.parse(line)).catch((error) => ({ error: String(error.stack) }));
  write(`${JSON.stringify(response)}\n`);
}
