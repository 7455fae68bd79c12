import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseCdiYaml } from '../../../../src/lifecycle/container/cdi-yaml.ts';
import { parseCdiSpec } from '../../../../src/oci/index.ts';

describe('YAML as the library of CDI reads it', () => {
  const values: [text: string, value: unknown][] = [
    ['0640', 0o640],
    ['0o640', 0o640],
    ['640', 640],
    ['0x1F', 31],
    ['1_000', 1000],
    ['"0640"', '0640'],
    ['1:30', '1:30'],
    ['2001-12-14', '2001-12-14'],
    ['yes', true],
    ['~', null],
  ];
  for (const [text, value] of values) {
    test(`${text} is ${JSON.stringify(value)}`, () => assert.deepEqual(parseCdiYaml(`a: ${text}`), { a: value }));
  }

  test('a key twice is refused', () => assert.throws(() => parseCdiYaml('a: 1\na: 2'), /DUPLICATE_KEY/));

  test('of several documents the first is read, whatever follows', () => {
    for (const rest of ['---\n', '---\na: 2\n', '...\n', '---\nb: [\n'])
      assert.deepEqual(parseCdiYaml(`---\na: 1\n${rest}`), { a: 1 });
    assert.throws(() => parseCdiYaml('a: [\n---\na: 1\n'));
  });

  test('a device that is called by a number, with an octal mode', () => {
    const source = `cdiVersion: 0.6.0
kind: vendor.com/gpu
devices:
  - name: 0
    containerEdits:
      deviceNodes:
        - path: /dev/x
          fileMode: 0640
  - name: 0:1
`;
    const { devices } = parseCdiSpec(parseCdiYaml(source));
    assert.deepEqual([...devices.keys()], ['0', '0:1']);
    assert.equal(devices.get('0')?.nodes[0]?.fileMode, 0o640);
  });
});
