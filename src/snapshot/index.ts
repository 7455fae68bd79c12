export { probeOverlay } from './probe.ts';
export { openSnapshots, type Snapshots, type Stage } from './snapshots.ts';
