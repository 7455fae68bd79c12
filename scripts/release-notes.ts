// Prints what CHANGELOG.md has of a version: npm run -s release-notes -- VERSION, or `unreleased`.
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { optionsOf, refuse } from './options.ts';
import { releaseNotes } from './package-parts/release-notes.ts';

const { positionals } = optionsOf('the head of scripts/release-notes.ts', { allowPositionals: true, options: {} });
const [version, ...more] = positionals;
if (version === undefined || more.length > 0) refuse('Name one version: npm run -s release-notes -- 0.2.0');
else {
  const notes = releaseNotes(readFileSync(join(resolve(import.meta.dirname, '..'), 'CHANGELOG.md'), 'utf8'), version);
  if (notes === null) refuse(`CHANGELOG.md has no heading "## ${version}"`);
  else process.stdout.write(notes);
}
