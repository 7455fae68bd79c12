import { readStart } from './read.ts';

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

/**
 * Of a pod: who has CAP_NET_ADMIN in it makes interfaces by the thousand, and all of a node's pods are told of in one answer,
 * of which kubelet takes 16 MiB. So many are 128 kB of metrics.
 */
const mostInterfaces = 64;
/** A line has some 130 bytes. */
const mostBytes = 32 * 1024;

/** The interfaces of the network namespace that a process is in, loopback left out (proc(5), /proc/pid/net/dev). */
export const readNetworkUsage = (pid: number): InterfaceUsage[] =>
  interfacesIn(readStart(`/proc/${pid}/net/dev`, mostBytes) ?? '');

/** As many of them as are told of, the pod's own first. The last line, if it is cut, is left out. */
export function interfacesIn(text: string): InterfaceUsage[] {
  const found = parseNetDev(text.slice(0, text.lastIndexOf('\n') + 1)).filter(({ name }) => name !== 'lo');
  const [own, others] = [found.filter(isOwn), found.filter((one) => !isOwn(one))];
  return [...own, ...others].slice(0, mostInterfaces);
}

/** What CNI calls the interface of a pod. */
export const defaultInterface = 'eth0';
const isOwn = ({ name }: InterfaceUsage): boolean => name === defaultInterface;

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
