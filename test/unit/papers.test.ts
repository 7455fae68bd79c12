// The papers are true as far as a program can tell: links lead somewhere, paths exist, README is short.
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, test } from 'node:test';

const root = resolve(import.meta.dirname, '../..');
const papers = globSync(['*.md', 'docs/*.md'], { cwd: root }).sort();
const textOf = (paper: string): string => readFileSync(join(root, paper), 'utf8');

/** As Git hosts make them of a heading. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');
const anchorsOf = (paper: string): string[] =>
  [...textOf(paper).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => anchorOf(heading));

/** A link that leads nowhere, or undefined. */
function brokenLink(paper: string, link: string): string | undefined {
  const [path = '', anchor] = link.split('#');
  const target = path === '' ? paper : relative(root, resolve(root, dirname(paper), path));
  if (!existsSync(join(root, target))) return `${link}: there is no ${target}`;
  if (anchor !== undefined && !anchorsOf(target).includes(anchor)) return `${link}: ${target} has no such heading`;
  return undefined;
}

/** Paths of the repository that a text names, in code or in a command. NAME and the like stand for many. */
const pathsIn = (text: string): string[] =>
  [...text.matchAll(/(?<![\w./-])(?:\.\/)?((?:scripts|src|test|native|proto|docs)\/[\w./-]*\w\/?)/g)]
    .map(([, path = '']) => path)
    .filter((path) => !/[A-Z]{4}|^native\/build/.test(path));

describe('papers', () => {
  test('are found', () => assert.ok(papers.includes('README.md') && papers.includes('docs/promises.md')));

  for (const paper of papers) {
    test(`${paper}: its links lead somewhere`, () => {
      const links = [...textOf(paper).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link);
      const relatives = links.filter((link) => !/^[a-z]+:/.test(link));
      assert.deepEqual(
        relatives.flatMap((link) => brokenLink(paper, link) ?? []),
        [],
      );
    });

    test(`${paper}: the files that it names exist`, () => {
      const missing = pathsIn(textOf(paper)).filter((path) => !existsSync(join(root, path)));
      assert.deepEqual(missing, []);
    });
  }

  test('docs/security.md and docs/promises.md: the test that a row names exists', () => {
    const names = ['docs/security.md', 'docs/promises.md'].flatMap((paper) =>
      [
        ...textOf(paper).matchAll(/(?<![\w/.-])(?:security|hostile|degraded|node|unit|crash|sweeps)\/[a-z][\w/-]*\w/g),
      ].map(([name]) => `test/${name}`),
    );
    assert.ok(names.length > 60);
    const exists = (name: string) => existsSync(join(root, `${name}.test.ts`)) || existsSync(join(root, `${name}.ts`));
    assert.deepEqual(
      names.filter((name) => !exists(name)),
      [],
    );
  });

  test('README is for ten minutes: at most 100 lines', () => {
    assert.ok(textOf('README.md').trimEnd().split('\n').length <= 100);
  });

  test('every page of docs/ can be found from README', () => {
    const known = textOf('README.md');
    assert.deepEqual(
      papers.filter((paper) => paper !== 'README.md' && !known.includes(`(${paper})`)),
      [],
    );
  });
});
