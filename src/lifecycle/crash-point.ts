declare const CRASH_POINTS: boolean | undefined;

/** The shipped bundle defines CRASH_POINTS as false, and this whole file becomes nothing. */
const target = typeof CRASH_POINTS === 'undefined' || CRASH_POINTS ? (process.env.BERTH_CRASH_AT ?? '') : '';
const [name = '', count = '1'] = target.split('#');
let left = Number(count);

/** Kills this process with SIGKILL at the n-th passage of the step named by BERTH_CRASH_AT=`<step>#<n>`; for tests. */
export function crashPoint(step: string): void {
  if (step !== name || --left > 0) return;
  process.kill(process.pid, 'SIGKILL');
}
