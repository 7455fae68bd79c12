export { openSnapshots, type Snapshots, type Stage } from './snapshots.ts';
