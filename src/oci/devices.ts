import type { ResolvedDevice, SpecInput } from './input.ts';
import type { OciDevice, OciDeviceRule } from './spec.ts';

/** Device nodes to make and the rules to open them: everything if privileged, else what the request names. */
export function buildDevices({ container, devices }: SpecInput): { nodes: OciDevice[]; rules: OciDeviceRule[] } {
  const nodes = devices.map(node);
  if (container.security.privileged) return { nodes, rules: [{ allow: true, access: 'rwm' }] };
  const opened = devices.filter(({ access }) => access !== '');
  return { nodes, rules: [{ allow: false, access: 'rwm' }, ...opened.map(rule)] };
}

const node = ({ path, type, major, minor, fileMode, uid, gid }: ResolvedDevice): OciDevice => ({
  path,
  type,
  major,
  minor,
  fileMode,
  uid,
  gid,
});

const rule = ({ type, major, minor, access }: ResolvedDevice): OciDeviceRule => ({
  allow: true,
  type,
  major,
  minor,
  access,
});
