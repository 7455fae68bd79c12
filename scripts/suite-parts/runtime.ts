// What Kubernetes' suites run against: Berth, or containerd in its place, with the suites' images on loopback.
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { writeMirrors } from '../../test/conformance/mirrors.ts';
import { peerSubnet, startContainerd, suiteHandler } from '../../test/conformance/peer.ts';
import { TestDaemon } from '../../test/harness/daemon.ts';
import { inMachine } from '../../test/harness/own-host.ts';
import type { BuiltImage } from '../../test/images/image.ts';
import { pushImage, type Registry, startTestRegistry } from '../../test/images/index.ts';
import { program } from '../../test/images/run.ts';
import { suiteImages } from '../../test/kubernetes/images.ts';
import { ensureSuiteProgram } from '../../test/kubernetes/index.ts';
import { installBerth, installed, journal } from '../../test/vm/installed.ts';

export const runtimes = ['crun', 'runc', 'containerd'] as const;
/** Of the release, in images. */
export const imagePrograms = ['agnhost', 'nnp'] as const;

export type Runtime = AsyncDisposable & {
  readonly socket: string;
  /** Its pods' addresses, and where their plugin keeps account of them. */
  readonly subnet: string;
  readonly ipamDir: string;
};

/** Where cAdvisor in kubelet asks for the labels of containers. */
export const containerdSocket = '/run/containerd/containerd.sock';

/** With images that all suites ask for, and more. In the machine, which has nothing to make them of, they are there already. */
export async function startSuiteRegistry(more: readonly BuiltImage[] = []): Promise<Registry> {
  const registry = await startTestRegistry();
  if (inMachine) return registry;
  const [agnhost, nnp] = [await ensureSuiteProgram('agnhost'), await ensureSuiteProgram('nnp')];
  for (const image of [...(await suiteImages({ agnhost, nnp })), ...more]) await pushImage(registry.address, image);
  return registry;
}

/** Berth over an OCI runtime, or containerd, Debian's or that in the folder `other`; `folder` is for its log. */
export async function startRuntime(
  name: (typeof runtimes)[number],
  registry: Registry,
  folder: string,
  other: string,
): Promise<Runtime> {
  if (name === 'containerd') {
    const peer = await startContainerd(join(folder, 'containerd.log'), other);
    writeMirrors(peer.certsDir, registry.address);
    mkdirSync(dirname(containerdSocket), { recursive: true });
    symlinkSync(peer.socket, containerdSocket);
    return { ...peer, subnet: peerSubnet, ipamDir: join(dirname(peer.certsDir), 'ipam') };
  }
  const compat = { containerd_socket: containerdSocket };
  const handlers = { [suiteHandler]: { path: program(name, name) } };
  if (inMachine) {
    // Specs look for a container's scope by the name of its runtime, and know those of containerd and CRI-O.
    const named = { ...compat, runtime_name: 'containerd' };
    await installBerth(registry.address, { default_handler: name, compat: named, handlers });
    const keepLog = async () => writeFileSync(join(folder, 'berth.log'), await journal());
    return { ...installed, [Symbol.asyncDispose]: keepLog };
  }
  const daemon = new TestDaemon({ handler: name, settings: { compat, handlers } });
  writeMirrors(join(daemon.dir, 'certs.d'), registry.address);
  await daemon.start();
  const { socket, subnet, ipamDir } = daemon;
  return { socket, subnet, ipamDir, [Symbol.asyncDispose]: () => daemon.dispose() };
}
