// Hand-made archives: every field can be said, also what no tar program would write.

export type Member = {
  name: string;
  type?: string;
  mode?: number;
  uid?: number;
  gid?: number;
  mtime?: number;
  link?: string;
  content?: Buffer | string;
  /** The size field, where it shall differ from the content. */
  size?: number;
  major?: number;
  minor?: number;
  /** pax records, values byte for byte. */
  pax?: Record<string, string | Buffer>;
  prefix?: string;
  magic?: string;
  /** Changes the finished header, before its checksum. */
  patch?: (header: Buffer) => void;
};

const bytes = (text: string | Buffer) => (typeof text === 'string' ? Buffer.from(text, 'latin1') : text);
const pad = (data: Buffer) => Buffer.concat([data, Buffer.alloc((512 - (data.length % 512)) % 512)]);

/** Octal if it fits, else base 256 as GNU tar writes it. */
function putNumber(header: Buffer, value: number, at: number, length: number): void {
  const octal = value.toString(8);
  if (value >= 0 && octal.length < length) {
    header.write(octal.padStart(length - 1, '0'), at, 'latin1');
    return;
  }
  let rest = BigInt.asUintN(length * 8, BigInt(value));
  for (let i = at + length - 1; i >= at; i--, rest >>= 8n) header[i] = Number(rest & 255n);
  header[at]! |= 0x80;
}

export function sealChecksum(header: Buffer): Buffer {
  header.fill(0x20, 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}

export function header(member: Member, size: number): Buffer {
  const block = Buffer.alloc(512);
  block.write(member.name.slice(0, 100), 0, 'latin1');
  putNumber(block, member.mode ?? 0o644, 100, 8);
  putNumber(block, member.uid ?? 0, 108, 8);
  putNumber(block, member.gid ?? 0, 116, 8);
  putNumber(block, member.size ?? size, 124, 12);
  putNumber(block, member.mtime ?? 1_600_000_000, 136, 12);
  block.write(member.type ?? '0', 156, 'latin1');
  block.write((member.link ?? '').slice(0, 100), 157, 'latin1');
  block.write(member.magic ?? 'ustar\x0000', 257, 'latin1');
  putNumber(block, member.major ?? 0, 329, 8);
  putNumber(block, member.minor ?? 0, 337, 8);
  block.write(member.prefix ?? '', 345, 'latin1');
  member.patch?.(block);
  return sealChecksum(block);
}

/** One pax record; its length counts its own digits. */
export function paxRecord(key: string, value: string | Buffer): Buffer {
  const rest = Buffer.concat([bytes(` ${key}=`), bytes(value), bytes('\n')]);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([bytes(String(length)), rest]);
}

export function tarMember(member: Member): Buffer {
  const content = bytes(member.content ?? '');
  const parts: Buffer[] = [];
  const pax = { ...member.pax };
  if (member.name.length > 100 && !member.prefix) pax.path ??= member.name;
  if ((member.link ?? '').length > 100) pax.linkpath ??= member.link!;
  if (Object.keys(pax).length > 0) {
    const data = Buffer.concat(Object.entries(pax).map(([key, value]) => paxRecord(key, value)));
    parts.push(header({ name: 'PaxHeaders/x', type: 'x' }, data.length), pad(data));
  }
  parts.push(header(member, content.length), pad(content));
  return Buffer.concat(parts);
}

/** A whole archive with its end marker. */
export const tar = (...members: (Member | Buffer)[]): Buffer =>
  Buffer.concat([...members.map((item) => (Buffer.isBuffer(item) ? item : tarMember(item))), Buffer.alloc(1024)]);

export const dir = (name: string, more: Partial<Member> = {}): Member => ({
  name: `${name}/`,
  type: '5',
  mode: 0o755,
  ...more,
});
export const file = (name: string, content: string | Buffer = '', more: Partial<Member> = {}): Member => ({
  name,
  content,
  ...more,
});
export const symlink = (name: string, link: string, more: Partial<Member> = {}): Member => ({
  name,
  type: '2',
  link,
  mode: 0o777,
  ...more,
});
export const hardlink = (name: string, link: string): Member => ({ name, type: '1', link });
