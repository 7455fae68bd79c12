import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Compares `value` with test/unit/oci/<name>.golden.json. After a wanted change, write the files anew with
 * BERTH_WRITE_GOLDEN=1 and read the difference.
 */
export function assertGolden(name: string, value: unknown): void {
  const path = join(import.meta.dirname, `${name}.golden.json`);
  const text = `${JSON.stringify(value, null, 2)}\n`;
  if (process.env.BERTH_WRITE_GOLDEN === '1') writeFileSync(path, text);
  assert.deepEqual(JSON.parse(text), JSON.parse(readFileSync(path, 'utf8')));
}
