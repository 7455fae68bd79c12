import { execFileSync } from 'node:child_process';

/** Changes how what is mounted below `target` propagates. */
export function setPropagation(target: string, propagation: 'private' | 'shared'): void {
  execFileSync('/bin/mount', [`--make-${propagation}`, target]);
}
