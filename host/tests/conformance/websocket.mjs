// graphql-transport-ws: every message, every close code, malformed frames and time-outs, over bare WebSockets.
//
//   node websocket.mjs URL [--token TOKEN] [--documents FILE] [--init-timeout-ms N]
//
// The last line is "N passed, N failed". `--init-timeout-ms` is the server's own limit (10,000 unless told).

import { once } from 'node:events';
import { randomBytes } from 'node:crypto';
import net from 'node:net';
import WebSocket from 'ws';
import { settings, report } from './settings.mjs';

const { url, socketUrl, token, documents, initTimeoutMs } = await settings();
const PROTOCOL = 'graphql-transport-ws';
const PATIENCE = 5_000;

/** A socket that remembers what it got. */
class Probe {
  static async open({ init = true, protocol = PROTOCOL, options = {} } = {}) {
    const probe = new Probe(new WebSocket(socketUrl, protocol, options));
    await probe.opened;
    if (init) {
      probe.send({ type: 'connection_init', payload: probe.credentials() });
      probe.expect(await probe.message(), { type: 'connection_ack' });
    }
    return probe;
  }

  constructor(socket) {
    this.socket = socket;
    this.messages = [];
    this.waiting = [];
    this.closed = new Promise((resolve) => {
      socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() }));
    });
    this.opened = new Promise((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
    });
    socket.on('error', () => {});
    socket.on('message', (data) => {
      const message = JSON.parse(data.toString());
      const waiter = this.waiting.shift();
      if (waiter) waiter(message);
      else this.messages.push(message);
    });
  }

  credentials() {
    return token ? { authorization: `Bearer ${token}` } : undefined;
  }

  send(message) {
    this.socket.send(typeof message === 'string' || Buffer.isBuffer(message) ? message : JSON.stringify(message));
  }

  subscribe(id, payload) {
    this.send({ id, type: 'subscribe', payload });
  }

  message(patience = PATIENCE) {
    if (this.messages.length > 0) return Promise.resolve(this.messages.shift());
    return within(patience, 'a message', new Promise((resolve) => this.waiting.push(resolve)));
  }

  async silence(time) {
    const early = await Promise.race([
      this.message(time * 10).catch(() => undefined),
      this.closed,
      sleep(time),
    ]);
    if (early !== undefined) throw new Error(`expected silence, got ${JSON.stringify(early)}`);
  }

  expect(actual, expected) {
    for (const [key, value] of Object.entries(expected)) {
      if (JSON.stringify(actual?.[key]) !== JSON.stringify(value)) {
        throw new Error(`expected ${key} to be ${JSON.stringify(value)}, got ${JSON.stringify(actual)}`);
      }
    }
  }

  async expectClose(code, patience = PATIENCE) {
    const closed = await within(patience, `close ${code}`, this.closed);
    if (closed.code !== code) throw new Error(`expected close ${code}, got ${closed.code} "${closed.reason}"`);
    if (Buffer.byteLength(closed.reason) > 123) throw new Error('the close reason is over 123 bytes');
    return closed;
  }

  end() {
    this.socket.terminate();
  }
}

const sleep = (time) => new Promise((resolve) => setTimeout(resolve, time));

function within(time, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} within ${time} ms`)), time);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** The HTTP status of a handshake that should fail, or the close code of one that should not have succeeded. */
function refusedHandshake(protocol, options = {}) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(socketUrl, protocol, options);
    socket.on('unexpected-response', (_, response) => {
      response.resume();
      resolve(response.statusCode);
      socket.terminate();
    });
    socket.on('close', (code) => resolve(code));
    socket.on('error', () => {});
    setTimeout(() => reject(new Error('the handshake was neither refused nor closed')), PATIENCE).unref();
  });
}

const closesWith = (code, message, { init = true, patience } = {}) => async () => {
  const probe = await Probe.open({ init });
  for (const each of [].concat(message)) probe.send(each);
  await probe.expectClose(code, patience);
};

const cases = {
  'acknowledges connection_init': async () => {
    const probe = await Probe.open();
    probe.end();
  },
  'runs a query: next, complete': async () => {
    const probe = await Probe.open();
    probe.subscribe('q', documents.query);
    const next = await probe.message();
    probe.expect(next, { id: 'q', type: 'next' });
    if (!next.payload?.data || next.payload.errors) throw new Error(JSON.stringify(next));
    probe.expect(await probe.message(), { id: 'q', type: 'complete' });
    probe.end();
  },
  'runs a mutation': async () => {
    const probe = await Probe.open();
    probe.subscribe('m', documents.mutation);
    const next = await probe.message();
    probe.expect(next, { id: 'm', type: 'next' });
    if (!next.payload?.data) throw new Error(JSON.stringify(next));
    probe.expect(await probe.message(), { id: 'm', type: 'complete' });
    probe.end();
  },
  'streams a subscription to its end': async () => {
    const probe = await Probe.open();
    probe.subscribe('s', documents.finite);
    let events = 0;
    for (;;) {
      const message = await probe.message();
      if (message.type === 'complete') break;
      probe.expect(message, { id: 's', type: 'next' });
      events += 1;
    }
    if (events === 0) throw new Error('no event');
    probe.end();
  },
  'answers a validation error with one error message and nothing else': async () => {
    const probe = await Probe.open();
    probe.subscribe('v', documents.invalid);
    const message = await probe.message();
    probe.expect(message, { id: 'v', type: 'error' });
    if (!Array.isArray(message.payload) || !message.payload[0]?.extensions?.code) {
      throw new Error(JSON.stringify(message));
    }
    await probe.silence(300);
    probe.end();
  },
  'answers a syntax error the same way': async () => {
    const probe = await Probe.open();
    probe.subscribe('x', { query: `{ ${'a '.repeat(2000)}` });
    const message = await probe.message();
    probe.expect(message, { id: 'x', type: 'error' });
    const [error] = message.payload;
    if (error.message.length > 200 || !error.locations?.[0]?.line) throw new Error(JSON.stringify(message));
    await probe.silence(300);
    probe.end();
  },
  'an id is free again after its operation ended': async () => {
    const probe = await Probe.open();
    for (let round = 0; round < 2; round += 1) {
      probe.subscribe('same', documents.query);
      probe.expect(await probe.message(), { id: 'same', type: 'next' });
      probe.expect(await probe.message(), { id: 'same', type: 'complete' });
    }
    probe.subscribe('same', documents.invalid);
    probe.expect(await probe.message(), { id: 'same', type: 'error' });
    probe.subscribe('same', documents.query);
    probe.expect(await probe.message(), { id: 'same', type: 'next' });
    probe.end();
  },
  'complete stops a stream': async () => {
    const probe = await Probe.open();
    probe.subscribe('t', documents.ticking);
    probe.expect(await probe.message(), { id: 't', type: 'next' });
    probe.send({ id: 't', type: 'complete' });
    await sleep(300);
    probe.messages.length = 0;
    await probe.silence(500);
    probe.end();
  },
  'complete for an unknown id is ignored': async () => {
    const probe = await Probe.open();
    probe.send({ id: 'unknown', type: 'complete' });
    probe.subscribe('q', documents.query);
    probe.expect(await probe.message(), { id: 'q', type: 'next' });
    probe.end();
  },
  'operations run side by side': async () => {
    const probe = await Probe.open();
    probe.subscribe('long', documents.endless);
    probe.subscribe('a', documents.query);
    probe.subscribe('b', documents.query);
    const done = new Set();
    while (done.size < 2) {
      const message = await probe.message();
      if (message.type === 'complete') done.add(message.id);
      if (message.type === 'error') throw new Error(JSON.stringify(message));
    }
    probe.end();
  },
  'answers ping with pong and its payload': async () => {
    const probe = await Probe.open();
    probe.send({ type: 'ping' });
    const bare = await probe.message();
    probe.expect(bare, { type: 'pong' });
    probe.send({ type: 'ping', payload: { echo: [1, 'two'] } });
    probe.expect(await probe.message(), { type: 'pong', payload: { echo: [1, 'two'] } });
    probe.end();
  },
  'answers ping before connection_init': async () => {
    const probe = await Probe.open({ init: false });
    probe.send({ type: 'ping' });
    probe.expect(await probe.message(), { type: 'pong' });
    probe.end();
  },
  'takes an unasked pong': async () => {
    const probe = await Probe.open();
    probe.send({ type: 'pong', payload: { a: 1 } });
    probe.send({ type: 'ping' });
    probe.expect(await probe.message(), { type: 'pong' });
    probe.end();
  },
  'answers a WebSocket ping frame': async () => {
    const probe = await Probe.open();
    probe.socket.ping('hey');
    const [data] = await within(PATIENCE, 'pong frame', once(probe.socket, 'pong'));
    if (data.toString() !== 'hey') throw new Error(data.toString());
    probe.end();
  },
  '4400 on text that is no JSON': closesWith(4400, 'hello'),
  '4400 on JSON that is no object': closesWith(4400, '[]'),
  '4400 on a message without type': closesWith(4400, { id: 'a' }),
  '4400 on an unknown type': closesWith(4400, { type: 'x'.repeat(500) }),
  '4400 on a type of the server': closesWith(4400, { type: 'connection_ack' }),
  '4400 on next from the client': closesWith(4400, { id: 'a', type: 'next', payload: {} }),
  '4400 on a binary message': closesWith(4400, Buffer.from('{"type":"ping"}')),
  '4400 on subscribe without id': closesWith(4400, { type: 'subscribe', payload: documents.query }),
  '4400 on subscribe with an empty id': closesWith(4400, { id: '', type: 'subscribe', payload: documents.query }),
  '4400 on subscribe with a number for an id': closesWith(4400, { id: 1, type: 'subscribe', payload: documents.query }),
  '4400 on subscribe without payload': closesWith(4400, { id: 'a', type: 'subscribe' }),
  '4400 on subscribe without query': closesWith(4400, { id: 'a', type: 'subscribe', payload: {} }),
  '4400 on a query that is no string': closesWith(4400, { id: 'a', type: 'subscribe', payload: { query: 1 } }),
  '4400 on variables that are no object': closesWith(4400, {
    id: 'a',
    type: 'subscribe',
    payload: { ...documents.query, variables: [1] },
  }),
  '4400 on complete without id': closesWith(4400, { type: 'complete' }),
  '4400 on an init payload that is no object': closesWith(
    4400,
    { type: 'connection_init', payload: 'x' },
    { init: false },
  ),
  '4400 before init too': closesWith(4400, 'nonsense', { init: false }),
  '4401 on subscribe before connection_init': closesWith(
    4401,
    { id: 'a', type: 'subscribe', payload: documents.query },
    { init: false },
  ),
  '4403 on a token that is refused': closesWith(
    4403,
    { type: 'connection_init', payload: { authorization: 'Bearer not-a-token' } },
    { init: false },
  ),
  '4408 without connection_init': async () => {
    const probe = await Probe.open({ init: false });
    const start = Date.now();
    await probe.expectClose(4408, initTimeoutMs + PATIENCE);
    if (Date.now() - start < initTimeoutMs / 2) throw new Error('closed too early');
  },
  '4408 although the client pings': async () => {
    const probe = await Probe.open({ init: false });
    const timer = setInterval(() => probe.socket.readyState === 1 && probe.send({ type: 'ping' }), 100);
    await probe.expectClose(4408, initTimeoutMs + PATIENCE).finally(() => clearInterval(timer));
  },
  '4409 on a duplicate id': async () => {
    const probe = await Probe.open();
    probe.subscribe('same', documents.endless);
    probe.subscribe('same', documents.endless);
    const { reason } = await probe.expectClose(4409);
    if (!reason.includes('same')) throw new Error(`the reason does not name the id: ${reason}`);
  },
  '4409 with a long id keeps the reason short': async () => {
    const probe = await Probe.open();
    const id = 'ü'.repeat(100);
    probe.subscribe(id, documents.endless);
    probe.subscribe(id, documents.endless);
    await probe.expectClose(4409);
  },
  '4429 on a second connection_init': closesWith(4429, { type: 'connection_init' }),
  '4429 on two connection_init at once': async () => {
    const probe = await Probe.open({ init: false });
    probe.send({ type: 'connection_init', payload: probe.credentials() });
    probe.send({ type: 'connection_init', payload: probe.credentials() });
    await probe.expectClose(4429);
  },
  '1009 on a message that is too big': async () => {
    const probe = await Probe.open();
    probe.send({ type: 'ping', payload: { text: 'x'.repeat(4 * 1024 * 1024) } });
    await probe.expectClose(1009);
  },
  '1009 on fragments that are too big together': async () => {
    const probe = await Probe.open();
    const part = Buffer.alloc(32 * 1024, 'x');
    for (let index = 0; index < 128; index += 1) {
      if (probe.socket.readyState !== WebSocket.OPEN) break;
      probe.socket.send(part, { fin: false, binary: false });
    }
    await probe.expectClose(1009);
  },
  '1007 on text that is not UTF-8': async () => {
    const probe = await Probe.open();
    probe.socket.send(Buffer.from([0xff, 0xfe, 0xfd]), { binary: false });
    await probe.expectClose(1007);
  },
  '1002 on frames that break the WebSocket protocol': async () => {
    const probe = await Probe.open();
    // An unmasked text frame "hi": clients must mask (RFC 6455, section 5.1).
    probe.socket._socket.write(Buffer.from([0x81, 0x02, 0x68, 0x69]));
    await probe.expectClose(1002);
  },
  'a wrong subprotocol is refused with 400 or 4406': async () => {
    const code = await refusedHandshake('graphql-ws');
    if (![400, 4406].includes(code)) throw new Error(`got ${code}`);
  },
  'a missing subprotocol is refused with 400 or 4406': async () => {
    const code = await refusedHandshake([]);
    if (![400, 4406].includes(code)) throw new Error(`got ${code}`);
  },
  'a page of another origin is refused with 403': async () => {
    const code = await refusedHandshake(PROTOCOL, { origin: 'https://evil.example' });
    if (code !== 403) throw new Error(`got ${code}`);
  },
  'a page of the same host is not': async () => {
    const probe = await Probe.open({ options: { origin: new URL(url).origin } });
    probe.end();
  },
  'the subprotocol is picked from several': async () => {
    const probe = await Probe.open({ protocol: ['graphql-ws', PROTOCOL] });
    if (probe.socket.protocol !== PROTOCOL) throw new Error(probe.socket.protocol);
    probe.end();
  },
  'a half-sent handshake does not disturb others': async () => {
    const { hostname, port } = new URL(url);
    const raw = net.connect(Number(port || 80), hostname);
    await once(raw, 'connect');
    raw.write(`GET / HTTP/1.1\r\nhost: ${hostname}\r\nsec-websocket-key: ${randomBytes(16).toString('base64')}\r\n`);
    const probe = await Probe.open();
    probe.end();
    raw.destroy();
  },
  'too many operations on one socket are refused one by one': async () => {
    const probe = await Probe.open();
    for (let index = 0; index < 200; index += 1) probe.subscribe(`o${index}`, documents.endless);
    probe.subscribe('last', documents.query);
    let refused = 0;
    for (;;) {
      const message = await probe.message();
      if (message.type !== 'error') continue;
      refused += 1;
      if (message.id === 'last') break;
    }
    if (refused < 2) throw new Error(`${refused} refused`);
    probe.end();
  },
  'a closing client gets its close frame back': async () => {
    const probe = await Probe.open();
    probe.subscribe('s', documents.endless);
    probe.socket.close(1000, 'bye');
    await probe.expectClose(1000);
  },
};

const results = [];
for (const [name, run] of Object.entries(cases)) {
  try {
    await run();
    results.push({ name });
  } catch (error) {
    results.push({ name, problem: error.message });
  }
}
report(results);
