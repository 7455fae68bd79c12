import * as admin from '../api/berth/v1/admin.ts';
import { amount, columns } from './amounts.ts';
import { connectTo } from './rpc.ts';

/** `berth gc [--dry-run]`: removes layers that nothing needs, or says which those are. */
export async function collectGarbage(socket: string, dryRun: boolean): Promise<void> {
  const client = connectTo(admin.AdminClient, admin, socket);
  try {
    const { layers } = await client.collectGarbage({ dryRun });
    const total = layers.reduce((sum, { bytes }) => sum + Number(bytes), 0);
    process.stdout.write(columns(layers.map(({ key, bytes }) => [key, amount(Number(bytes))])));
    const what = dryRun ? 'would be removed' : 'removed';
    process.stdout.write(`${layers.length} layer(s), ${amount(total)} ${what}\n`);
  } finally {
    client.close();
  }
}
