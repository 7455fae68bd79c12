// What is inside, by the lock file: a CycloneDX document, and the licenses of all of it.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Target } from './target.ts';

type Locked = {
  readonly version: string;
  readonly license?: string;
  readonly integrity?: string;
  readonly dev?: boolean;
  readonly optional?: boolean;
};
type Part = Locked & { readonly name: string; readonly folder: string };

const nodePackage = ({ arch }: Target): string => `node-linux-${arch}`;

/** Packages that run on a node: those of the lock file that are not for its makers alone, nor for other machines. */
export function productionParts(root: string, target: Target): Part[] {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, Locked>;
  };
  return Object.entries(packages)
    .filter(
      ([path, { dev, optional }]) => path !== '' && !dev && (!optional || path.endsWith(`/${nodePackage(target)}`)),
    )
    .map(([path, locked]) => {
      const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
      const folder = name === nodePackage(target) ? join(target.node, '../..') : join(root, path);
      return { ...locked, name, folder };
    });
}

/** `epoch`: seconds, SOURCE_DATE_EPOCH. It has no serial number: the same source gives the same document. */
export function billOfMaterials(root: string, version: string, epoch: number, target: Target): string {
  const components = productionParts(root, target).map(({ name, version, license, integrity }) => {
    const purl = `pkg:npm/${name.replace('@', '%40')}@${version}`;
    const [, sha512 = ''] = /^sha512-(.+)$/.exec(integrity ?? '') ?? [];
    return {
      type: name === nodePackage(target) ? 'platform' : 'library',
      'bom-ref': purl,
      name,
      version,
      purl,
      ...(license ? { licenses: [{ expression: license }] } : {}),
      ...(sha512 ? { hashes: [{ alg: 'SHA-512', content: Buffer.from(sha512, 'base64').toString('hex') }] } : {}),
    };
  });
  const document = {
    bomFormat: 'CycloneDX',
    specVersion: '1.5',
    version: 1,
    metadata: {
      timestamp: new Date(epoch * 1000).toISOString(),
      component: { type: 'application', 'bom-ref': `berth@${version}`, name: 'berth', version },
    },
    components,
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

/** Debian's copyright file: Berth's license and those of all that is inside. */
export function copyrightFile(root: string, target: Target): string {
  const parts = productionParts(root, target).map(({ name, version, license, folder }) => {
    const file = existsSync(folder) && readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
    const text = file ? readFileSync(join(folder, file), 'utf8').trimEnd() : 'It comes with no text of its license.';
    return `${'='.repeat(78)}\n${name} ${version} (${license ?? 'no license named'})\n\n${text}\n`;
  });
  const own = readFileSync(join(root, 'LICENSE'), 'utf8').trimEnd();
  return `Berth\n\n${own}\n\nInside are, each under a license of its own:\n\n${parts.join('\n')}`;
}
