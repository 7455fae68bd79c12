import { join } from 'node:path';
import { type CgroupOptions, controllerFolder } from '../sys/cgroups.ts';
import { readText } from './read.ts';

/** What a cgroup read from and wrote to one block device. */
export type DeviceIo = {
  readonly major: number;
  readonly minor: number;
  readonly readBytes: number;
  readonly writeBytes: number;
  readonly reads: number;
  readonly writes: number;
};

/** By device, from io.stat (v2) or blkio.throttle (v1). */
export function readDeviceIo(path: string, options: CgroupOptions = {}): DeviceIo[] {
  const io = controllerFolder(path, 'io', options);
  const text = io === null ? null : readText(join(io, 'io.stat'));
  if (text !== null) return parseIoStat(text);
  const blkio = controllerFolder(path, 'blkio', options);
  if (blkio === null) return [];
  const file = (name: string) => readText(join(blkio, `blkio.throttle.${name}_recursive`)) ?? '';
  return joinBlkio(parseBlkio(file('io_service_bytes')), parseBlkio(file('io_serviced')));
}

/** Kernel: cgroup-v2.rst, io.stat: `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0`. */
export const parseIoStat = (text: string): DeviceIo[] =>
  text.split('\n').flatMap((line) => {
    const [, major, minor, rest = ''] = /^(\d+):(\d+) (.*)$/.exec(line) ?? [];
    if (major === undefined) return [];
    const values = new Map(rest.split(' ').map((pair) => pair.split('=') as [string, string]));
    const of = (key: string) => Number(values.get(key) ?? 0);
    const figures = { readBytes: of('rbytes'), writeBytes: of('wbytes'), reads: of('rios'), writes: of('wios') };
    return [{ major: Number(major), minor: Number(minor), ...figures }];
  });

type Blkio = ReadonlyMap<string, { readonly read: number; readonly write: number }>;

/** Kernel: cgroup-v1/blkio-controller.rst: `8:0 Read 1`. */
export function parseBlkio(text: string): Blkio {
  const found = new Map<string, { read: number; write: number }>();
  for (const line of text.split('\n')) {
    const [, device, operation, value] = /^(\d+:\d+) (Read|Write) (\d+)$/.exec(line) ?? [];
    if (device === undefined) continue;
    const so = found.get(device) ?? { read: 0, write: 0 };
    found.set(device, operation === 'Read' ? { ...so, read: Number(value) } : { ...so, write: Number(value) });
  }
  return found;
}

const joinBlkio = (bytes: Blkio, operations: Blkio): DeviceIo[] =>
  [...bytes].map(([device, { read, write }]) => {
    const [major = 0, minor = 0] = device.split(':').map(Number);
    const { read: reads = 0, write: writes = 0 } = operations.get(device) ?? {};
    return { major, minor, readBytes: read, writeBytes: write, reads, writes };
  });
