/**
 * A RuntimeClass handler as it was resolved when a pod was made: enough to run in it, and to undo it, whatever the
 * configuration says since.
 */
export type Handler = {
  /** The name in the configuration; never empty. */
  readonly name: string;
  /** The program, with runc's command line. */
  readonly path: string;
  /** Options for every command of it, before the command's name. */
  readonly args: readonly string[];
  /** Its state directory. */
  readonly root: string;
  /** Cgroups by systemd's hand. */
  readonly systemdCgroup: boolean;
  /** Privileged containers are not given the host's devices. */
  readonly privilegedWithoutHostDevices: boolean;
  /** Conflists for its pods; empty: everybody's. */
  readonly cniConfDir: string;
};
