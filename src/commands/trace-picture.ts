import type * as admin from '../api/berth/v1/admin.ts';
import { kindOf } from '../base/trace.ts';
import { shortName, timeByKind } from './trace-kinds.ts';

const colors: Readonly<Record<string, string>> = {
  process: '#c2410c',
  shim: '#f59e0b',
  record: '#1d4ed8',
  file: '#60a5fa',
  mount: '#15803d',
  snapshot: '#65a30d',
  cgroup: '#7e22ce',
  spec: '#0e7490',
  wait: '#9ca3af',
  undo: '#d4d4d8',
};

const size = { width: 1100, names: 300, row: 18, head: 30, foot: 26 };

/** The same as a picture: one SVG, which every browser shows. */
export function timelinePicture({ podId, calls }: admin.TracePodResponse): string {
  let top = 40;
  const parts = calls.map((call) => {
    const drawn = drawCall(call, top);
    top += size.head + call.steps.length * size.row + size.foot;
    return drawn;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${size.width}" height="${top}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="white"/>
<text x="10" y="24" font-size="15">pod ${escaped(podId)}</text>
${parts.join('')}</svg>
`;
}

function drawCall(call: admin.TracedCall, top: number): string {
  const scale = (size.width - size.names - 90) / Math.max(call.durationMs, 0.001);
  const lines = call.steps.map((step, index) => {
    const y = top + size.head + index * size.row;
    const x = size.names + Math.max(step.beginMs, 0) * scale;
    const width = Math.max((step.endMs - Math.max(step.beginMs, 0)) * scale, 1);
    const took = `${(step.endMs - step.beginMs).toFixed(2)} ms`;
    const color = colors[kindOf(step.name)] ?? '#737373';
    return `<text x="${size.names - 8}" y="${y + 12}" text-anchor="end">${escaped(shortName(step))}</text>
<rect x="${x.toFixed(1)}" y="${y + 2}" width="${width.toFixed(1)}" height="${size.row - 5}" fill="${color}"/>
<text x="${(x + width + 4).toFixed(1)}" y="${y + 12}" fill="#525252" font-size="10">${took}</text>
`;
  });
  const kinds = timeByKind(call).map(([kind, time]) => `${kind} ${time.toFixed(2)}`);
  const title = `${call.call} ${call.object.slice(0, 12)}: ${call.durationMs.toFixed(2)} ms${call.failed ? ', failed' : ''}`;
  return `<text x="10" y="${top + 16}" font-weight="bold">${escaped(title)}</text>
${lines.join('')}<text x="10" y="${top + size.head + call.steps.length * size.row + 14}" fill="#525252">ms by kind: ${escaped(kinds.join(', '))}</text>
`;
}

const escaped = (text: string): string =>
  text.replace(/[&<>"]/g, (one) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[one]!);
