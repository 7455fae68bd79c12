import { readFileSync } from 'node:fs';
import { release, uptime } from 'node:os';
import * as cri from '../api/runtime/v1/cri.ts';
import { messageOf } from '../base/fault.ts';
import type { Settings } from '../base/settings.ts';
import { toToml } from '../base/settings-toml.ts';
import { berthVersion } from '../cri/runtime-service.ts';
import { runHere } from '../sys/spawn.ts';
import { askDaemon, atOnce } from './ask.ts';
import { nodeFindings } from './doctor-reach.ts';
import { connectTo, type Rpc } from './rpc.ts';

/** Each part of the archive by its file's name: what makes its text. One that fails says so in its place. */
export type SupportParts = Readonly<Record<string, (node: Node) => Promise<string> | string>>;

/** `socket`: where the daemon listens, once that is known. */
type Node = { readonly settings: Settings; readonly socket: Promise<string> };

const callDeadlineMs = 10_000;
/** Lines of the journal: some hours of a busy node. */
const logLines = 20_000;
/** Bytes of it that are kept in memory. */
const mostOfJournal = 64 << 20;

const json = (value: unknown): string =>
  `${JSON.stringify(value, (_, each) => (typeof each === 'bigint' ? String(each) : each), 1)}\n`;

/**
 * What a stranger needs to understand a node, and nothing that is anybody's secret: of what users write (environments,
 * arguments, annotations, values of labels) nothing is taken, rather than taken out again.
 */
export const supportParts: SupportParts = {
  'version.txt': () =>
    `berth ${berthVersion}, Node ${process.version}, Linux ${release()}, up ${uptime().toFixed(0)} s\n`,
  'config.toml': ({ settings }) => toToml(withoutValues(settings)),
  'doctor.json': async ({ settings }) => json(await nodeFindings(settings)),
  'status.json': (node) => asking(node, async ({ runtime }) => json((await runtime.status({})).status)),
  'pods.json': (node) =>
    asking(node, async ({ runtime }) => json((await runtime.listPodSandbox({})).items.map(podFacts))),
  'containers.json': (node) =>
    asking(node, async ({ runtime }) => json((await runtime.listContainers({})).containers.map(containerFacts))),
  'images.json': (node) =>
    asking(node, async ({ images }) => json((await images.listImages({})).images.map(imageFacts))),
  'under-way.json': async ({ socket }) =>
    (await askDaemon(await socket, (daemon) => daemon.underWay({}, atOnce()))).json,
  'metrics.txt': ownMetrics,
  'log.txt': journal,
  'pressure.txt': () => ['cpu', 'io', 'memory'].map((name) => `${name}\n${pressure(name)}`).join('\n'),
  'meminfo.txt': () => readFileSync('/proc/meminfo', 'utf8'),
};

/** The settings whose values a user may have made a secret. */
function withoutValues(settings: Settings): Settings {
  const env = settings.containers.env.map((assignment) => assignment.replace(/=.*/s, '=left-out'));
  return { ...settings, containers: { ...settings.containers, env } };
}

type Daemon = { readonly runtime: Rpc<cri.RuntimeServiceClient>; readonly images: Rpc<cri.ImageServiceClient> };

async function asking(node: Node, ask: (daemon: Daemon) => Promise<string>): Promise<string> {
  const socket = await node.socket;
  const runtime = connectTo(cri.RuntimeServiceClient, cri, socket, callDeadlineMs);
  const images = connectTo(cri.ImageServiceClient, cri, socket, callDeadlineMs);
  try {
    return await ask({ runtime, images });
  } finally {
    for (const client of [runtime, images]) client.close();
  }
}

const podFacts = ({ id, metadata, state, createdAt, runtimeHandler, labels, annotations }: cri.PodSandbox) => ({
  ...{ id, metadata, state, createdAt, runtimeHandler },
  ...{ labels: Object.keys(labels), annotations: Object.keys(annotations) },
});
const containerFacts = ({ id, podSandboxId, metadata, image, imageId, state, createdAt }: cri.Container) => ({
  ...{ id, podSandboxId, metadata, image: image?.userSpecifiedImage || image?.image, imageId, state, createdAt },
});
const imageFacts = ({ id, repoTags, repoDigests, size, pinned }: cri.Image) => ({
  ...{ id, repoTags, repoDigests, size, pinned },
});

async function ownMetrics({
  settings: {
    metrics: { address },
  },
}: Node): Promise<string> {
  if (address === '') return 'metrics.address is not set\n';
  const response = await fetch(`http://${address}/metrics`, { signal: AbortSignal.timeout(callDeadlineMs) });
  return response.text();
}

/** Berth writes no secret into its log. The newest lines come first, so that it is the oldest which have no room. */
async function journal(): Promise<string> {
  const options = ['--unit=berth', '--reverse', `--lines=${logLines}`, '--no-pager', '--output=short-iso'];
  const argv = ['/usr/bin/journalctl', ...options];
  try {
    const command = { argv, env: [], cwd: '/', deadlineMs: callDeadlineMs, maxOutput: mostOfJournal };
    const { stdout, stderr, truncated, timedOut } = await runHere(command);
    const lines = `${stdout}`.trimEnd().split('\n').reverse();
    return [...(truncated || timedOut ? ['Older lines were left out'] : []), ...lines, `${stderr}`].join('\n');
  } catch (error) {
    return `The journal cannot be read: ${messageOf(error)}. Send the daemon's standard error with this file\n`;
  }
}

function pressure(name: string): string {
  try {
    return readFileSync(`/proc/pressure/${name}`, 'utf8');
  } catch (error) {
    return `${messageOf(error)}\n`; // the kernel was told to keep none
  }
}
