import assert from 'node:assert/strict';
import { test } from 'node:test';
import { featuresOf, probeFeatures } from '../../../../src/lifecycle/runtime/handler-features.ts';

const said = { mountOptions: ['ro', 'rro'], linux: { namespaces: ['pid', 'user'] } };
const cases = [
  { name: 'crun before features', version: 'crun version 1.8.1\ncommit: f8', features: null, rro: true, user: true },
  { name: 'crun without rro', version: 'crun version 1.3', features: null, rro: false, user: true },
  { name: 'runc before features', version: 'runc version 1.0.3', features: null, rro: false, user: true },
  { name: 'one that says all', version: 'youki version 0.5.0', features: said, rro: true, user: true },
  { name: 'one that says little', version: 'runc version 1.3.0', features: { linux: {} }, rro: false, user: false },
  {
    name: 'one that nobody knows',
    version: 'runsc version release-20260101.0',
    features: null,
    rro: false,
    user: false,
  },
  {
    name: 'lists that are none',
    version: 'x',
    features: { mountOptions: 'rro', linux: null },
    rro: false,
    user: false,
  },
] as const;
for (const { name, version, features, rro, user } of cases) {
  test(`features of ${name}`, () => {
    const expected = { version: version.split('\n')[0], recursiveReadOnly: rro, userNamespaces: user };
    assert.deepEqual(featuresOf(version, features, [6, 1]), expected);
  });
}

test('an old kernel has neither, whatever the OCI runtime says', () => {
  assert.deepEqual(featuresOf('x', said, [5, 11]), { version: 'x', recursiveReadOnly: false, userNamespaces: false });
  assert.equal(featuresOf('x', said, [5, 15]).recursiveReadOnly, true);
});

test('a program that does not exist, or fails, has no features', async () => {
  for (const path of ['/no/such/program', '/bin/false']) {
    assert.deepEqual(await probeFeatures(path, '/no/such/root'), {
      version: '',
      recursiveReadOnly: false,
      userNamespaces: false,
    });
  }
});
