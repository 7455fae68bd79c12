import { mkdir } from 'node:fs/promises';
import { BlockList } from 'node:net';
import { join } from 'node:path';
import { Fault, invalidArgument, isErrno, messageOf } from '../base/fault.ts';
import { type HostFiles, isNoAnswer } from '../base/host-files.ts';
import { ownFiles } from '../sys/own-files.ts';
import { replaceFile } from '../sys/write-file.ts';
import { parseNetworkList } from './conflist.ts';
import { executeTemplate } from './go-template.ts';

/** The file that a template becomes; its name sorts before what administrators usually write. */
export const templateFile = '10-berth-net.conflist';

/** The pod CIDRs of a node as kubelet sends them, separated by commas. @throws Fault InvalidArgument */
export function parsePodCidrs(text: string): string[] {
  const cidrs = text.split(',').map((part) => part.trim());
  for (const cidr of cidrs) {
    const [, address = '', prefix = ''] = /^([0-9a-fA-F.:]+)\/(\d{1,3})$/.exec(cidr) ?? [];
    try {
      new BlockList().addSubnet(address, Number(prefix), address.includes(':') ? 'ipv6' : 'ipv4');
    } catch {
      throw invalidArgument(`pod_cidr: ${JSON.stringify(cidr.slice(0, 100))} is not an address with a prefix length`);
    }
  }
  return cidrs;
}

/**
 * Fills a template as containerd does, with `.PodCIDR` (the first), `.PodCIDRRanges` (all) and `.Routes` (the default routes
 * of their families), and checks that the result is a network list. A list that stands for itself is what host-local takes
 * by that name, in JSON.
 */
export function fillTemplate(template: string, cidrs: readonly string[]): string {
  const routes = [
    ...(cidrs.some((cidr) => !cidr.includes(':')) ? ['0.0.0.0/0'] : []),
    ...(cidrs.some((cidr) => cidr.includes(':')) ? ['::/0'] : []),
  ];
  const fields = { PodCIDR: cidrs[0] ?? '', PodCIDRRanges: cidrs, Routes: routes };
  const filled = executeTemplate(template, fields, (field, list) =>
    JSON.stringify(field === 'Routes' ? list.map((dst) => ({ dst })) : list.map((subnet) => [{ subnet }])),
  );
  parseNetworkList(filled);
  return filled;
}

const mostTemplateBytes = 1 << 20;

/** Writes the network list of a node whose pod CIDRs are known now. */
export async function writeFromTemplate(
  path: string,
  confDir: string,
  cidrs: readonly string[],
  files: HostFiles = ownFiles(),
): Promise<void> {
  let filled: string;
  try {
    filled = fillTemplate(await files.readText(path, mostTemplateBytes), cidrs);
  } catch (error) {
    if (isNoAnswer(error)) throw error;
    const next = isErrno(error, 'ENOENT') ? 'it does not exist' : messageOf(error);
    throw new Fault('FailedPrecondition', `CNI template ${path} cannot be used: ${next}`, { cause: error });
  }
  await files.stat(confDir); // it answers
  await mkdir(confDir, { recursive: true, mode: 0o755 });
  await replaceFile(join(confDir, templateFile), filled, { mode: 0o644 });
}
