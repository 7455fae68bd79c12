// The newest peers, built from their Go modules: minutes each for the first time, and gigabytes of modules.
import { linkSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { buildGo } from '../conformance/go.ts';
import { cacheFolder } from '../images/paths.ts';
import { program, run } from '../images/run.ts';

const here = import.meta.dirname;
// Without C: what is compiled then does not depend on the host's compiler and libraries.
const env = { CGO_ENABLED: '0' };

type Program = { readonly name: string; readonly from: string; readonly flags: readonly string[] };

/** The folder with the programs of one peer, by their names. */
async function ensure(peer: string, programs: readonly Program[]): Promise<string> {
  const folder = cacheFolder('peers', peer);
  for (const { name, from, flags } of programs) {
    const built = await buildGo(join(here, peer), ['build', ...flags], from, 'tools.go', undefined, env);
    rmSync(join(folder, name), { force: true });
    linkSync(built, join(folder, name)); // no symbolic one: a shim goes by the name of its own program
  }
  return folder;
}

/** The version of a module that the go.mod of a peer asks for. */
const pinned = (peer: string, module: string): string =>
  new RegExp(`${module} (v\\S+)`).exec(readFileSync(join(here, peer, 'go.mod'), 'utf8'))![1]!;

const containerd = 'github.com/containerd/containerd/v2/cmd';
const link = (version: string) => `-ldflags=-s -w -X github.com/containerd/containerd/v2/version.Version=${version}`;

/** A folder with the containerd that containerd/go.mod pins, its shim and its command. */
export const ensureContainerd = (): Promise<string> =>
  ensure(
    'containerd',
    ['containerd', 'containerd-shim-runc-v2', 'ctr'].map((name) => ({
      name,
      from: `${containerd}/${name}`,
      flags: [link(pinned('containerd', 'github.com/containerd/containerd/v2'))],
    })),
  );

const crio = 'github.com/cri-o/cri-o';

/**
 * A folder with the CRI-O that crio/go.mod pins, without the C libraries of GPG and of file systems, and with what makes the
 * namespaces of its pods.
 */
export async function ensureCrio(): Promise<string> {
  const flags = ['-ldflags=-s -w', '-tags=containers_image_openpgp,exclude_graphdriver_btrfs'];
  const folder = await ensure('crio', [{ name: 'crio', from: `${crio}/cmd/crio`, flags }]);
  const sources = join(cacheFolder('go'), `pkg/mod/${crio}@${pinned('crio', crio)}/pinns/src`);
  const [pinns, stage] = [join(folder, 'pinns'), join(folder, `pinns.${process.pid}`)];
  const files = ['pinns.c', 'sysctl.c'].map((name) => join(sources, name));
  await run(program('cc', 'build-essential'), ['-std=c99', '-Os', '-static', '-o', stage, ...files]);
  renameSync(stage, pinns);
  return folder;
}
