import assert from 'node:assert/strict';
import { test } from 'node:test';
import { timeline } from '../../../src/commands/trace.ts';
import { timeByKind } from '../../../src/commands/trace-kinds.ts';
import { timelinePicture } from '../../../src/commands/trace-picture.ts';

const steps = [
  { name: 'record: pod', beginMs: 1, endMs: 2 },
  { name: 'shim: run of /usr/lib/cni/bridge', beginMs: 2, endMs: 8 },
  { name: 'process: bridge ADD', beginMs: 3, endMs: 7 },
  { name: 'file: <hosts> & more', beginMs: 6, endMs: 9 },
];
const call = {
  ...{ call: 'RunPodSandbox', object: 'ab'.repeat(32), startedAt: 1_795_408_462_000_000_000n },
  ...{ durationMs: 10, failed: true, steps },
};
const trace = { podId: 'ab'.repeat(32), calls: [call] };

test('every moment counts once, for the innermost kind of work', () => {
  assert.deepEqual(Object.fromEntries(timeByKind(call)), { process: 4, file: 2, shim: 1, record: 1, between: 2 });
  assert.deepEqual(timeByKind({ ...call, steps: [] }), [['between', 10]]);
});

test('a timeline has a bar a step, in its place', () => {
  const lines = timeline(trace).split('\n');
  assert.match(lines[2]!, /^RunPodSandbox abababababab {2}10\.00 ms, failed {2}2026-11-/);
  const bars = lines.slice(3, 7).map((line) => line.slice(line.indexOf('|')));
  assert.ok(bars.every((bar) => bar.length === 50 && bar.endsWith('|')));
  const begins = bars.map((bar) => bar.search('█'));
  assert.deepEqual(begins, [5, 10, 15, 29]);
  assert.match(lines[7]!, /ms by kind: process 4\.00, /);
});

test('a picture is one SVG document', () => {
  const picture = timelinePicture(trace);
  assert.match(picture, /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" width="1100" height="\d+"/);
  assert.equal(picture.match(/<rect /g)!.length, 1 + steps.length);
  assert.match(picture, /file: &lt;hosts&gt; &amp; more/);
  assert.equal(picture.match(/<text /g)!.length, picture.match(/<\/text>/g)!.length);
});
