import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { isErrno } from '../base/fault.ts';
import { controllerFolder } from '../sys/cgroups.ts';
import { readNumber } from './read.ts';

export type HugepageUsage = { readonly pageSize: string; readonly usage: number; readonly maxUsage: number };

/** Huge pages by size: `hugetlb.2MB.current` (v2) or `hugetlb.2MB.usage_in_bytes` (v1). */
export function readHugepages(path: string): HugepageUsage[] {
  const folder = controllerFolder(path, 'hugetlb');
  if (folder === null) return [];
  return filesIn(folder).flatMap((name) => {
    const [, pageSize] = /^hugetlb\.(\w+)\.(?:current|usage_in_bytes)$/.exec(name) ?? [];
    if (pageSize === undefined) return [];
    const usage = readNumber(join(folder, name)) ?? 0;
    return [{ pageSize, usage, maxUsage: readNumber(join(folder, `hugetlb.${pageSize}.max_usage_in_bytes`)) ?? usage }];
  });
}

function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENODEV')) return [];
    throw error;
  }
}
