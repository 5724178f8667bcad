// The reference clients graphql-ws and graphql-sse against a server: query, mutation, subscription, refusal, reconnect.
//
//   node clients.mjs URL [--token TOKEN] [--documents FILE]
//
// The last line is "N passed, N failed".

import { createClient as createSocketClient } from 'graphql-ws';
import { createClient as createStreamClient } from 'graphql-sse';
import { buildClientSchema, getIntrospectionQuery, printSchema } from 'graphql';
import WebSocket from 'ws';
import { settings, report } from './settings.mjs';

const { url, socketUrl, token, documents } = await settings();
const PATIENCE = 10_000;
const authorization = token ? `Bearer ${token}` : undefined;

function socketClient(options = {}) {
  return createSocketClient({
    url: socketUrl,
    webSocketImpl: WebSocket,
    retryAttempts: 0,
    connectionParams: authorization ? { authorization } : undefined,
    ...options,
  });
}

function streamClient(options = {}) {
  return createStreamClient({
    url,
    retryAttempts: 0,
    headers: authorization ? { authorization } : {},
    ...options,
  });
}

/** All results of an operation, until it ends. */
async function collect(client, payload, enough = Infinity) {
  const results = [];
  for await (const result of client.iterate(payload)) {
    results.push(result);
    if (results.length >= enough) break;
  }
  return results;
}

function late() {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`nothing within ${PATIENCE} ms`)), PATIENCE).unref();
  });
}

function assert(condition, what) {
  if (!condition) throw new Error(what);
}

const both = {
  'runs a query': async (client) => {
    const results = await collect(client, documents.query);
    assert(results.length === 1 && results[0].data && !results[0].errors, JSON.stringify(results));
  },
  'runs a mutation': async (client) => {
    const results = await collect(client, documents.mutation);
    assert(results.length === 1 && results[0].data && !results[0].errors, JSON.stringify(results));
  },
  'streams a subscription to its end': async (client) => {
    const results = await collect(client, documents.finite);
    assert(results.length > 0 && results.every((result) => result.data && !result.errors), JSON.stringify(results));
  },
  'leaves an endless subscription': async (client) => {
    const results = await collect(client, documents.ticking, 3);
    assert(results.length === 3, JSON.stringify(results));
  },
  'runs twenty operations at once': async (client) => {
    const all = await Promise.all(Array.from({ length: 20 }, () => collect(client, documents.query)));
    assert(all.every((results) => results.length === 1 && results[0].data), JSON.stringify(all));
  },
};

const cases = {};
for (const [name, run] of Object.entries(both)) {
  cases[`graphql-ws ${name}`] = async () => {
    const client = socketClient();
    await run(client);
    await client.dispose();
  };
  cases[`graphql-sse ${name}`] = async () => {
    const client = streamClient();
    await run(client);
    client.dispose();
  };
}

cases['the schema can be read whole by introspection'] = async () => {
  const query = getIntrospectionQuery({ schemaDescription: true, specifiedByUrl: true, inputValueDeprecation: true });
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(authorization ? { authorization } : {}) },
    body: JSON.stringify({ query }),
  });
  const { data, errors } = await response.json();
  assert(data && !errors, JSON.stringify(errors));
  assert(printSchema(buildClientSchema(data)).includes('type Query'), 'no type Query');
};
cases['graphql-ws reports a validation error as errors'] = async () => {
  const client = socketClient();
  const outcome = await collect(client, documents.invalid).catch((error) => error);
  assert(Array.isArray(outcome) && outcome[0]?.extensions?.code, JSON.stringify(outcome));
  await client.dispose();
};
cases['graphql-sse reports a validation error as a result'] = async () => {
  const client = streamClient();
  const results = await collect(client, documents.invalid);
  assert(results.length === 1 && results[0].errors?.[0]?.extensions?.code, JSON.stringify(results));
  assert(!('data' in results[0]), 'data is there');
  client.dispose();
};
cases['graphql-ws is told 4403 for a wrong token'] = async () => {
  const client = socketClient({ connectionParams: { authorization: 'Bearer not-a-token' } });
  const error = await collect(client, documents.query).catch((error) => error);
  assert(error?.code === 4403, `${error?.code} ${error?.reason ?? error}`);
  await client.dispose();
};
cases['graphql-sse is told 401 for a wrong token'] = async () => {
  const client = streamClient({ headers: { authorization: 'Bearer not-a-token' } });
  const error = await collect(client, documents.query).catch((error) => error);
  assert(error?.response?.status === 401, `${error?.response?.status} ${error}`);
  client.dispose();
};
cases['graphql-ws keeps the connection with its own pings'] = async () => {
  let pongs = 0;
  const client = socketClient({ keepAlive: 100, on: { pong: (received) => (pongs += received ? 1 : 0) } });
  await collect(client, documents.ticking, 10);
  assert(pongs > 0, 'no pong');
  await client.dispose();
};
cases['graphql-ws reconnects after its connection broke'] = async () => {
  let socket;
  let connections = 0;
  const client = socketClient({
    retryAttempts: 3,
    retryWait: () => new Promise((resolve) => setTimeout(resolve, 50)),
    on: {
      connected: (opened) => {
        socket = opened;
        connections += 1;
      },
    },
  });
  let results = 0;
  for await (const _ of client.iterate(documents.ticking)) {
    results += 1;
    if (results === 2) socket.terminate();
    if (results === 5) break;
  }
  assert(connections === 2, `${connections} connections`);
  await client.dispose();
};
cases['graphql-sse reconnects after its connection broke'] = async () => {
  let connections = 0;
  let breakIt;
  const client = streamClient({
    retryAttempts: 3,
    retry: () => new Promise((resolve) => setTimeout(resolve, 50)),
    fetchFn: async (input, init) => {
      connections += 1;
      const response = await fetch(input, init);
      if (connections > 1) return response;
      // The first connection breaks off in the middle.
      const reader = response.body.getReader();
      const body = new ReadableStream({
        start(controller) {
          breakIt = () => controller.error(new TypeError('terminated'));
        },
        async pull(controller) {
          const { done, value } = await reader.read();
          if (done) controller.close();
          else controller.enqueue(value);
        },
        cancel: (reason) => reader.cancel(reason),
      });
      return new Response(body, { status: response.status, headers: response.headers });
    },
  });
  let results = 0;
  for await (const _ of client.iterate(documents.ticking)) {
    results += 1;
    if (results === 2) breakIt();
    if (results === 5) break;
  }
  assert(connections === 2, `${connections} connections`);
  client.dispose();
};

const results = [];
for (const [name, run] of Object.entries(cases)) {
  try {
    await Promise.race([run(), late()]);
    results.push({ name });
  } catch (error) {
    results.push({ name, problem: error?.message ?? JSON.stringify(error) });
  }
}
report(results);
