// containerd's own tests of CRI over a socket (its package integration): those that ask a runtime that is there, and do not start,
// restart or configure containerd.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { buildGo } from '../../conformance/go.ts';
import { program } from '../../images/run.ts';

/** The compiled tests; the first build takes minutes. */
export const ensureCriTests = (): Promise<string> =>
  buildGo(
    import.meta.dirname,
    ['test', '-c', '-vet=off'],
    'github.com/containerd/containerd/v2/integration',
    'tools.go',
    undefined,
    { CGO_ENABLED: '0' },
  );

/** What is left out, by parts of names, and why. */
export const leftOut: Readonly<Record<string, string>> = {
  'ContainerdImage|ContainerdSandboxImage|ImageLoad|ImageVolume':
    "they look at containerd's images, or change them by ctr",
  'ContainerdRestart|PodSandboxWithRestart|Reload100Pods|Upgrade|SandboxStopWithNilCNIResult':
    'they restart containerd',
  'VolatileOption|CgroupWritable|OOMEventMonitor|CRIImagePullTimeout|RuntimeHandlerUnpack|Issue10244':
    'they start a containerd with a configuration of its own',
  'IOLeak|TTYLeak|Issue7496|Issue10467|ShutdownShim|ConnectShim|PodSandboxController|KillShim':
    "they look at containerd's shim",
  'RunPodSandboxWithS|RunPodSandboxAndTeardown': 'faults injected into its shim and plugin',
  Nri: 'NRI, which Berth does not have yet',
  ContainerConsumedStats: 'its image is not to be had here',
};

export type Verdict = { readonly name: string; readonly state: 'passed' | 'failed' | 'skipped' };
type Options = { readonly socket: string; readonly list: string; readonly log: string; readonly only: string };

/** Runs them against the runtime at `socket`, which is told of in `log`; `only` names some by an expression. */
export async function runCriTests({ socket, list, log, only }: Options): Promise<Verdict[]> {
  const skip = Object.keys(leftOut).join('|');
  const flags = ['-test.v', '-test.timeout=30m', `-test.run=${only}`, `-test.skip=${skip}`];
  const child = spawn(await ensureCriTests(), [...flags, `-cri-endpoint=unix://${socket}`, `-image-list=${list}`], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: `${program('ip', 'iproute2').replace(/\/ip$/, '')}:/usr/sbin:/usr/bin:/sbin:/bin` },
  });
  const file = createWriteStream(log);
  child.stderr.pipe(file, { end: false });
  const verdicts: Verdict[] = [];
  const states = { PASS: 'passed', FAIL: 'failed', SKIP: 'skipped' } as const;
  createInterface({ input: child.stdout }).on('line', (line) => {
    file.write(`${line}\n`);
    const [, word, name] = /^\s*--- (PASS|FAIL|SKIP): (\S+)/.exec(line) ?? [];
    if (word && name) verdicts.push({ name, state: states[word as keyof typeof states] });
  });
  await once(child, 'close');
  file.end();
  return verdicts;
}
