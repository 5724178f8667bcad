// Payments as Stripe's own library sees them: its signatures are believed by the server and nobody else's are, and it takes what the simulator of the test kit answers and signs.
//
//   node payments.mjs URL --token TOKEN
//
// The server must sell at the simulator, as `genvid dev` does. The last line is "N passed, N failed".

import { createServer } from 'node:http';
import { once } from 'node:events';
import Stripe from 'stripe';
import { settings, report } from './settings.mjs';

const { url, token } = await settings();
const DOOR = new URL('/api/payments/webhook', url);
// Keys that simulators take by default.
const KEY = 'sk_test_sim_stripe_key';
const SECRET = 'whsec_sim_stripe_webhook';
const PATIENCE = 20_000;

async function ask(query, variables) {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
    body: JSON.stringify({ query, variables }),
  });
  const answer = await response.json();
  if (answer.errors) throw new Error(JSON.stringify(answer.errors));
  return answer.data;
}

async function until(what, look) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
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
  if (found !== wanted) throw new Error(`${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`);
}

async function available() {
  const { me } = await ask('{ me { credits { available } } }');
  return me.credits.available;
}

const { createCheckout: page } = await ask(
  `mutation ($input: CreateCheckoutInput!) { createCheckout(input: $input) {
    ... on CreateCheckoutSuccess { sessionId url } ... on Problem { message } } }`,
  { input: { pack: 'small', successUrl: 'https://app.test/paid', idempotencyKey: `key-${Date.now()}` } },
);
if (!page.url) throw new Error(page.message);
const simulator = new URL(page.url);
const stripe = new Stripe(KEY, {
  host: simulator.hostname,
  port: simulator.port,
  protocol: 'http',
  maxNetworkRetries: 0,
});

const got = [];
const receiver = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  got.push({ signature: request.headers['stripe-signature'], body: Buffer.concat(chunks) });
  response.end();
});
receiver.listen(0, '127.0.0.1');
await once(receiver, 'listening');
const endpoint = await stripe.webhookEndpoints.create({
  url: `http://127.0.0.1:${receiver.address().port}/`,
  enabled_events: ['checkout.session.completed'],
});

await check('the library reads the page that the server opened', async () => {
  const session = await stripe.checkout.sessions.retrieve(page.sessionId);
  equal(session.amount_total, 1200);
  equal(session.metadata.genvid_credits, '1000');
});
const before = await available();
await check('what is paid on the page is credited', async () => {
  const pressed = await fetch(page.url, {
    method: 'POST',
    body: new URLSearchParams({ action: 'pay' }),
    redirect: 'manual',
  });
  equal(pressed.headers.get('location'), 'https://app.test/paid');
  await until('the credits', async () => (await available()) === before + 1000);
});
await check('the library takes what the simulator signs', async () => {
  const { signature, body } = await until('a delivery', () => got[0]);
  const event = stripe.webhooks.constructEvent(body, signature, endpoint.secret);
  equal(event.data.object.id, page.sessionId);
  let forged = true;
  try {
    stripe.webhooks.constructEvent(body, signature, SECRET);
  } catch {
    forged = false;
  }
  equal(forged, false);
});

const payload = JSON.stringify({
  id: `evt_${Date.now()}`,
  object: 'event',
  type: 'checkout.session.completed',
  created: Math.floor(Date.now() / 1000),
  livemode: false,
  data: { object: { id: page.sessionId, object: 'checkout.session' } },
});
async function send(body, signature) {
  const answer = await fetch(DOOR, { method: 'POST', headers: { 'stripe-signature': signature }, body });
  return answer.status;
}
const sign = (more) => stripe.webhooks.generateTestHeaderString({ payload, secret: SECRET, ...more });
await check("the server takes the library's signature, again and again", async () => {
  for (let time = 0; time < 3; time += 1) equal(await send(payload, sign()), 200);
});
await check('the server refuses another secret, another body and another time', async () => {
  equal(await send(payload, sign({ secret: 'whsec_another' })), 400);
  equal(await send(`${payload} `, sign()), 400);
  equal(await send(payload, sign({ timestamp: Math.floor(Date.now() / 1000) - 400 })), 400);
});
await check('an event that came again moved nothing', async () => {
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  equal(await available(), before + 1000);
});

receiver.close();
report(results);
