import { writeFileSync } from 'node:fs';
import type * as admin from '../api/berth/v1/admin.ts';
import { visible } from '../base/text.ts';
import { askDaemon, atOnce } from './ask.ts';
import { tell } from './tell.ts';
import { shortName, timeByKind } from './trace-kinds.ts';
import { timelinePicture } from './trace-picture.ts';

/** `berth trace WHAT [--svg FILE]`: where the time of the pod's latest calls, or of the image's pulls, went. */
export async function tracePod(socket: string, podId: string, svg: string | undefined): Promise<void> {
  const trace = await askDaemon(socket, (daemon) => daemon.tracePod({ podId }, atOnce()));
  if (svg !== undefined) writeFileSync(svg, timelinePicture(trace));
  tell(svg === undefined ? visible(timeline(trace), 'lines') : `${svg}: ${trace.calls.length} calls\n`);
}

const barWidth = 48;
const eighths = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/** For a terminal: each call with its steps as bars under each other, and the time per kind of step. */
export function timeline({ podId, calls }: admin.TracePodResponse): string {
  return `${/^[0-9a-f]{64}$/.test(podId) ? 'pod' : 'image'} ${podId}\n${calls.map(callLines).join('')}`;
}

function callLines(call: admin.TracedCall): string {
  const when = new Date(Number(call.startedAt / 1_000_000n)).toISOString();
  const head = `\n${call.call} ${/^[0-9a-f]{64}$/.test(call.object) ? call.object.slice(0, 12) : ''}  ${ms(call.durationMs)} ms${call.failed ? ', failed' : ''}  ${when}\n`;
  const names = call.steps.map(shortName);
  const width = Math.max(...names.map((name) => name.length), 0);
  const lines = call.steps.map((step, index) => {
    const took = ms(step.endMs - step.beginMs).padStart(8);
    return `  ${names[index]!.padEnd(width)} ${took} |${bar(step, call.durationMs)}|\n`;
  });
  const kinds = timeByKind(call).map(([kind, time]) => `${kind} ${ms(time)}`);
  return `${head}${lines.join('')}${kinds.length > 0 ? `  ms by kind: ${kinds.join(', ')}\n` : ''}`;
}

const ms = (value: number): string => value.toFixed(value >= 100 ? 0 : 2);

function bar({ beginMs, endMs }: admin.TracedStep, duration: number): string {
  const scale = barWidth / Math.max(duration, 0.001);
  const begin = Math.min(Math.max(Math.floor(beginMs * scale), 0), barWidth - 1);
  const length = Math.min(Math.max((endMs - beginMs) * scale, 0), barWidth - begin);
  const rest = begin + Math.floor(length) < barWidth ? eighths[Math.floor((length % 1) * 8)]! : '';
  const drawn = `${' '.repeat(begin)}${'█'.repeat(Math.floor(length))}${rest}`;
  return (drawn.trim() === '' ? `${' '.repeat(begin)}▏` : drawn).padEnd(barWidth);
}
