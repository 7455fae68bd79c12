import { blockSize } from './tar-header.ts';

/** One member to write. Names are latin1 strings: bytes. */
export type MemberFacts = {
  /** As in a header: '0' file, '1' link, '2' symlink, '3' char, '4' block, '5' directory, '6' fifo. */
  readonly type: string;
  readonly path: string;
  readonly link?: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size?: number;
  readonly mtimeNs: bigint;
  readonly major?: number;
  readonly minor?: number;
  readonly xattrs?: ReadonlyMap<string, Buffer>;
};

/** The two blocks of zeros that end an archive. */
export const endOfArchive = Buffer.alloc(2 * blockSize);

/** Zeros up to the next block. */
export const paddingAfter = (size: number): Buffer => Buffer.alloc((blockSize - (size % blockSize)) % blockSize);

/** The header blocks of a member: ustar, with a pax header before it for what ustar cannot say. Content is not included. */
export function memberHeader(member: MemberFacts): Buffer {
  const records = paxRecords(member);
  const own = ustar(member);
  if (records.length === 0) return own;
  const head = ustar({ type: 'x', path: 'pax', mode: 0o644, uid: 0, gid: 0, size: records.length, mtimeNs: 0n });
  return Buffer.concat([head, records, paddingAfter(records.length), own]);
}

const nanos = 1_000_000_000n;
const maxOctal7 = 0o7777777;
const maxOctal11 = 0o77777777777;

function paxRecords({ path, link = '', uid, gid, size = 0, mtimeNs, xattrs }: MemberFacts): Buffer {
  const records: Buffer[] = [];
  const say = (key: string, value: string | Buffer) => records.push(paxRecord(key, value));
  if (path.length > 100) say('path', path);
  if (link.length > 100) say('linkpath', link);
  if (uid > maxOctal7) say('uid', String(uid));
  if (gid > maxOctal7) say('gid', String(gid));
  if (size > maxOctal11) say('size', String(size));
  if (mtimeNs % nanos !== 0n || mtimeNs < 0n || mtimeNs / nanos > maxOctal11) say('mtime', decimalSeconds(mtimeNs));
  for (const [name, value] of xattrs ?? []) say(`SCHILY.xattr.${name}`, value);
  return Buffer.concat(records);
}

function decimalSeconds(ns: bigint): string {
  const positive = ns < 0n ? -ns : ns;
  return `${ns < 0n ? '-' : ''}${positive / nanos}.${String(positive % nanos).padStart(9, '0')}`;
}

/** `<length> <key>=<value>\n`, where the length counts its own digits. */
function paxRecord(key: string, value: string | Buffer): Buffer {
  const rest = Buffer.concat([
    Buffer.from(` ${key}=`, 'latin1'),
    typeof value === 'string' ? Buffer.from(value, 'latin1') : value,
    Buffer.from('\n'),
  ]);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

function ustar(member: MemberFacts): Buffer {
  const { type, path, link = '', mode, uid, gid, size = 0, mtimeNs, major = 0, minor = 0 } = member;
  const block = Buffer.alloc(blockSize);
  const seconds = mtimeNs < 0n ? 0n : mtimeNs / nanos;
  const octal = (value: number | bigint, at: number, width: number) =>
    block.write(value.toString(8).padStart(width - 1, '0'), at, 'latin1');
  block.write(path.slice(0, 100), 0, 'latin1');
  octal(mode & 0o7777, 100, 8);
  octal(Math.min(uid, maxOctal7), 108, 8);
  octal(Math.min(gid, maxOctal7), 116, 8);
  octal(Math.min(size, maxOctal11), 124, 12);
  octal(seconds > maxOctal11 ? 0n : seconds, 136, 12);
  block.write(type, 156, 'latin1');
  block.write(link.slice(0, 100), 157, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  octal(major, 329, 8);
  octal(minor, 337, 8);
  block.fill(0x20, 148, 156);
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}
