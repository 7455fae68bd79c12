// The verbs of scripts/cluster, outside of the cluster's namespaces.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { endProcess } from '../../src/sys/end-process.ts';
import { clusterPrograms, ensureNameServer, ensureProgram } from '../../test/kubernetes/index.ts';
import { chooseRelease, chosenMinor, minors } from '../../test/kubernetes/release.ts';
import { oneOf, optionsOf } from '../options.ts';
import { type Facts, factsFile, folder, kubeconfig, logOf, pidFile } from './place.ts';

const here = import.meta.dirname;

/** The pid of the cluster that is there, or null. A pid that came round is told by its command. */
function running(): number | null {
  if (!existsSync(pidFile)) return null;
  const pid = Number(readFileSync(pidFile, 'utf8'));
  try {
    return /own-host\.sh|node\.ts/.test(readFileSync(`/proc/${pid}/cmdline`, 'latin1')) ? pid : null;
  } catch {
    return null;
  }
}

const childrenOf = (pid: string): string[] =>
  readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean),
  );

/** The first process in the namespaces: own-host.sh's child is unshare, and its child is there. */
function inside(pid: number): string {
  const [unshare = ''] = childrenOf(`${pid}`);
  const [first = ''] = childrenOf(unshare);
  return first;
}

function fail(text: string): never {
  console.error(`scripts/cluster: ${text}`);
  endProcess(1);
}

async function up(args: string[]): Promise<void> {
  const options = { kubernetes: { type: 'string', default: chosenMinor() } } as const;
  const { values } = optionsOf('scripts/cluster --help', { args, options });
  chooseRelease(oneOf('kubernetes', values.kubernetes, minors));
  if (running() !== null) fail('a cluster is up: scripts/cluster down');
  for (const name of clusterPrograms) console.log(`${name}: ${await ensureProgram(name)}`);
  console.log(`coredns: ${await ensureNameServer()}`);
  for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true });
  const log = openSync(logOf('cluster'), 'w');
  const child = spawn(process.execPath, [join(here, 'node.ts')], { detached: true, stdio: ['ignore', log, log] });
  writeFileSync(pidFile, `${child.pid}`);
  while (!existsSync(factsFile)) {
    if (child.exitCode !== null) fail(`it ended (${child.exitCode}): see ${folder}`);
    await delay(200);
  }
  console.log(`Up. scripts/cluster kubectl get nodes; logs are in ${folder}`);
}

async function down(): Promise<void> {
  const pid = running();
  if (pid === null) return console.log('No cluster is up');
  process.kill(pid, 'SIGTERM');
  while (existsSync(`/proc/${pid}`)) await delay(100);
  rmSync(pidFile);
  rmSync(factsFile, { force: true });
}

/** The pid of the cluster that is up, whose release is chosen. */
function found(): number {
  const pid = running();
  if (pid === null || !existsSync(factsFile)) fail('no cluster is up: scripts/cluster up');
  chooseRelease((JSON.parse(readFileSync(factsFile, 'utf8')) as Facts).kubernetes);
  return pid;
}

/** Runs a program where the cluster is; ends as it ends. */
function enter(pid: number, argv: readonly string[]): never {
  const args = ['-t', inside(pid), '--mount', '--net', '--pid', `--wd=${process.cwd()}`, '--', ...argv];
  endProcess(spawnSync('/usr/bin/nsenter', args, { stdio: 'inherit' }).status ?? 1);
}

const [verb, ...words] = process.argv.slice(2);
if (verb === 'up') await up(words);
if (verb === 'down') await down();
if (verb === 'test') enter(found(), [process.execPath, '--test', '--test-reporter=spec', join(here, 'check.ts')]);
if (verb === 'kubectl') enter(found(), [await ensureProgram('kubectl'), `--kubeconfig=${kubeconfig}`, ...words]);
endProcess(0);
