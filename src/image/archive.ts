import { type FileHandle, open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Fault, isErrno } from '../base/fault.ts';
import { longestPath } from '../base/limits.ts';
import { readBytes } from '../sys/read-file.ts';
import { parentOf, under } from './layer-below.ts';
import { cleanPath } from './layer-place.ts';
import { longText } from './tar.ts';
import { badArchive, blockSize, type Header, parseHeader } from './tar-header.ts';
import { type Extended, parseExtended } from './tar-pax.ts';

/** Files by name, from a directory or from inside a tar. Names are clean and relative. */
export interface Archive extends AsyncDisposable {
  has(name: string): Promise<boolean>;
  /** @throws Fault NotFound, ResourceExhausted above `limit` bytes. */
  read(name: string, limit: number): Promise<Buffer>;
  stream(name: string, signal: AbortSignal): AsyncIterable<Buffer>;
}

const missing = (name: string) => new Fault('NotFound', `The archive has no file ${JSON.stringify(name)}`);
const tooLong = (name: string, limit: number) =>
  new Fault('ResourceExhausted', `${JSON.stringify(name)} in the archive is longer than ${limit} bytes`);

/** A directory as an archive: an OCI layout on disk. */
export function directoryArchive(root: string): Archive {
  const size = async (name: string): Promise<number | null> => {
    try {
      const found = await stat(join(root, name));
      return found.isFile() ? found.size : null;
    } catch (error) {
      if (isErrno(error, 'ENOENT', 'ENOTDIR')) return null;
      throw error;
    }
  };
  return {
    has: async (name) => (await size(name)) !== null,
    read: async (name, limit) => {
      const length = await size(name);
      if (length === null) throw missing(name);
      if (length > limit) throw tooLong(name, limit);
      return readBytes(join(root, name), limit);
    },
    async *stream(name, signal) {
      const length = await size(name);
      if (length === null) throw missing(name);
      await using file = await open(join(root, name));
      yield* fileRange(file, 0, length, signal);
    },
    [Symbol.asyncDispose]: async () => {},
  };
}

const pieceBytes = 256 * 1024;

async function* fileRange(file: FileHandle, from: number, length: number, signal: AbortSignal): AsyncGenerator<Buffer> {
  for (let at = from; at < from + length; ) {
    signal.throwIfAborted();
    const want = Math.min(pieceBytes, from + length - at);
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafeSlow(want), 0, want, at);
    if (bytesRead === 0) throw badArchive('it ends in the middle of a member');
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

type Member = { readonly offset: number; readonly size: number } | { readonly link: string };
const maxMembers = 100_000;
/** Characters of all their names: images have some ten of thousands. */
const maxNames = 16 * 1024 * 1024;
const maxMeta = 1024 * 1024;
const maxLinkHops = 8;

/**
 * An uncompressed tar as an archive: only its headers are read until a file is asked for. Owns the file. `shown`: what errors call it.
 * @throws Fault InvalidArgument for what is no tar, or a bad one.
 */
export async function tarArchive(path: string, shown = path): Promise<Archive> {
  const file = await open(path);
  let members: Map<string, Member>;
  try {
    members = await indexMembers(file);
  } catch (error) {
    await file.close();
    throw error instanceof Fault ? new Fault(error.kind, `${shown}: ${error.message}`, { cause: error }) : error;
  }
  const find = (name: string, hops = 0): { offset: number; size: number } | null => {
    const member = members.get(name);
    if (!member || hops > maxLinkHops) return null;
    return 'link' in member ? find(member.link, hops + 1) : member;
  };
  return {
    has: async (name) => find(name) !== null,
    read: async (name, limit) => {
      const member = find(name);
      if (!member) throw missing(name);
      if (member.size > limit) throw tooLong(name, limit);
      const parts: Buffer[] = [];
      const forever = new AbortController().signal;
      for await (const part of fileRange(file, member.offset, member.size, forever)) parts.push(part);
      return Buffer.concat(parts);
    },
    stream: (name, signal) => {
      const member = find(name);
      if (!member) throw missing(name);
      return fileRange(file, member.offset, member.size, signal);
    },
    [Symbol.asyncDispose]: () => file.close(),
  };
}

async function readBlock(file: FileHandle, length: number, at: number): Promise<Buffer | null> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, at);
  if (bytesRead === 0) return null;
  if (bytesRead < length) throw badArchive('it ends in the middle of a member');
  return buffer;
}

const roundUp = (size: number): number => Math.ceil(size / blockSize) * blockSize;

async function indexMembers(file: FileHandle): Promise<Map<string, Member>> {
  const members = new Map<string, Member>();
  const { size: fileSize } = await file.stat();
  let extended: Extended | null = null;
  let longName: string | null = null;
  let names = 0;
  for (let at = 0; ; ) {
    const block = await readBlock(file, blockSize, at);
    const header = block && (at === 0 ? firstHeader(block) : parseHeader(block));
    if (!header) return members;
    at += blockSize;
    const stored = storedBytes(header, extended);
    if (stored < 0 || at + stored > fileSize) throw badArchive('a member is longer than the archive');
    if ('xXL'.includes(header.type)) {
      if (stored > maxMeta) throw badArchive(`a header of ${stored} bytes is longer than ${maxMeta}`);
      const data = (await readBlock(file, stored, at)) ?? Buffer.alloc(0);
      if (header.type === 'L') longName = longText(data);
      else extended = parseExtended(data);
    } else if (header.type === 'g') {
      extended = longName = null; // what was said before it is of no member, as with Go
    } else if (header.type !== 'K') {
      const name = longName ?? extended?.path ?? header.name;
      const link = extended?.link ?? header.link;
      extended = longName = null;
      const isFile = name.length <= longestPath && link.length <= longestPath; // no file of an image has such a name
      if (members.size >= maxMembers) throw badArchive(`it has more than ${maxMembers} members`);
      const member = isFile && memberOf(header.type, cleanPath(name), link, { offset: at, size: stored });
      if (member) members.set(...member);
      if (member) names += name.length + link.length;
      if (names > maxNames) throw badArchive(`the names of its members have more than ${maxNames} characters`);
    }
    at += roundUp(stored);
  }
}

function firstHeader(block: Buffer): Header | null {
  try {
    return parseHeader(block);
  } catch (error) {
    const why = 'it is no tar, nor one that is compressed by gzip or zstd';
    throw new Fault('InvalidArgument', why, { cause: error });
  }
}

function memberOf(type: string, path: string, link: string, content: Member): [path: string, member: Member] | null {
  if ('0\x007'.includes(type)) return [path, content];
  if (type === '1') return [path, { link: cleanPath(link) }];
  // Older `docker save` keeps a repeated layer as a symbolic link to its first copy.
  return type === '2' ? [path, { link: cleanPath(under(parentOf(path), link)) }] : null;
}

/** How much follows a header: what pax says of a size is about the member, not about another header of it. */
function storedBytes({ type, size }: Header, extended: Extended | null): number {
  if ('xXLKg'.includes(type)) return size;
  return '123456'.includes(type) ? 0 : (extended?.size ?? size); // links, nodes and directories have none, whatever they say
}
