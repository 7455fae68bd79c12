import { amount, columns } from './amounts.ts';
import { askDaemon } from './ask.ts';
import { tell } from './tell.ts';

/** To remove many layers from a slow disk takes as long as it takes: one hour. */
const deadlineMs = 3_600_000;

/** `berth gc [--dry-run]`: removes layers that nothing needs, or says which those are. */
export async function collectGarbage(socket: string, dryRun: boolean): Promise<void> {
  const { layers } = await askDaemon(socket, (daemon) =>
    daemon.collectGarbage({ dryRun }, { deadline: Date.now() + deadlineMs }),
  );
  const total = layers.reduce((sum, { bytes }) => sum + Number(bytes), 0);
  tell(columns(layers.map(({ key, bytes }) => [key, amount(Number(bytes))])));
  const what = dryRun ? 'would be removed' : 'removed';
  tell(`${layers.length} layer(s), ${amount(total)} ${what}\n`);
}
