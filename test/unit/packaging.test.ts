import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { nodeEnvironment, nodeFlags } from '../../src/commands/node-flags.ts';

const root = resolve(import.meta.dirname, '../..');
const unit = readFileSync(join(root, 'packaging/berth.service'), 'utf8');
const setting = (key: string) => new RegExp(`^${key}=(.*)$`, 'm').exec(unit)?.[1];

test('the unit starts the daemon as the code says it is to be started', () => {
  const folder = '/usr/local/lib/berth';
  assert.equal(setting('ExecStart'), [`${folder}/node`, ...nodeFlags, `${folder}/main.cjs`, 'serve'].join(' '));
  assert.deepEqual(
    setting('Environment'),
    Object.entries(nodeEnvironment)
      .map((pair) => pair.join('='))
      .join(' '),
  );
  assert.equal(setting('ExecReload'), `${folder}/node ${folder}/main.cjs reload`);
  assert.equal(setting('KillMode'), 'process', 'or systemd ends the pods with the daemon');
  assert.equal(setting('Delegate'), 'yes');
});

const analyze = '/usr/bin/systemd-analyze';
test('systemd takes the unit without a remark', { skip: !existsSync(analyze) && 'no systemd here' }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-unit-'));
  try {
    const file = join(folder, 'berth.service');
    writeFileSync(file, unit.replaceAll('/usr/local/lib/berth/node', '/bin/true')); // it looks whether the program is there
    const { stderr, status } = spawnSync(analyze, ['verify', '--man=no', file], { encoding: 'utf8' });
    const remarks = stderr.split('\n').filter((line) => line.includes('berth.service'));
    assert.deepEqual({ remarks, status }, { remarks: [], status: 0 });
    writeFileSync(join(folder, 'wrong.service'), unit.replace('KillMode=', 'KilMode='));
    const wrong = spawnSync(analyze, ['verify', '--man=no', join(folder, 'wrong.service')], { encoding: 'utf8' });
    assert.match(wrong.stderr, /KilMode/, 'it does look');
  } finally {
    rmSync(folder, { recursive: true });
  }
});
