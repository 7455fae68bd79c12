import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export type SpecState = 'passed' | 'failed' | 'skipped' | 'pending' | 'other';
export type Spec = { readonly name: string; readonly state: SpecState; readonly message: string };

/** One line of expected-failures.txt. */
export type Expectation = { readonly kind: 'fail' | 'skip'; readonly name: string; readonly reason: string };

type SpecReport = {
  readonly LeafNodeType: string;
  readonly ContainerHierarchyTexts: readonly string[] | null;
  readonly LeafNodeText: string;
  readonly State: string;
  readonly Failure?: { readonly Message?: string };
};

/** The specs of ginkgo's JSON report that ran or were skipped; a failed suite node counts as a spec of its own. */
export function parseReport(text: string): Spec[] {
  const suites = JSON.parse(text) as { SpecReports: SpecReport[] | null }[];
  return suites.flatMap(({ SpecReports }) => (SpecReports ?? []).flatMap(specOf));
}

function specOf(report: SpecReport): Spec[] {
  const state = stateOf(report.State);
  if (report.LeafNodeType !== 'It' && state !== 'failed') return [];
  const name = [...(report.ContainerHierarchyTexts ?? []), report.LeafNodeText || report.LeafNodeType].join(' ');
  return [{ name, state, message: report.Failure?.Message ?? '' }];
}

function stateOf(state: string): SpecState {
  if (['panicked', 'interrupted', 'aborted', 'timedout', 'failed'].includes(state)) return 'failed';
  return state === 'passed' || state === 'skipped' || state === 'pending' ? state : 'other';
}

/** Lines are `fail|skip [RUNTIME] NAME # REASON`; blank lines and lines that start with # say nothing. */
export function parseExpectations(text: string, runtime: string): Expectation[] {
  return text.split('\n').flatMap((line, index) => {
    if (line.trim() === '' || line.startsWith('#')) return [];
    const match = /^(fail|skip)(?: \[(\w+)\])? (.+?) # (.+)$/.exec(line);
    if (!match) throw new Error(`expected-failures.txt:${index + 1}: not "fail|skip [RUNTIME] NAME # REASON": ${line}`);
    const [, kind, only, name = '', reason = ''] = match;
    return only && only !== runtime ? [] : [{ kind: kind as Expectation['kind'], name, reason }];
  });
}

export const readExpectations = (runtime: string): Expectation[] =>
  parseExpectations(readFileSync(join(import.meta.dirname, 'expected-failures.txt'), 'utf8'), runtime);

export type Verdict = {
  readonly counts: Readonly<Record<'passed' | 'failed' | 'skipped', number>>;
  /** Failed and not listed: the reason to fail. */
  readonly unexpected: readonly Spec[];
  /** Listed and passed: the list is out of date, also a reason to fail. */
  readonly surprising: readonly Spec[];
  readonly expected: readonly Spec[];
};

/** Compares what happened with what was expected. */
export function judge(specs: readonly Spec[], expectations: readonly Expectation[]): Verdict {
  const count = (state: SpecState) => specs.filter((spec) => spec.state === state).length;
  const listed = new Set(expectations.filter(({ kind }) => kind === 'fail').map(({ name }) => name));
  const failed = specs.filter(({ state }) => state === 'failed');
  return {
    counts: { passed: count('passed'), failed: failed.length, skipped: count('skipped') },
    unexpected: failed.filter(({ name }) => !listed.has(name)),
    surprising: specs.filter(({ name, state }) => state === 'passed' && listed.has(name)),
    expected: failed.filter(({ name }) => listed.has(name)),
  };
}
