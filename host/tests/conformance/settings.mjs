// What the conformance scripts share: where the server is, which documents to send, how results are told.

import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

/**
 * Arguments win over the environment: URL or GENVID_URL, `--token` or GENVID_TOKEN, `--documents FILE` or
 * GENVID_DOCUMENTS. The file names the operations that the server under test understands (see documents.json).
 */
export async function settings() {
  const options = {};
  const rest = [];
  const args = process.argv.slice(2);
  while (args.length > 0) {
    const arg = args.shift();
    if (arg.startsWith('--')) options[arg.slice(2)] = args.shift();
    else rest.push(arg);
  }
  const url = rest[0] ?? process.env.GENVID_URL;
  if (!url) {
    console.error('usage: node SCRIPT URL [--token TOKEN] [--documents FILE]');
    process.exit(2);
  }
  const file =
    options.documents ?? process.env.GENVID_DOCUMENTS ?? fileURLToPath(new URL('documents.json', import.meta.url));
  return {
    url,
    socketUrl: url.replace(/^http/, 'ws'),
    token: options.token ?? process.env.GENVID_TOKEN,
    documents: JSON.parse(await readFile(file, 'utf8')),
    initTimeoutMs: Number(options['init-timeout-ms'] ?? process.env.GENVID_INIT_TIMEOUT_MS ?? 10_000),
  };
}

/** Prints what failed and the counts; the exit code says whether all passed. */
export function report(results) {
  const failed = results.filter((result) => result.problem !== undefined);
  for (const { name, problem } of failed) console.log(`not ok - ${name}: ${problem}`);
  console.log(`${results.length - failed.length} passed, ${failed.length} failed`);
  process.exit(failed.length === 0 ? 0 : 1);
}
