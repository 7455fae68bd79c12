import assert from 'node:assert/strict';
import test from 'node:test';
import { judge, parseExpectations, parseReport, readExpectations } from '../../conformance/report.ts';

const spec = (text: string, State: string, more: object = {}) => ({
  LeafNodeType: 'It',
  ContainerHierarchyTexts: ['[k8s.io] Container', 'log'],
  LeafNodeText: text,
  State,
  ...more,
});
const report = JSON.stringify([
  {
    SpecReports: [
      spec('a', 'passed'),
      spec('b', 'failed', { Failure: { Message: 'no' } }),
      spec('c', 'skipped'),
      spec('d', 'timedout'),
      { LeafNodeType: 'BeforeSuite', ContainerHierarchyTexts: null, LeafNodeText: '', State: 'passed' },
      { LeafNodeType: 'AfterSuite', ContainerHierarchyTexts: null, LeafNodeText: '', State: 'panicked' },
    ],
  },
]);

test('specs by full name; a suite node counts only when it failed', () => {
  assert.deepEqual(
    parseReport(report).map(({ name, state, message }) => [name, state, message]),
    [
      ['[k8s.io] Container log a', 'passed', ''],
      ['[k8s.io] Container log b', 'failed', 'no'],
      ['[k8s.io] Container log c', 'skipped', ''],
      ['[k8s.io] Container log d', 'failed', ''],
      ['AfterSuite', 'failed', ''],
    ],
  );
});

test('the verdict: what failed unlisted, and what is listed and passed', () => {
  const list = 'fail [k8s.io] Container log a # why\nfail [k8s.io] Container log b # why\n';
  const { counts, unexpected, surprising, expected } = judge(parseReport(report), parseExpectations(list, 'crun'));
  assert.deepEqual(counts, { passed: 1, failed: 3, skipped: 1 });
  const names = [unexpected, surprising, expected].map((specs) => specs.map(({ name }) => name.at(-1)));
  assert.deepEqual(names, [['d', 'e'], ['a'], ['b']]);
});

test('lines for one runtime only', () => {
  const list = '# c\n\nfail [runc] x # r\nskip y [z] # r # s\n';
  assert.deepEqual(parseExpectations(list, 'crun'), [{ kind: 'skip', name: 'y [z]', reason: 'r # s' }]);
  assert.equal(parseExpectations(list, 'runc').length, 2);
});

for (const line of ['x # y', 'fail x', 'fail  # y', 'skip']) {
  test(`refused line: ${line}`, () => assert.throws(() => parseExpectations(line, 'crun'), /expected-failures.txt:1/));
}

test('the list itself parses', () => assert.ok(readExpectations('crun').length > 0));
