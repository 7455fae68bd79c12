import assert from 'node:assert/strict';
import { test } from 'node:test';
import { canonical, parseReference } from '../../../src/image/reference.ts';

const digest = `sha256:${'a'.repeat(64)}`;

for (const [text, expected] of [
  ['busybox', 'docker.io/library/busybox:latest'],
  ['busybox:1.36', 'docker.io/library/busybox:1.36'],
  ['docker.io/busybox', 'docker.io/library/busybox:latest'],
  ['index.docker.io/busybox', 'docker.io/library/busybox:latest'],
  ['team/app', 'docker.io/team/app:latest'],
  ['localhost/app', 'localhost/app:latest'],
  ['localhost:5000/app:v1', 'localhost:5000/app:v1'],
  ['registry.example/a/b/c:v1', 'registry.example/a/b/c:v1'],
  ['127.0.0.1:5000/a', '127.0.0.1:5000/a:latest'],
  ['[::1]:5000/a', '[::1]:5000/a:latest'],
  ['Registry/app', 'Registry/app:latest'],
  ['a__b--c.d', 'docker.io/library/a__b--c.d:latest'],
  [`app@${digest}`, `docker.io/library/app@${digest}`],
  ['my_registry.example/app:1', 'my_registry.example/app:1'],
  // A repository's name may have 255 characters, wherever it is.
  [`registry.example:5000/${'x'.repeat(255)}:1`, `registry.example:5000/${'x'.repeat(255)}:1`],
  [`app@sha512:${'a'.repeat(128)}`, `docker.io/library/app@sha512:${'a'.repeat(128)}`],
  [`app:v1@${digest}`, `docker.io/library/app@${digest}`],
  ['x:_', 'docker.io/library/x:_'],
] as const) {
  test(`reference ${text} is ${expected}`, () => {
    assert.equal(canonical(parseReference(text)), expected);
    assert.equal(canonical(parseReference(expected)), expected);
  });
}

for (const text of [
  '',
  ' ',
  'App',
  'app:',
  'app:-tag',
  `app:${'t'.repeat(129)}`,
  'app@sha256:short',
  `app@sha512:${'a'.repeat(64)}`,
  `app@sha256:${'a'.repeat(128)}`,
  `app@sha384:${'a'.repeat(96)}`,
  `app@${digest.toUpperCase()}`,
  `app@${digest}@${digest}`,
  'a//b',
  '/app',
  'app/',
  'a..b',
  'a___b',
  '../../etc',
  'registry.example/',
  'registry.example:x/app',
  'registry.example:99999/app',
  '[:::::]:5000/app',
  '1.2.3.4.5/app',
  '300.1.1.1:5000/app',
  '-bad.example/app',
  'a'.repeat(64),
  'a'.repeat(128),
  'x'.repeat(256),
  `registry.example/${'x'.repeat(256)}`,
  'my_registry:5000/app',
  'my_registry.example:5000/app',
  `${'x'.repeat(252)}.com/app`,
  'app\nnewline',
  'app\0nul',
  'user@host/app',
  'http://host/app',
]) {
  test(`reference ${JSON.stringify(text.slice(0, 40))} is refused`, () => {
    assert.throws(() => parseReference(text), { name: 'Fault', kind: 'InvalidArgument' });
  });
}
