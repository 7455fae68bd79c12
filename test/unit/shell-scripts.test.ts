// shellcheck has no warning for any shell script here.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, globSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';

const root = resolve(import.meta.dirname, '../..');
const shellcheck = '/usr/bin/shellcheck';
const scripts = globSync(['packaging/**', 'scripts/**', 'test/{harness,hostile}/*.sh', 'test/vm/**'], {
  cwd: root,
}).filter(
  (path) =>
    statSync(join(root, path)).isFile() &&
    /^#(!\/bin\/(ba)?sh| shellcheck shell)/.test(readFileSync(join(root, path), 'utf8')),
);

const skip = !existsSync(shellcheck) && 'no shellcheck here: scripts/prepare test';
test('shellcheck has no warning for the shell scripts', { skip }, () => {
  assert.ok(scripts.includes('packaging/deb/postrm') && scripts.includes('scripts/head.sh'));
  const check = (...args: string[]) =>
    spawnSync(shellcheck, ['--external-sources', '--source-path=SCRIPTDIR', '--severity=warning', ...args], {
      cwd: root,
      encoding: 'utf8',
      input: '#!/bin/sh\ncd /nowhere\nrm -r ./*\n',
    });
  assert.equal(check(...scripts).stdout, '');
  assert.match(check('-').stdout, /SC2164/, 'it does look');
});
