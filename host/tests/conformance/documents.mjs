// Operations of the real schema for the other scripts, as in documents.json for the toy schema.
//
//   GENVID_READY_FILE=FILE node documents.mjs > DOCUMENTS
//
// The file is the one that `genvid dev --ready-file FILE` writes. What the operations speak of is made first: a job
// that is over, so that following it ends, and jobs that tell something all the time for some minutes. Simulated
// vendors are needed, for they can be told to write slowly.

import { readFile } from 'node:fs/promises';

/** How long a slow script takes: longer than all scripts together, within the time of one call of a provider. */
const SLOW_MS = 240_000;
/** So many slow scripts at a time, so that something is told several times a second. */
const SLOW_JOBS = 40;
const PATIENCE_MS = 30_000;

const ready = JSON.parse(await readFile(process.env.GENVID_READY_FILE, 'utf8'));

async function post(url, body) {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${ready.token}` },
    body: JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok || answer.errors) throw new Error(`${url}: ${response.status} ${JSON.stringify(answer)}`);
  return answer;
}

const ask = async (query, variables) => (await post(ready.graphql, { query, variables })).data;
const pace = (writeMs) => post(`${ready.simulators.openai}/_control/clock`, { writeMs });

async function script(key) {
  const { generateScript } = await ask(
    `mutation ($input: GenerateScriptInput!) {
      generateScript(input: $input) {
        ... on GenerateScriptSuccess { job { id } }
        ... on Problem { code message }
      }
    }`,
    { input: { idempotencyKey: key, language: 'en', brief: 'A steel bottle.', provider: 'openai', reuse: false } },
  );
  if (!generateScript.job) throw new Error(JSON.stringify(generateScript));
  return generateScript.job.id;
}

async function finished(id) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const { job } = await ask('query ($id: ID!) { job(id: $id) { status } }', { id });
    if (job.status === 'SUCCEEDED') return;
    if (Date.now() > deadline) throw new Error(`${id} is still ${job.status}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const run = `conformance-${Date.now()}`;
await pace(100);
const over = await script(`${run}-over`);
await finished(over);
await pace(SLOW_MS);
await Promise.all(Array.from({ length: SLOW_JOBS }, (_, index) => script(`${run}-${index}`)));

const follow = 'subscription { myJobEvents { cursor type } }';
console.log(
  JSON.stringify(
    {
      query: { query: '{ __typename }' },
      invalid: { query: '{ fieldThatDoesNotExist }' },
      mutation: {
        query: 'mutation { createProject(input: { name: "Conformance" }) { ... on CreateProjectSuccess { project { id } } } }',
      },
      finite: {
        query: 'subscription ($id: ID!) { jobEvents(jobId: $id) { seq type } }',
        variables: { id: over },
      },
      endless: { query: follow },
      ticking: { query: follow },
    },
    null,
    2,
  ),
);
