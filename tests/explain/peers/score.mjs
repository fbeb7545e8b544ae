// Prints the scores of other libraries on the broken deliveries, beside hookgate's.
//
//   score.mjs FOLDER [HOOKGATE]
//
// FOLDER has the libraries. HOOKGATE is the file of first causes that `make explain-score` writes.

import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { peers } from './peers.mjs';

const [folder, ours] = process.argv.slice(2).map((path) => resolve(path));
const load = (name) => JSON.parse(readFileSync(new URL(`../${name}`, import.meta.url)));

function delivery(row) {
  const packed = row.body_gzip_base64;
  const body = packed ? gunzipSync(Buffer.from(packed, 'base64')) : Buffer.from(row.body_base64, 'base64');
  return { ...row, body, secrets: [row.secret, ...(row.more_secrets ?? [])] };
}

async function answer(peer, row) {
  try {
    return await peer(delivery(row));
  } catch {
    // An exception names no cause.
    return ['exception'];
  }
}

async function score(peer, rows) {
  const total = { exact: 0, right: 0, known: 0, verified: 0 };
  for (const row of rows) {
    const codes = await answer(peer, row);
    if (codes === null) continue;
    const right = codes.some((code) => row.accept?.includes(code));
    total.known += 1;
    total.verified += codes.includes('verified');
    total.right += right;
    total.exact += right && codes.length === 1;
  }
  return total;
}

const percent = (part, all) => `${part} of ${all} (${Math.floor((100 * part) / all)} %)`;
const print = (...cells) => console.log(`| ${cells.join(' | ')} |`);

const files = { 'cases.json': load('cases.json'), 'recorded.json': load('recorded.json') };
const genuine = load('genuine.json');
const installed = await peers(folder);
if (ours && existsSync(ours)) {
  const first = JSON.parse(readFileSync(ours));
  installed.hookgate = async (given) => [first[given.name]];
}

print('library', 'deliveries', 'exact cause', 'right kind', 'right kind, of its providers', 'called genuine');
print(...Array(6).fill('---'));
for (const [name, peer] of Object.entries(installed)) {
  if (!peer) continue;
  for (const [file, rows] of Object.entries(files)) {
    const { exact, right, known, verified } = await score(peer, rows);
    print(name, file, percent(exact, rows.length), percent(right, rows.length), percent(right, known), verified);
  }
  // The control: how many of the genuine deliveries verify. hookgate's tests have it.
  if (name === 'hookgate') continue;
  const { known, verified } = await score(peer, genuine);
  print(name, 'genuine.json', '', '', '', percent(verified, known));
}
