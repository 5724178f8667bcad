// GraphQL over HTTP: runs every check of the graphql-http audit suite against a server.
//
//   node audit.mjs URL [--token TOKEN]        (or GENVID_URL, GENVID_TOKEN)
//
// Prints each check that is not "ok"; the last line is "N passed, N failed". A warning or notice is a failure too.

import { serverAudits } from 'graphql-http';
import { settings, report } from './settings.mjs';

const { url, token } = await settings();
const fetchFn = (input, init = {}) =>
  fetch(input, {
    ...init,
    headers: { ...init.headers, ...(token ? { authorization: `Bearer ${token}` } : {}) },
  });

const results = [];
for (const audit of serverAudits({ url, fetchFn })) {
  const result = await audit.fn();
  results.push({
    name: `${audit.id} ${audit.name}`,
    problem: result.status === 'ok' ? undefined : `${result.status}: ${result.reason}`,
  });
}
report(results);
