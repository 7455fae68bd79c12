import { badArchive } from './tar-header.ts';

/** What extended header records (POSIX pax, and the names star and GNU tar added) say about the next entry. */
export type Extended = {
  path?: string;
  link?: string;
  size?: number;
  uid?: number;
  gid?: number;
  mtime?: { seconds: number; nanoseconds: number };
  /** Byte for byte, NULs included, in the archive's order. */
  xattrs: Map<string, Buffer>;
  sparse: SparseRecords;
};

/** GNU.sparse.*: three versions of the format share one set of names. */
export type SparseRecords = {
  /** Of versions 0.0 and 0.1: alternately offset and length. */
  map?: number[];
  /** Of version 1.0, whose map stands before the file's content. */
  mapInContent?: boolean;
  name?: string;
  realSize?: number;
};

const maxXattrName = 255;
const maxSparseNumbers = 2_000_000;

/** Parses the records `<length> <key>=<value>\n` of a pax header. A later record for a key replaces an earlier one. */
export function parseExtended(data: Buffer): Extended {
  const result: Extended = { xattrs: new Map(), sparse: {} };
  for (let at = 0; at < data.length; ) {
    const blank = data.indexOf(0x20, at);
    const length =
      blank < 0 || blank - at > 10 ? Number.NaN : decimal(data.toString('latin1', at, blank), 'record length');
    const end = at + length;
    if (!(end <= data.length) || end <= blank + 1 || data[end - 1] !== 0x0a) {
      throw badArchive('an extended header has a record of impossible length');
    }
    const equals = data.indexOf(0x3d, blank);
    if (equals < 0 || equals >= end) throw badArchive('an extended header has a record without "="');
    apply(result, data.toString('latin1', blank + 1, equals), data.subarray(equals + 1, end - 1));
    at = end;
  }
  return result;
}

const xattrPrefix = 'SCHILY.xattr.';

function apply(result: Extended, key: string, value: Buffer): void {
  if (key.startsWith(xattrPrefix)) {
    const name = key.slice(xattrPrefix.length);
    if (name === '' || name.length > maxXattrName) throw badArchive('an extended attribute has an impossible name');
    result.xattrs.set(name, Buffer.from(value));
    return;
  }
  if (value.length > 0) setters.get(key)?.(result, value.toString('latin1'));
  else takeBack(result, key);
}

const ownFields = { path: 'path', linkpath: 'link', size: 'size', uid: 'uid', gid: 'gid', mtime: 'mtime' } as const;

/** A record with nothing in it takes back what one before it said (POSIX pax, "path=" and the like). */
function takeBack(result: Extended, key: string): void {
  if (Object.hasOwn(ownFields, key)) delete result[ownFields[key as keyof typeof ownFields]];
}

const setters = new Map<string, (to: Extended, value: string) => void>([
  [
    'path',
    (to, value) => {
      to.path = noNul(value);
    },
  ],
  [
    'linkpath',
    (to, value) => {
      to.link = noNul(value);
    },
  ],
  [
    'size',
    (to, value) => {
      to.size = decimal(value, 'size');
    },
  ],
  [
    'uid',
    (to, value) => {
      to.uid = owner(value, 'uid');
    },
  ],
  [
    'gid',
    (to, value) => {
      to.gid = owner(value, 'gid');
    },
  ],
  [
    'mtime',
    (to, value) => {
      to.mtime = timestamp(value);
    },
  ],
  [
    'GNU.sparse.major',
    (to, value) => {
      to.sparse.mapInContent = sparseMajor(value);
    },
  ],
  [
    'GNU.sparse.name',
    (to, value) => {
      to.sparse.name = noNul(value);
    },
  ],
  [
    'GNU.sparse.size',
    (to, value) => {
      to.sparse.realSize = decimal(value, 'sparse size');
    },
  ],
  [
    'GNU.sparse.realsize',
    (to, value) => {
      to.sparse.realSize = decimal(value, 'sparse size');
    },
  ],
  [
    'GNU.sparse.map',
    (to, value) => {
      to.sparse.map = numbers(value);
    },
  ],
  ['GNU.sparse.offset', (to, value) => pushSparse(to.sparse, value, 0)],
  ['GNU.sparse.numbytes', (to, value) => pushSparse(to.sparse, value, 1)],
]);

function sparseMajor(value: string): boolean {
  if (value !== '0' && value !== '1') throw badArchive(`sparse format ${JSON.stringify(value)} is not known`);
  return value === '1';
}

function pushSparse(sparse: SparseRecords, value: string, parity: number): void {
  sparse.map ??= [];
  if (sparse.map.length % 2 !== parity) throw badArchive('a sparse map does not alternate offsets and lengths');
  if (sparse.map.length >= maxSparseNumbers) throw badArchive('a sparse map is too long');
  sparse.map.push(decimal(value, 'sparse map'));
}

function numbers(value: string): number[] {
  const parts = value.split(',', maxSparseNumbers + 1);
  if (parts.length > maxSparseNumbers) throw badArchive('a sparse map is too long');
  return parts.map((part) => decimal(part, 'sparse map'));
}

/** Digits only, at most 2^53-1. */
export function decimal(value: string, what: string): number {
  const result = /^[0-9]{1,16}$/.test(value) ? Number(value) : Number.NaN;
  if (!Number.isSafeInteger(result))
    throw badArchive(`the ${what} ${JSON.stringify(value.slice(0, 40))} is not a number`);
  return result;
}

/** The same, or less than zero: some systems number accounts so. */
const owner = (value: string, what: string): number =>
  value.startsWith('-') ? -decimal(value.slice(1), what) : decimal(value, what);

/**
 * Seconds with a fraction, possibly negative: -1.25 is 0.75 s into the second that begins at -2. Those of 64 bits, as Go reads them:
 * what a file system has no room for becomes the nearest that it has.
 */
function timestamp(value: string): { seconds: number; nanoseconds: number } {
  const match = /^([+-]?)([0-9]{1,19})(?:\.([0-9]*))?$/.exec(value);
  if (!match) throw badArchive(`the mtime ${JSON.stringify(value.slice(0, 40))} is not a number of seconds`);
  const [, sign, whole = '', fraction = ''] = match;
  const nanoseconds = Number(fraction.slice(0, 9).padEnd(9, '0'));
  const seconds = Math.min(Number(whole), Number.MAX_SAFE_INTEGER - 1);
  if (sign !== '-') return { seconds, nanoseconds };
  return nanoseconds === 0
    ? { seconds: -seconds, nanoseconds }
    : { seconds: -seconds - 1, nanoseconds: 1e9 - nanoseconds };
}

/** Names end at a NUL for the kernel: one inside would make two programs read two different names. */
function noNul(value: string): string {
  if (value.includes('\0')) throw badArchive('a name holds a NUL');
  return value;
}
