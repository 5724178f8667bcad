// Access tokens as other services see them: the libraries that they use verify ours by the published keys, and what
// those libraries forge is refused here.
//
//   node tokens.mjs URL
//
// Anybody must be able to register there, as with `genvid dev`. The last line is "N passed, N failed".

import { spawnSync } from 'node:child_process';
import { createHmac, randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import * as jose from 'jose';
import { settings, report } from './settings.mjs';

const { url } = await settings();
const SCRIPT = fileURLToPath(new URL('verify_token.py', import.meta.url));

async function send(token, query, variables) {
  const headers = { 'content-type': 'application/json' };
  if (token !== undefined) headers.authorization = `Bearer ${token}`;
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify({ query, variables }) });
  return { status: response.status, body: await response.json() };
}

const results = [];
async function check(name, run) {
  try {
    await run();
    results.push({ name });
  } catch (error) {
    results.push({ name, problem: error.message });
  }
}

function equal(found, wanted) {
  if (JSON.stringify(found) !== JSON.stringify(wanted)) {
    throw new Error(`${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`);
  }
}

const registered = await send(
  undefined,
  `mutation ($input: RegisterInput!) { register(input: $input) {
    ... on AuthSuccess { accessToken expiresIn user { id email role } } ... on Problem { message } } }`,
  { input: { email: `${randomUUID()}@example.com`, password: 'correct horse battery' } },
);
const { accessToken, expiresIn, user } = registered.body.data.register;
const keys = await (await fetch(new URL('/.well-known/jwks.json', url))).json();
const issuer = new URL(url).origin;
const audience = 'genvid';
const header = jose.decodeProtectedHeader(accessToken);
const claims = jose.decodeJwt(accessToken);

function taken(found) {
  equal(found.sub, user.id);
  equal(found.email, user.email);
  equal(found.email_verified, false);
  equal(found.role, user.role.toLowerCase());
  equal(Object.keys(found.app_metadata).sort(), ['credits_remaining', 'subscription_tier']);
  equal(found.exp - found.iat, expiresIn);
}

await check('the library of npm takes the token', async () => {
  const ring = jose.createRemoteJWKSet(new URL('/.well-known/jwks.json', url));
  const { payload } = await jose.jwtVerify(accessToken, ring, { issuer, audience, algorithms: ['RS256'], typ: 'JWT' });
  taken(payload);
});
await check('the library of PyPI takes the token', async () => {
  const input = JSON.stringify({ token: accessToken, keys, issuer, audience });
  const { status, stdout, stderr } = spawnSync('python3', [SCRIPT], { input, encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  taken(JSON.parse(stdout));
});
await check('names of keys are thumbprints, and nothing private is published', async () => {
  for (const key of keys.keys) {
    equal(key.kid, await jose.calculateJwkThumbprint(key));
    equal(Object.keys(key).sort(), ['alg', 'e', 'kid', 'kty', 'n', 'use']);
  }
});
await check('the server takes it', async () => {
  const { body } = await send(accessToken, '{ me { id } }');
  equal(body.data.me.id, user.id);
});

const { privateKey, publicKey } = await jose.generateKeyPair('RS256', { extractable: true });
const jwk = await jose.exportJWK(publicKey);
const pem = await jose.exportSPKI(await jose.importJWK(keys.keys[0], 'RS256', { extractable: true }));
const sign = (more) => new jose.SignJWT(claims).setProtectedHeader({ ...header, ...more }).sign(privateKey);
const b64 = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const [head, body, signature] = accessToken.split('.');
const mac = (secret) => {
  const signed = `${b64({ ...header, alg: 'HS256' })}.${body}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
};
const forged = {
  'no signature': `${b64({ ...header, alg: 'none' })}.${body}.`,
  'no signature, capitals': `${b64({ ...header, alg: 'NONE' })}.${body}.`,
  'the public key as a secret': mac(pem),
  'the public key as a secret, without its last line break': mac(pem.trimEnd()),
  'a key of its own': await sign({}),
  'a key of its own in the header': await sign({ jwk }),
  'a set of keys elsewhere': await sign({ jku: 'https://example.com/jwks.json' }),
  'a name that nobody has': await sign({ kid: 'nobody' }),
  'a name that is a path': await sign({ kid: '../../../../dev/null' }),
  'no name': await sign({ kid: undefined }),
  'another algorithm of the family': await new jose.SignJWT(claims)
    .setProtectedHeader({ ...header, alg: 'RS384' })
    .sign(await jose.importPKCS8(await jose.exportPKCS8(privateKey), 'RS384')),
  'other claims': `${head}.${b64({ ...claims, role: 'admin' })}.${signature}`,
  'half a signature': accessToken.slice(0, -100),
  'a longer signature': `${accessToken}AAAA`,
  'more than any token has': `${head}.${body}.${'A'.repeat(12_000)}`,
};
for (const [name, token] of Object.entries(forged)) {
  await check(`refused: ${name}`, async () => {
    const answer = await send(token, '{ me { id } }');
    equal(answer.status, 401);
    equal(answer.body.errors[0].extensions.code, 'UNAUTHENTICATED');
  });
}
report(results);
