import assert from 'node:assert/strict';
import { test } from 'node:test';
import { escapesOf } from '../../../../src/lifecycle/runtime/known-escapes.ts';

const leaky = ['CVE-2024-21626'];
const race = ['CVE-2025-31133', 'CVE-2025-52565', 'CVE-2025-52881'];
const krun = ['CVE-2025-24965'];
const cases: Record<string, readonly string[]> = {
  'runc version 1.0.0-rc6': ['CVE-2019-5736', 'CVE-2021-30465', ...leaky, ...race],
  'runc version 1.0.0-rc92+dev': ['CVE-2021-30465', ...leaky, ...race],
  'runc version 1.0.0': [...leaky, ...race],
  'runc version 1.1.5+ds1': [...leaky, ...race],
  'runc version 1.1.11': [...leaky, ...race],
  'runc version 1.1.12': race,
  'runc version 1.1.15-0ubuntu1~24.04.1': race,
  'runc version v1.2.7': race,
  'runc version 1.2.8': [],
  'runc version 1.3.2': race,
  'runc version 1.3.3': [],
  'runc version 1.4.0-rc.2': race,
  'runc version 1.4.0-rc.3': [],
  'runc version 1.4.0': [],
  'runc version 1.5.3': [],
  'runc version 1.5.0-rc.1': [],
  'runc version 2.0.0': [],
  'crun version 0.10.4': ['CVE-2019-18837', ...krun],
  'crun version 1.8.1': krun,
  'crun version 1.19.1': krun,
  'crun version 1.20': [],
  'crun version 1.28.2': [],
  'crun version 1.29.1': ['CVE-2026-84042'],
  'crun version 1.30': [],
  'youki version 0.5.6': ['CVE-2025-62161', 'CVE-2025-62596'],
  'youki version 0.6.0': [],
  'runsc version release-20260101.0': [],
  'runc version unknown': [],
  'other version 1.0.0': [],
  runc: [],
  '': [],
};

for (const [version, ids] of Object.entries(cases)) {
  test(`${JSON.stringify(version)}: ${ids.length === 0 ? 'none' : ids.join(', ')}`, () => {
    assert.deepEqual(
      escapesOf(version).map((text) => text.split(':', 1)[0]),
      ids,
    );
  });
}

test('each says what it is and where it is mended', () => {
  assert.match(
    escapesOf('runc version 1.2.0')[0]!,
    /^CVE-2025-31133: .*\/proc.*; mended in 1\.2\.8, 1\.3\.3, 1\.4\.0-rc\.3$/,
  );
});
