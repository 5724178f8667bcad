// Copies the few files that the page loads from node_modules to assets/, with their licences.

import { copyFile, readFile, writeFile } from 'node:fs/promises';

const here = (path) => new URL(path, import.meta.url);
const files = {
  'react.js': 'react/umd/react.production.min.js',
  'react-dom.js': 'react-dom/umd/react-dom.production.min.js',
  'graphiql.js': 'graphiql/graphiql.min.js',
  'graphiql.css': 'graphiql/graphiql.min.css',
};
for (const [name, source] of Object.entries(files)) {
  await copyFile(here(`node_modules/${source}`), here(`assets/${name}`));
}
const licences = ['react', 'react-dom', 'graphiql', 'graphql'].map(async (name) => {
  const text = await readFile(here(`node_modules/${name}/LICENSE`), 'utf8');
  return `${name}\n\n${text}`;
});
await writeFile(here('assets/licences.txt'), (await Promise.all(licences)).join('\n\n'));
