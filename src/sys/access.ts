import { loadAddon } from './addon.ts';

const addon = loadAddon<{ setAccessList(path: string, acl: Buffer): number }>();

/** linux/posix_acl_xattr.h, linux/posix_acl.h */
const version = 2;
const tags = { owner: 0x01, owningGroup: 0x04, group: 0x08, mask: 0x10, others: 0x20 } as const;
const noId = 0xffffffff;
const all = 7;
const pass = 1;

type Entry = readonly [tag: number, permissions: number, id: number];

/**
 * Makes a directory its owner's alone (0700), but these groups may go through it, though not look into it (acl(5)).
 * @throws Error EOPNOTSUPP from a file system without access lists, ENOSPC from a full one.
 */
export function letGroupsThrough(path: string, gids: Iterable<number>): void {
  const groups = [...new Set(gids)].sort((a, b) => a - b);
  const entries: Entry[] = [
    [tags.owner, all, noId],
    [tags.owningGroup, 0, noId],
    ...groups.map((gid): Entry => [tags.group, pass, gid]),
    // Without a group the list is no more than the mode, which the kernel then keeps as such.
    ...(groups.length > 0 ? [[tags.mask, pass, noId] as const] : []),
    [tags.others, 0, noId],
  ];
  addon.setAccessList(path, encodeList(entries));
}

function encodeList(entries: readonly Entry[]): Buffer {
  const list = Buffer.alloc(4 + 8 * entries.length);
  list.writeUInt32LE(version, 0);
  for (const [index, [tag, permissions, id]] of entries.entries()) {
    const at = 4 + 8 * index;
    list.writeUInt16LE(tag, at);
    list.writeUInt16LE(permissions, at + 2);
    list.writeUInt32LE(id, at + 4);
  }
  return list;
}
