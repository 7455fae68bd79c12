import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { releaseNotes } from '../../scripts/package-parts/release-notes.ts';

const root = resolve(import.meta.dirname, '../..');
const changelog =
  '# Changes\n\nNewest first.\n\n## Unreleased\n\n- c\n\n## 0.2.0, 2026-12-01\n\n### Security\n\n- b\n\n## 0.1.0\n\n- a\n';

test('a version has what stands under its heading, and no more', () => {
  assert.equal(releaseNotes(changelog, '0.2.0'), '# Berth 0.2.0\n\n## Security\n\n- b\n');
  assert.equal(releaseNotes(changelog, '0.1.0'), '# Berth 0.1.0\n\n- a\n');
  assert.equal(releaseNotes(changelog, 'unreleased'), '# Berth unreleased\n\n- c\n');
  assert.equal(releaseNotes(changelog, '0.2'), null);
});

test('the command prints them, and says what there is not', () => {
  const print = (...args: string[]) =>
    spawnSync(process.execPath, [join(root, 'scripts/release-notes.ts'), ...args], { encoding: 'utf8' });
  const first = /^### (.*)$/m.exec(readFileSync(join(root, 'CHANGELOG.md'), 'utf8'))![1]!;
  assert.ok(print('unreleased').stdout.startsWith(`# Berth unreleased\n\n## ${first}\n`));
  const none = print('9.9.9');
  assert.match(none.stderr, /no heading "## 9\.9\.9"/);
  assert.notEqual(none.status, 0);
});
