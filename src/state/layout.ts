import { join } from 'node:path';
import type { ContainerId, PodId } from '../model/ids.ts';

/** Every path below `run_dir` (gone after a reboot) and `data_dir` that is Berth's. Tests may not know them by heart. */
export class Layout {
  readonly runDir: string;
  readonly dataDir: string;

  constructor({ runDir, dataDir }: { readonly runDir: string; readonly dataDir: string }) {
    this.runDir = runDir;
    this.dataDir = dataDir;
  }

  /** Records, blobs and layers, in this version of the format. */
  get state(): string {
    return join(this.dataDir, 'v1');
  }

  get snapshots(): string {
    return join(this.state, 'snapshots');
  }

  /** Where a start tries whether the file system carries overlays. */
  get overlayProbe(): string {
    return join(this.state, '.overlay-probe');
  }

  /** What containers wrote to the VOLUMEs of their images. */
  get anonymousVolumes(): string {
    return join(this.state, 'volumes');
  }

  /** Where OCI runtimes keep their state. */
  get ociState(): string {
    return join(this.runDir, 'oci');
  }

  ociStateOf(handler: string): string {
    return join(this.ociState, handler);
  }

  /** What a daemon has in force that a changed configuration may say otherwise, in each of its directories. */
  get inForce(): readonly [run: string, data: string] {
    return [join(this.runDir, 'in-force.json'), join(this.state, 'in-force.json')];
  }

  get pods(): string {
    return join(this.runDir, 'pods');
  }

  pod(id: PodId): string {
    return join(this.pods, id);
  }

  /** Where pods of an earlier build have the pin of their network namespace. */
  netns(id: PodId): string {
    return join(this.pod(id), 'netns');
  }

  /** The tmpfs of what the pod's containers may write: /dev/shm, hosts, hostname, resolv.conf. */
  shared(id: PodId): string {
    return join(this.pod(id), 'shared');
  }

  /** Of pods that are gone, while a CNI plugin owes them a DEL. */
  get keptNetns(): string {
    return join(this.runDir, 'kept-netns');
  }

  bundles(podId: PodId): string {
    return join(this.pod(podId), 'containers');
  }

  /** The OCI bundle of a container. */
  bundle(podId: PodId, id: ContainerId): string {
    return join(this.bundles(podId), id);
  }

  /** The bundle's OCI configuration. */
  configFile(podId: PodId, id: ContainerId): string {
    return join(this.bundle(podId, id), 'config.json');
  }

  rootfs(podId: PodId, id: ContainerId): string {
    return join(this.bundle(podId, id), 'rootfs');
  }

  /** Where the layers are seen with mapped owners while the root of a container is mounted. */
  layers(podId: PodId, id: ContainerId): string {
    return join(this.bundle(podId, id), 'layers');
  }

  /** What the OCI runtime binds for a mount that is more than a host path. */
  volume(podId: PodId, id: ContainerId, name: string): string {
    return join(this.bundle(podId, id), 'volumes', name);
  }

  /** The OCI process of the container, which exec starts from. */
  processFile(podId: PodId, id: ContainerId): string {
    return join(this.bundle(podId, id), 'process.json');
  }

  exitFile(podId: PodId, id: ContainerId): string {
    return join(this.bundle(podId, id), 'exit.json');
  }
}
