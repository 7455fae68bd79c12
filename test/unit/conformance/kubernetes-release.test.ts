// The releases of Kubernetes that tests can choose: each is one, whole and with its sums.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { afterEach, describe, test } from 'node:test';
import { chooseRelease, minors, release, releases } from '../../kubernetes/release.ts';

const asStarted = process.env.BERTH_KUBERNETES ?? '';
afterEach(() => chooseRelease(asStarted));

test('the newest, if none is named', () => {
  chooseRelease('');
  assert.equal(release().minor, minors.toSorted((a, b) => Number(a.split('.')[1]) - Number(b.split('.')[1])).at(-1));
});

test('one that is not there is told with those that are', () => {
  chooseRelease('1.4');
  assert.throws(release, { message: `BERTH_KUBERNETES=1.4: give ${minors.join(', ')}` });
});

for (const { minor, version, module } of releases) {
  describe(version, () => {
    test('is chosen by its minor', () => {
      chooseRelease(minor);
      assert.deepEqual([release().version, release().module], [version, module]);
    });

    test('its parts are of its own patch, and its sums are there', () => {
      const parts = version.replace('v1.', 'v0.');
      const replaced = [...readFileSync(module, 'utf8').matchAll(/^\t(k8s\.io\/\S+) => (\S+) (\S+)$/gm)];
      assert.ok(replaced.length > 25, `${replaced.length} parts`);
      for (const [line, name, by, at] of replaced) assert.deepEqual([by, at], [name, parts], line);
      assert.ok(existsSync(module.replace(/mod$/, 'sum')));
    });
  });
}
