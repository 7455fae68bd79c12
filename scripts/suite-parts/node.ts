// What Kubernetes' suite of a node is, for who runs it here and for who runs it in the machine.
import { ensureKubelet, ensureSuiteProgram } from '../../test/kubernetes/index.ts';
import type { Suite } from './asked.ts';
import { imagePrograms } from './runtime.ts';

export const nodeSuite: Suite = {
  name: 'node-suite.ts',
  focus: '\\[NodeConformance\\]',
  focusWords: '\\[NodeConformance\\]',
};

/** Builds what it needs; the first time that takes a quarter of an hour. */
export async function nodeSuitePrograms(): Promise<void> {
  await ensureKubelet();
  for (const name of [...imagePrograms, 'ginkgo', 'e2e_node.test'] as const) await ensureSuiteProgram(name);
}
