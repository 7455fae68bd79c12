import { isErrno } from '../base/fault.ts';
import { loadAddon } from './addon.ts';

/** What a mount forbids; all default to false. */
export type MountLimits = { readonly?: boolean; nosuid?: boolean; nodev?: boolean; noexec?: boolean };

export type Overlay = MountLimits & {
  /** Top layer first; at least one, and no more than maxLayers of base/limits.ts. */
  lowers: readonly string[];
  /** Absent: the mount is of the lower layers alone (two or more), and read-only. */
  upper?: string;
  work?: string;
  target: string;
  /** Uses mount(2) as kernels before 6.8 need it; those are detected, so only tests say it. */
  legacy?: boolean;
};

type Addon = {
  mountOverlay(
    lowers: readonly string[],
    upper: string,
    work: string,
    target: string,
    attributes: number,
    legacy: boolean,
  ): number;
  bindMount(source: string, target: string, recursive: boolean, attributes: number): number;
  mount(source: string, target: string, type: string, flags: number, data: string): number;
  unmount(target: string, detach: boolean): number;
  isMountRoot(path: string): boolean;
};

const addon = loadAddon<Addon>();

/** MS_* of mount(2). */
export const mountFlags = {
  readonly: 1,
  nosuid: 2,
  nodev: 4,
  noexec: 8,
  remount: 32,
  bind: 4096,
  recursive: 16384,
  silent: 32768,
  shared: 1 << 20,
} as const;

/** MOUNT_ATTR_*: the same first four bits as MS_*, by the kernel's design. */
export const attributesOf = (limits: MountLimits): number =>
  (limits.readonly ? mountFlags.readonly : 0) |
  (limits.nosuid ? mountFlags.nosuid : 0) |
  (limits.nodev ? mountFlags.nodev : 0) |
  (limits.noexec ? mountFlags.noexec : 0);

/**
 * Mounts an overlay on `target`, with index, metacopy and redirect_dir off. Hundreds of layers work on every kernel.
 * @throws Error with an errno code and the kernel's own message where it gives one.
 */
export function mountOverlay(overlay: Overlay): void {
  const attributes = attributesOf({ ...overlay, readonly: overlay.readonly || !overlay.upper });
  const { lowers, upper = '', work = '', target, legacy = false } = overlay;
  addon.mountOverlay(lowers, upper, work, target, attributes, legacy);
}

/** Bind-mounts `source` on `target`. The limits hold from the first moment; with `recursive`, for all mounts below. */
export function bindMount(source: string, target: string, options: MountLimits & { recursive?: boolean } = {}): void {
  addon.bindMount(source, target, options.recursive ?? false, attributesOf(options));
}

/** Mounts a tmpfs: nosuid, nodev and noexec unless `limits` says otherwise; `size` in bytes, `mode` as in chmod. */
export function mountTmpfs(
  target: string,
  options: { size?: number; mode?: number },
  limits: MountLimits = { nosuid: true, nodev: true, noexec: true },
): void {
  const data = [
    ...(options.size === undefined ? [] : [`size=${options.size}`]),
    ...(options.mode === undefined ? [] : [`mode=${options.mode.toString(8)}`]),
  ];
  addon.mount('tmpfs', target, 'tmpfs', attributesOf(limits), data.join(','));
}

/** mount(2): `flags` are of mountFlags, `data` is the filesystem's own option string. */
export function mount(source: string, target: string, type: string, flags: number, data = ''): void {
  addon.mount(source, target, type, flags, data);
}

/**
 * Unmounts what was mounted last on `target`, never through a symbolic link. Nothing mounted there, or no such path, is
 * success. With `detach` a busy mount goes away when its last user does.
 */
export function unmount(target: string, options: { detach?: boolean } = {}): void {
  try {
    addon.unmount(target, options.detach ?? false);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return;
    // EINVAL also stands for a mount that is locked by another user namespace: that one is still there.
    if (isErrno(error, 'EINVAL') && !addon.isMountRoot(target)) return;
    throw error;
  }
}

/** True if something is mounted exactly at `path`. */
export const isMountPoint = (path: string): boolean => addon.isMountRoot(path);
