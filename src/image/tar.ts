import { badArchive, blockSize, type Header, parseHeader } from './tar-header.ts';
import { type Extended, parseExtended, type SparseRecords } from './tar-pax.ts';
import { oldGnuSparse, oldGnuSparseMore, type Segment, SparseText, sparseSegments } from './tar-sparse.ts';

export type EntryType = 'file' | 'link' | 'symlink' | 'char' | 'block' | 'directory' | 'fifo';

/** One member of an archive. Names are as the archive has them: latin1 strings (bytes), not cleaned, not trusted. */
export type Entry = {
  readonly type: EntryType;
  readonly path: string;
  /** Target of a link or symlink, else empty. */
  readonly link: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Length of the file once unpacked, holes included; 0 for what is no file. */
  readonly size: number;
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly major: number;
  readonly minor: number;
  readonly xattrs: ReadonlyMap<string, Buffer>;
  /** True if `size` counts holes: the file's end may be one. */
  readonly sparse: boolean;
};

/** Takes what the reader finds, in order. All calls are synchronous; buffers are valid during the call only. */
export interface TarSink {
  /** A member; a small file comes with its whole content. For another file null, and then write* and end follow. */
  entry(entry: Entry, content: Buffer | null): void;
  write(data: Buffer, position: number): void;
  end(): void;
}

/** Files up to this many bytes are handed over whole. */
export const smallFile = 128 * 1024;
/** Longest extended header or long name. */
const maxMeta = 1024 * 1024;

const typeOf: Readonly<Record<string, EntryType>> = {
  '\0': 'file',
  '0': 'file',
  '7': 'file',
  S: 'file',
  '1': 'link',
  '2': 'symlink',
  '3': 'char',
  '4': 'block',
  '5': 'directory',
  '6': 'fifo',
};
const noXattrs: ReadonlyMap<string, Buffer> = new Map();

/**
 * A tar reader that is fed chunks of any size: v7, ustar, pax, GNU and star, with every sparse format. Global pax headers
 * (type g) are skipped: they hold comments in practice, and no runtime applies them.
 */
export class TarReader {
  readonly #sink: TarSink;
  readonly #scratch = Buffer.allocUnsafe(smallFile);
  #collected = this.#scratch;
  #have = 0;
  #want = blockSize;
  #then: (data: Buffer) => void = this.#header;
  #skip = 0;
  /** Stored bytes of the large file under way that are still to come, and where the next one belongs. */
  #left = 0;
  #segments: Segment[] | null = null;
  #segment = 0;
  #position = 0;
  #longName: string | null = null;
  #longLink: string | null = null;
  #extended: Extended | null = null;
  #zeroBlocks = 0;

  constructor(sink: TarSink) {
    this.#sink = sink;
  }

  /** Takes the next bytes of the archive. What follows the end-of-archive marker is ignored. */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && this.#zeroBlocks < 2) {
      const there = chunk.length - at;
      if (this.#left > 0) {
        const take = Math.min(there, this.#left);
        this.#content(chunk.subarray(at, at + take));
        at += take;
      } else if (this.#skip > 0) {
        const take = Math.min(there, this.#skip);
        this.#skip -= take;
        at += take;
      } else {
        const take = Math.min(there, this.#want - this.#have);
        if (take === this.#want) {
          this.#then(chunk.subarray(at, at + take));
        } else {
          chunk.copy(this.#collected, this.#have, at, at + take);
          this.#have += take;
          if (this.#have === this.#want) {
            this.#have = 0;
            this.#then(this.#collected.subarray(0, this.#want));
          }
        }
        at += take;
      }
    }
  }

  /** Call at the end of the input. @throws Fault if it stopped in the middle of a member. */
  finish(): void {
    const between = this.#then === this.#header && this.#have === 0 && this.#left === 0;
    const nothingAnnounced = !this.#extended && this.#longName === null && this.#longLink === null;
    if (this.#zeroBlocks < 2 && !(between && nothingAnnounced)) throw badArchive('it ends in the middle of a member');
  }

  #collect(bytes: number, then: (data: Buffer) => void) {
    this.#want = bytes;
    this.#then = then;
    this.#collected = bytes <= this.#scratch.length ? this.#scratch : Buffer.allocUnsafe(bytes);
  }

  #nextHeader(skip: number) {
    this.#skip = skip;
    this.#collect(blockSize, this.#header);
  }

  #header(block: Buffer) {
    const header = parseHeader(block);
    if (!header) {
      this.#zeroBlocks++;
      return;
    }
    if (this.#zeroBlocks > 0) throw badArchive('a member follows a block of zeros');
    if (header.size < 0) throw badArchive(`a member has the size ${header.size}`);
    switch (header.type) {
      case 'x':
      case 'X': // Solaris' name for the same
        return this.#meta(header, (data) => {
          this.#extended = parseExtended(data);
        });
      case 'L':
        return this.#meta(header, (data) => {
          this.#longName = longText(data);
        });
      case 'K':
        return this.#meta(header, (data) => {
          this.#longLink = longText(data);
        });
      case 'g': // what was said before it is of no member, as with Go
        this.#extended = this.#longName = this.#longLink = null;
        return this.#nextHeader(padded(header.size));
      default:
        return this.#member(header, block);
    }
  }

  /** Collects the content of a header that describes the next member. */
  #meta(header: Header, use: (data: Buffer) => void) {
    if (header.size > maxMeta) throw badArchive(`a header of ${header.size} bytes is longer than ${maxMeta}`);
    if (header.size === 0) {
      use(emptyContent); // it takes back what one before it said
      return this.#nextHeader(0);
    }
    this.#collect(header.size, (data) => {
      use(data);
      this.#nextHeader(padding(header.size));
    });
  }

  #member(header: Header, block: Buffer) {
    const extended = this.#extended;
    const entry = this.#describe(header, extended);
    const stored = entry.type === 'file' ? (extended?.size ?? header.size) : 0;
    this.#extended = this.#longName = this.#longLink = null;
    if (header.type === 'S') return this.#oldSparse(entry, stored, block);
    const sparse = extended?.sparse;
    if (sparse && entry.type === 'file' && isSparse(sparse)) {
      const realSize = sparse.realSize;
      if (realSize === undefined) throw badArchive(`the sparse file ${JSON.stringify(entry.path)} has no size`);
      if (sparse.mapInContent) return this.#sparseText(entry, realSize, stored, new SparseText(), stored);
      return this.#sparse(entry, realSize, stored, sparse.map!, padding(stored));
    }
    if (stored === 0) {
      this.#sink.entry(entry, entry.type === 'file' ? emptyContent : null);
      return this.#nextHeader(0);
    }
    if (stored > smallFile) return this.#large(entry, null, stored, padding(stored));
    this.#collect(stored, (data) => {
      this.#sink.entry(entry, data);
      this.#nextHeader(padding(stored));
    });
  }

  #describe(header: Header, extended: Extended | null): Entry {
    let type = typeOf[header.type];
    // Where both are there, GNU's long name counts for more than pax' path, as with Go; a sparse file's name is of nothing else.
    const sparseName = type === 'file' && isSparse(extended?.sparse) ? extended?.sparse.name : undefined;
    const path = sparseName ?? this.#longName ?? extended?.path ?? header.name;
    if (!type) throw badArchive(`${JSON.stringify(path)} has the unknown type ${JSON.stringify(header.type)}`);
    // Before POSIX had a type for directories, their names ended in a slash.
    if (header.type === '\0' && path.endsWith('/')) type = 'directory';
    const time = extended?.mtime;
    return {
      type,
      path,
      link: type === 'link' || type === 'symlink' ? (this.#longLink ?? extended?.link ?? header.link) : '',
      mode: header.mode & 0o7777,
      uid: extended?.uid ?? header.uid,
      gid: extended?.gid ?? header.gid,
      size: type === 'file' ? (extended?.size ?? header.size) : 0,
      seconds: time?.seconds ?? header.mtime,
      nanoseconds: time?.nanoseconds ?? 0,
      major: header.major,
      minor: header.minor,
      xattrs: extended?.xattrs ?? noXattrs,
      sparse: false,
    };
  }

  #oldSparse(entry: Entry, stored: number, block: Buffer) {
    const first = oldGnuSparse(block);
    const map = first.map;
    const next = (more: boolean) => {
      if (!more) return this.#sparse(entry, first.realSize, stored, map, padding(stored));
      if (map.length > 2_000_000) throw badArchive('a sparse map is too long');
      this.#collect(blockSize, (data) => {
        const part = oldGnuSparseMore(data);
        for (const value of part.map) map.push(value);
        next(part.more);
      });
    };
    next(first.more);
  }

  #sparseText(entry: Entry, realSize: number, stored: number, parser: SparseText, whole: number) {
    if (stored < blockSize) throw badArchive(`the sparse file ${JSON.stringify(entry.path)} ends inside its map`);
    this.#collect(blockSize, (data) => {
      const map = parser.block(data);
      const left = stored - blockSize;
      if (map) this.#sparse(entry, realSize, left, map, padding(whole));
      else this.#sparseText(entry, realSize, left, parser, whole);
    });
  }

  #sparse(entry: Entry, realSize: number, stored: number, map: readonly number[], after: number) {
    if (realSize < 0) throw badArchive(`the sparse file ${JSON.stringify(entry.path)} has a negative size`);
    const segments = sparseSegments(map, realSize, stored);
    this.#large({ ...entry, size: realSize, sparse: true }, segments, stored, after);
  }

  #large(entry: Entry, segments: Segment[] | null, stored: number, after: number) {
    this.#sink.entry(entry, null);
    this.#segments = segments;
    this.#segment = 0;
    this.#position = 0;
    this.#left = stored;
    this.#nextHeader(after);
    if (stored === 0) this.#sink.end();
  }

  #content(data: Buffer) {
    this.#left -= data.length;
    if (!this.#segments) {
      this.#sink.write(data, this.#position);
      this.#position += data.length;
    } else this.#sparseContent(data, this.#segments);
    if (this.#left === 0) this.#sink.end();
  }

  /** Here #position counts within the segment under way. */
  #sparseContent(data: Buffer, segments: readonly Segment[]) {
    for (let at = 0; at < data.length; ) {
      const segment = segments[this.#segment]!;
      const take = Math.min(data.length - at, segment.length - this.#position);
      this.#sink.write(data.subarray(at, at + take), segment.offset + this.#position);
      at += take;
      this.#position += take;
      if (this.#position < segment.length) continue;
      this.#segment++;
      this.#position = 0;
    }
  }
}

const isSparse = (sparse: SparseRecords | undefined): boolean =>
  sparse !== undefined && (sparse.map !== undefined || sparse.mapInContent === true);

const emptyContent = Buffer.alloc(0);

const padding = (size: number): number => (blockSize - (size % blockSize)) % blockSize;
const padded = (size: number): number => size + padding(size);

/** The content of an L or K header: a name, usually with a NUL behind it; null for none. */
export function longText(data: Buffer): string | null {
  const end = data.indexOf(0);
  return data.toString('latin1', 0, end < 0 ? data.length : end) || null;
}
