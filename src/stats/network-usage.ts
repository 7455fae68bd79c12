import { readText } from './read.ts';

export type InterfaceUsage = {
  readonly name: string;
  readonly rxBytes: number;
  readonly rxPackets: number;
  readonly rxErrors: number;
  readonly rxDropped: number;
  readonly txBytes: number;
  readonly txPackets: number;
  readonly txErrors: number;
  readonly txDropped: number;
};

/** The interfaces of the network namespace that a process is in, loopback left out (proc(5), /proc/pid/net/dev). */
export function readNetworkUsage(pid: number): InterfaceUsage[] {
  return parseNetDev(readText(`/proc/${pid}/net/dev`) ?? '').filter(({ name }) => name !== 'lo');
}

export function parseNetDev(text: string): InterfaceUsage[] {
  return text
    .split('\n')
    .slice(2)
    .flatMap((line) => {
      const colon = line.lastIndexOf(':');
      if (colon < 0) return [];
      const numbers = line
        .slice(colon + 1)
        .trim()
        .split(/\s+/)
        .map(Number);
      const [rxBytes = 0, rxPackets = 0, rxErrors = 0, rxDropped = 0, , , , , txBytes = 0, txPackets = 0] = numbers;
      const [txErrors = 0, txDropped = 0] = numbers.slice(10);
      return [
        {
          name: line.slice(0, colon).trim(),
          rxBytes,
          rxPackets,
          rxErrors,
          rxDropped,
          txBytes,
          txPackets,
          txErrors,
          txDropped,
        },
      ];
    });
}
