import { amount, columns } from './amounts.ts';
import { askDaemon } from './ask.ts';
import { tell } from './tell.ts';

/** `berth gc [--dry-run]`: removes layers that nothing needs, or says which those are. */
export async function collectGarbage(socket: string, dryRun: boolean): Promise<void> {
  const { layers } = await askDaemon(socket, (daemon) => daemon.collectGarbage({ dryRun }));
  const total = layers.reduce((sum, { bytes }) => sum + Number(bytes), 0);
  tell(columns(layers.map(({ key, bytes }) => [key, amount(Number(bytes))])));
  const what = dryRun ? 'would be removed' : 'removed';
  tell(`${layers.length} layer(s), ${amount(total)} ${what}\n`);
}
