// Webhooks as their receivers verify them: by the libraries of Standard Webhooks, and by the example of the documentation.
//
//   node webhooks.mjs URL --token TOKEN
//
// The server must take http addresses of this host, as `genvid dev` does. The last line is "N passed, N failed".

import { spawnSync } from 'node:child_process';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Webhook } from 'standardwebhooks';
import { settings, report } from './settings.mjs';

const { url, token } = await settings();
const PATIENCE = 20_000;
const PAGE = new URL('../../../graphql/WEBHOOKS.md', import.meta.url);

/** The example of the page, as a module. */
async function example() {
  const block = (await readFile(PAGE, 'utf8')).match(/```js\n(.*?)```/s);
  if (!block) throw new Error('the page has no example');
  const folder = await mkdtemp(join(tmpdir(), 'genvid-webhooks-'));
  try {
    const file = join(folder, 'verify.mjs');
    await writeFile(file, block[1]);
    return await import(pathToFileURL(file));
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function ask(query, input) {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
    body: JSON.stringify({ query, variables: { input } }),
  });
  const answer = await response.json();
  if (answer.errors) throw new Error(JSON.stringify(answer.errors));
  return answer.data.result;
}

const got = [];
const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  got.push({ headers: request.headers, body: Buffer.concat(chunks) });
  response.end('thanks');
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');

async function wait(count) {
  const end = Date.now() + PATIENCE;
  while (got.length < count) {
    if (Date.now() > end) throw new Error(`only ${got.length} webhooks of ${count} came`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return got[count - 1];
}

function refuses(what, verify) {
  let taken = true;
  try {
    verify();
  } catch {
    taken = false;
  }
  if (taken) throw new Error(`${what} is taken`);
}

const SCRIPT = fileURLToPath(new URL('verify.py', import.meta.url));

/** What a receiver in Python makes of it. */
function python(secret, { headers, body }) {
  const input = JSON.stringify({ secret, headers, body: body.toString('base64') });
  const { status, stdout, stderr } = spawnSync('python3', [SCRIPT], { input, encoding: 'utf8' });
  // Only the library's own refusal is one: anything else means that nothing was verified.
  if (status !== 0 && !stderr.includes('WebhookVerificationError')) {
    results.push({ name: 'the library of PyPI runs', problem: stderr });
  }
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}

const { verify } = await example();
const verifiers = {
  'the library of npm': (secret, { headers, body }) => new Webhook(secret).verify(body, headers),
  'the library of PyPI': python,
  'the example': (secret, { headers, body }) => verify(secret, headers, body),
};
const results = [];
async function check(name, run) {
  try {
    await run();
    results.push({ name });
  } catch (error) {
    results.push({ name, problem: error.message });
  }
}

const made = await ask(
  `mutation ($input: CreateWebhookEndpointInput!) { result: createWebhookEndpoint(input: $input) {
    ... on CreateWebhookEndpointSuccess { secret endpoint { id } } ... on Problem { message } } }`,
  { url: `http://127.0.0.1:${server.address().port}/hook` },
);
const endpointId = made.endpoint.id;
const test = () =>
  ask(
    `mutation ($input: SendTestWebhookInput!) { result: sendTestWebhook(input: $input) {
      ... on SendTestWebhookSuccess { delivery { id } } ... on Problem { message } } }`,
    { endpointId },
  );
await test();
const first = await wait(1);
const rotated = await ask(
  `mutation ($input: RotateWebhookSecretInput!) { result: rotateWebhookSecret(input: $input) {
    ... on RotateWebhookSecretSuccess { secret } ... on Problem { message } } }`,
  { endpointId },
);
await test();
const second = await wait(2);

for (const [who, by] of Object.entries(verifiers)) {
  await check(`${who} takes a webhook`, () => {
    const message = by(made.secret, first);
    if (message.type !== 'webhook.test') throw new Error(JSON.stringify(message));
  });
  await check(`${who} takes both secrets while one replaces the other`, () => {
    by(made.secret, second);
    by(rotated.secret, second);
  });
  await check(`${who} refuses what is forged`, () => {
    const { headers, body } = first;
    refuses('another body', () => by(made.secret, { headers, body: Buffer.from(`${body} `) }));
    refuses('another secret', () => by(rotated.secret, first));
    refuses('another id', () => by(made.secret, { headers: { ...headers, 'webhook-id': 'msg_1' }, body }));
    const old = { ...headers, 'webhook-timestamp': String(Number(headers['webhook-timestamp']) - 600) };
    refuses('an old time', () => by(made.secret, { headers: old, body }));
  });
}
server.close();
server.closeAllConnections();
report(results);
