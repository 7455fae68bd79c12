import { join } from 'node:path';
import { failedPrecondition, invalidArgument, messageOf } from '../../base/fault.ts';
import { type FileFacts, isNoAnswer } from '../../base/host-files.ts';
import { log } from '../../base/log.ts';
import { jsonOf } from '../../base/parse.ts';
import { firstBytes } from '../../base/text.ts';
import type { ContainerConfig } from '../../model/config.ts';
import {
  type CdiEdits,
  type CdiNode,
  type CdiSpec,
  cleanPath,
  isCdiName,
  parseCdiSpec,
  type ResolvedDevice,
} from '../../oci/index.ts';
import type { Looker } from '../../shim/index.ts';

/** Who a container runs as, in its own user namespace. */
type Owner = { readonly uid: number; readonly gid: number };

/** What injected devices change in a container. */
export type Injection = Omit<CdiEdits, 'nodes'> & { readonly devices: readonly ResolvedDevice[] };

const annotationPrefix = 'cdi.k8s.io/';
const mostBytes = 8 << 20;
/** Names in one directory of specifications. */
const mostFiles = 16_384;
const mostDevices = 1024;
/** A folder may be full of files that cannot be used. */
const mostErrorBytes = 2048;

/** The devices that a container asks for by name, by CRI's field and by annotations of plugins older than the field. */
export function requestedDevices({ cdiDevices, annotations }: ContainerConfig): string[] {
  const byAnnotation = Object.entries(annotations)
    .filter(([key]) => key.startsWith(annotationPrefix))
    .flatMap(([, value]) => value.split(',').map((name) => name.trim()));
  const names = [...new Set([...cdiDevices, ...byAnnotation])].filter((name) => name !== '');
  if (names.length > mostDevices)
    throw invalidArgument(`${names.length} CDI devices: at most ${mostDevices} are possible`);
  for (const name of names) {
    if (isCdiName(name)) continue;
    throw invalidArgument(`CDI device ${JSON.stringify(name.slice(0, 200))} is not vendor/class=name`);
  }
  return names;
}

/**
 * Looks the devices up in the directories' files, a later directory before an earlier one. The edits of a file come
 * once, before those of its devices. Null if none is asked for.
 * @throws Fault InvalidArgument for what is no name, FailedPrecondition for a device that is not there, or twice.
 */
export async function injectDevices(
  looker: Looker,
  container: ContainerConfig,
  folders: readonly string[],
  user: Owner,
): Promise<Injection | null> {
  const names = requestedDevices(container);
  if (names.length === 0) return null;
  const passedOver: string[] = [];
  const found = await Promise.all(folders.map((folder) => readSpecs(looker, folder, passedOver)));
  const used = new Set<CdiSpec>();
  const edits = names.flatMap((name) => {
    const [spec, device] = lookUp(name, found, passedOver, folders);
    const first = !used.has(spec);
    used.add(spec);
    return first ? [spec.edits, device] : [device];
  });
  return merge(looker, edits, user);
}

function lookUp(
  name: string,
  found: readonly (readonly CdiSpec[])[],
  passedOver: readonly string[],
  folders: readonly string[],
): [CdiSpec, CdiEdits] {
  const [kind = '', device = ''] = name.split('=');
  for (const specs of found.toReversed()) {
    const [first, second] = specs.filter((spec) => spec.kind === kind && spec.devices.has(device));
    if (second) throw failedPrecondition(`CDI device ${name} is in two files of one directory: remove one of them`);
    if (first) return [first, first.devices.get(device)!];
  }
  const next = passedOver.length > 0 ? `what cannot be used: ${passedOver.join('; ')}` : 'is its driver there?';
  throw failedPrecondition(
    firstBytes(`CDI device ${name} is in no specification in ${folders.join(', ')}: ${next}`, mostErrorBytes),
  );
}

/** A file that cannot be used is passed over and logged: another vendor's mistake must not stop this one's devices. */
async function readSpecs(looker: Looker, folder: string, passedOver: string[]): Promise<CdiSpec[]> {
  const specs: CdiSpec[] = [];
  for (const [name] of (await looker.list(folder, mostFiles)) ?? []) {
    if (!/\.(json|ya?ml)$/.test(name)) continue;
    const path = join(folder, name);
    try {
      specs.push(parseCdiSpec(await readValue(looker, path)));
    } catch (error) {
      if (isNoAnswer(error)) throw error; // of the looker, not of the file
      passedOver.push(`${path} (${messageOf(error)})`);
      log.warn({ file: path, reason: messageOf(error) }, 'A CDI specification cannot be used');
    }
  }
  return specs;
}

/** CDI's library takes YAML in a file of either name; JSON is read at a fraction of the time. */
async function readValue(looker: Looker, path: string): Promise<unknown> {
  const source = await looker.readText(path, mostBytes);
  const isJson = path.endsWith('.json');
  try {
    if (isJson) return jsonOf(source);
  } catch (error) {
    return await asYaml(source).catch(() => Promise.reject(error));
  }
  return asYaml(source);
}

async function asYaml(source: string): Promise<unknown> {
  const { parseCdiYaml } = await import('./cdi-yaml.ts'); // most nodes have no devices: it is not worth their memory
  return parseCdiYaml(source);
}

const merge = async (looker: Looker, edits: readonly CdiEdits[], user: Owner): Promise<Injection> => ({
  env: edits.flatMap(({ env }) => env),
  devices: await Promise.all(edits.flatMap(({ nodes }) => nodes.map((node) => resolveNode(looker, node, user)))),
  mounts: edits.flatMap(({ mounts }) => mounts),
  hooks: mergeHooks(edits),
  additionalGids: [...new Set(edits.flatMap(({ additionalGids }) => additionalGids.filter((gid) => gid > 0)))],
});

function mergeHooks(edits: readonly CdiEdits[]): CdiEdits['hooks'] {
  const all: { -readonly [Name in keyof CdiEdits['hooks']]: CdiEdits['hooks'][Name] } = {};
  for (const { hooks } of edits) {
    for (const name of Object.keys(hooks) as (keyof typeof hooks)[])
      all[name] = [...(all[name] ?? []), ...hooks[name]!];
  }
  return all;
}

/**
 * What the specification leaves open is as CDI's library has it: kind, numbers and mode are those of the host's node, which
 * needs not be there if the specification says kind and numbers; the owner is who the container runs as.
 */
async function resolveNode(looker: Looker, node: CdiNode, user: Owner): Promise<ResolvedDevice> {
  const { path, hostPath, type, major = 0, minor = 0, fileMode, permissions } = node;
  const isWhole = type !== '' && major !== 0;
  const host = isWhole && fileMode !== undefined ? null : await hostNode(looker, hostPath);
  if (!isWhole) checkHostNode(node, host);
  return {
    path: cleanPath(path),
    type: (type || host?.type) as 'b' | 'c',
    ...(major === 0 && host ? { major: host.major, minor: host.minor } : { major, minor }),
    fileMode: fileMode ?? host?.mode ?? 0o666,
    uid: node.uid ?? user.uid,
    gid: node.gid ?? user.gid,
    access: permissions,
  };
}

type HostNode = Pick<FileFacts, 'major' | 'minor' | 'mode'> & { readonly type: 'b' | 'c' };

/** Null where no device is. */
async function hostNode(looker: Looker, path: string): Promise<HostNode | null> {
  const found = await looker.stat(path);
  if (found?.kind === 'block') return { ...found, type: 'b' };
  return found?.kind === 'character' ? { ...found, type: 'c' } : null;
}

function checkHostNode({ hostPath, type }: CdiNode, host: HostNode | null): void {
  if (!host) throw failedPrecondition(`CDI device node ${hostPath} is no device on this host: is its driver loaded?`);
  if (type === '' || type === host.type) return;
  throw failedPrecondition(`CDI device node ${hostPath} is of type ${host.type} on this host, not ${type}`);
}
