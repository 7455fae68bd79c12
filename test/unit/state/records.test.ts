import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { Records } from '../../../src/state/records.ts';

type Thing = { readonly id: string; readonly value: number };
const options = {
  what: 'thing',
  parse: (json: unknown): Thing => {
    const { id, value } = json as Thing;
    if (typeof value !== 'number') throw new Error('it has no value');
    return { id, value };
  },
};

describe('Records', () => {
  let root = '';
  const open = () => Records.open<string, Thing>(root, options);
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'berth-records-'));
  });
  afterEach(() => rmSync(root, { recursive: true }));

  test('what was put is there after a new open, what was deleted is not', async () => {
    const records = await open();
    await records.put({ id: 'sha256:aa', value: 1 });
    await records.put({ id: 'bb', value: 2 });
    await records.put({ id: 'bb', value: 3 });
    await records.put({ id: 'cc', value: 4 });
    await records.delete('cc');
    await records.delete('never');
    assert.deepEqual(readdirSync(join(root, 'things')).sort(), ['bb.json', 'sha256-aa.json']);
    assert.deepEqual(
      [...(await open()).all()].sort((a, b) => a.value - b.value),
      [
        { id: 'sha256:aa', value: 1 },
        { id: 'bb', value: 3 },
      ],
    );
  });

  test('find takes an id or a prefix that only one has', async () => {
    const records = await open();
    for (const id of ['abc', 'abd', 'abcd']) await records.put({ id, value: 0 });
    assert.equal(records.find('abc')?.id, 'abc');
    assert.equal(records.find('abd')?.id, 'abd');
    assert.equal(records.find('ab'), undefined);
    assert.equal(records.find(''), undefined);
    assert.equal(records.find('zz'), undefined);
    assert.deepEqual(
      ['ab', 'abc', 'abd', '', 'zz'].filter((id) => records.isAmbiguous(id)),
      ['ab'],
    );
  });

  test('bad files go to quarantine, temporary ones away; the rest is served', async () => {
    const records = await open();
    await records.put({ id: 'good', value: 1 });
    const folder = join(root, 'things');
    const bad = {
      'half.json': '{"id":"half","val',
      'other.json': '{"id":"else","value":1}',
      'novalue.json': '{"id":"novalue"}',
      'null.json': 'null',
    };
    for (const [name, text] of Object.entries(bad)) writeFileSync(join(folder, name), text);
    writeFileSync(join(folder, '.good.json.1.2.tmp'), '{');
    assert.deepEqual([...(await open()).all()], [{ id: 'good', value: 1 }]);
    assert.deepEqual(readdirSync(folder), ['good.json']);
    const kept = readdirSync(join(root, 'quarantine'));
    assert.equal(kept.length, 4);
    assert.equal(
      readFileSync(join(root, 'quarantine', kept.find((name) => name.endsWith('half.json'))!), 'utf8'),
      bad['half.json'],
    );
  });

  test('listeners hear of each change with what was before', async () => {
    const records = await open();
    const heard: unknown[] = [];
    const stop = records.listen((after, before) => heard.push([before?.value, after?.value]));
    await records.put({ id: 'a', value: 1 });
    await records.put({ id: 'a', value: 2 });
    await records.delete('a');
    stop();
    await records.put({ id: 'a', value: 3 });
    assert.deepEqual(heard, [
      [undefined, 1],
      [1, 2],
      [2, undefined],
    ]);
  });

  /** A disk that takes nothing: there is no folder any more. */
  const refuse = () => renameSync(join(root, 'things'), join(root, 'away'));
  const accept = () => renameSync(join(root, 'away'), join(root, 'things'));
  const onDisk = (id: string) => JSON.parse(readFileSync(join(root, 'things', `${id}.json`), 'utf8')).value;

  test('an end is true while the disk refuses it, and is written as soon as it takes it', {
    timeout: 10_000,
  }, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const records = await open();
    await records.put({ id: 'a', value: 1 });
    const heard: unknown[] = [];
    records.listen((after, before) => heard.push([before?.value, after?.value]));
    refuse();
    await assert.rejects(records.put({ id: 'a', value: 2 }));
    assert.equal(records.get('a')?.value, 1);
    await records.settle({ id: 'a', value: 3 });
    assert.equal(records.get('a')?.value, 3);
    assert.deepEqual(heard, [[1, 3]]);
    t.mock.timers.tick(1000);
    await new Promise(setImmediate);
    accept(); // the attempt under way may be the one that succeeds
    while (onDisk('a') !== 3) {
      t.mock.timers.tick(1000);
      await new Promise(setImmediate);
    }
    assert.deepEqual(heard, [[1, 3]]);
  });

  test('an end that the disk refused comes not back after what followed it', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const records = await open();
    for (const id of ['changed', 'deleted']) await records.put({ id, value: 1 });
    refuse();
    for (const id of ['changed', 'deleted']) await records.settle({ id, value: 2 });
    accept();
    await Promise.all([records.put({ id: 'changed', value: 3 }), records.delete('deleted')]);
    for (let tries = 0; tries < 5; tries++) {
      t.mock.timers.tick(1000);
      await new Promise(setImmediate);
    }
    assert.deepEqual([...(await open()).all()], [{ id: 'changed', value: 3 }]);
  });

  test('an end that is settled during a change stays the truth', async () => {
    const records = await open();
    await records.put({ id: 'a', value: 1 });
    const change = records.put({ id: 'a', value: 2 });
    const end = records.settle({ id: 'a', value: 3 });
    await Promise.all([change, end]);
    assert.deepEqual([records.get('a')?.value, onDisk('a')], [3, 3]);
  });
});
