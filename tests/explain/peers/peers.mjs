// What two libraries say about a delivery, in the codes of hookgate.
//
// A peer returns the codes that its answer may mean, or null if it does not know the provider. The
// translation is generous: an answer counts as right if one of its codes is accepted.

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const BODY = [
  'body_json_rewritten', 'body_json_wrapped', 'body_text_edited', 'body_charset', 'body_escaped',
  'body_base64', 'body_compressed', 'body_truncated', 'body_missing', 'body_form_rewritten',
  'body_type_changed',
];
const SECRET = [
  'secret_decoding', 'secret_copied_badly', 'secret_wrong_kind', 'secret_placeholder', 'secret_other',
];
// An answer that names no cause. hookgate says secret_other if it knows nothing else.
const NO_CAUSE = ['unknown', 'secret_other'];

// The names that a library has for a provider.
const WEBHOOKS_SPEC_NAMES = { 'standard-webhooks': 'standard_webhooks', svix: 'clerk', videogen: 'standard_webhooks' };
const TERN_NAMES = { 'standard-webhooks': 'dodopayments', svix: 'clerk', videogen: 'dodopayments' };

function webhooksSpecCodes(reason, isOtherScheme) {
  switch (reason.code) {
    case 'MISSING_HEADER':
      return isOtherScheme ? ['other_provider', 'other_variant'] : ['header_missing'];
    case 'MALFORMED_SIGNATURE':
      return /timestamp/i.test(reason.detail) ? ['timestamp_format', 'header_altered'] : ['header_altered'];
    case 'UNSUPPORTED_SCHEME':
      return ['other_provider'];
    case 'TIMESTAMP_TOO_OLD':
      return ['timestamp_too_old'];
    case 'TIMESTAMP_IN_FUTURE':
      return ['timestamp_too_new'];
    case 'NO_MATCHING_KEY':
    case 'WRONG_SECRET':
      return SECRET;
    case 'RAW_BODY_MODIFIED':
      return { trailing_whitespace: ['body_text_edited'], reencoded_json: ['body_json_rewritten'] }[reason.evidence] ?? BODY;
    case 'PROXY_MUTATED_BYTES':
      return BODY;
    default:
      return NO_CAUSE;
  }
}

/** `getAdapterForScheme(provider).verify()` and `detectScheme()` of @webhook-co/webhooks-spec. */
async function webhooksSpec(folder) {
  const file = join(folder, 'webhooks-spec.mjs');
  if (!existsSync(file)) return null;
  const library = await import(pathToFileURL(file));
  return async (given) => {
    const name = WEBHOOKS_SPEC_NAMES[given.provider] ?? given.provider.replaceAll('-', '_');
    if (!library.PROVIDERS.includes(name)) return null;
    const result = await library.getAdapterForScheme(name).verify({
      rawBody: new Uint8Array(given.body),
      headers: given.headers,
      secrets: given.secrets,
      requestUrl: given.url ?? undefined,
      method: given.method,
      now: new Date(given.at * 1000),
    });
    if (result.ok) return ['verified'];
    const detected = library.detectScheme(given.headers);
    return webhooksSpecCodes(result.reason, detected && detected !== name);
  };
}

/** `WebhookVerificationService.verifyAny()` of @hookflo/tern. */
function tern(folder) {
  const { WebhookVerificationService: service, getPlatformAlgorithmConfig } =
    createRequire(join(folder, 'package.json'))('@hookflo/tern');
  return async (given) => {
    const name = TERN_NAMES[given.provider] ?? given.provider;
    if (getPlatformAlgorithmConfig(name).platform === 'unknown') return null;
    const request = new Request(given.url ?? 'https://api.example.com/', {
      method: 'POST', headers: given.headers, body: given.body,
    });
    // The library reads the clock.
    const now = Date.now;
    Date.now = () => given.at * 1000;
    const result = await service.verifyAny(request, { [name]: given.secrets[0] }).finally(() => (Date.now = now));
    if (result.isValid) return ['verified'];
    if (result.platform && ![name, 'unknown'].includes(result.platform)) return ['other_provider', 'other_variant'];
    return {
      MISSING_SIGNATURE: ['header_missing'],
      MISSING_TOKEN: ['header_missing'],
      TIMESTAMP_EXPIRED: ['timestamp_too_old', 'timestamp_too_new'],
    }[result.errorCode] ?? NO_CAUSE;
  };
}

/** Returns the peers that are installed in `folder`, by name. */
export async function peers(folder) {
  return { 'webhooks-spec': await webhooksSpec(folder), tern: tern(folder) };
}
