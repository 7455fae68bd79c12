import type * as admin from '../api/berth/v1/admin.ts';
import { amount, columns } from './amounts.ts';
import { askDaemon, atOnce } from './ask.ts';
import { tell } from './tell.ts';

/** `berth pulls`: a line for each pull or load under way. */
export async function showPulls(socket: string): Promise<void> {
  const { pulls } = await askDaemon(socket, (daemon) => daemon.listPulls({}, atOnce()));
  tell(pulls.length === 0 ? 'No pull is under way\n' : pullTable(pulls, Date.now()));
}

/** Exported for its test. `now`: milliseconds since the epoch. */
export function pullTable(pulls: readonly admin.RunningPull[], now: number): string {
  const rows = pulls.map((pull) => [
    pull.reference,
    pull.phase,
    `${pull.layersDone}/${pull.layers}`,
    `${amount(Number(pull.bytesFetched))} of ${amount(Number(pull.bytesTotal))}`,
    `${amount(Number(pull.rate))}/s`,
    `${Math.max(Math.round((now - Number(pull.startedAt) / 1e6) / 1000), 0)} s`,
  ]);
  return columns([['IMAGE', 'PHASE', 'LAYERS', 'FETCHED', 'RATE', 'SINCE'], ...rows]);
}
