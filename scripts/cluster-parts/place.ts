import { join } from 'node:path';
import { cacheFolder } from '../../test/images/paths.ts';

/** Where a cluster's logs are, and what there is to know of it from outside. */
export const folder = cacheFolder('cluster');
/** The process whose end is the cluster's. */
export const pidFile = join(folder, 'pid');
/** Written when the node is ready: a Facts. */
export const factsFile = join(folder, 'facts.json');
/** In the cluster's network. */
export const api = 'https://127.0.0.1:6443';
export const kubeconfig = join(folder, 'kubeconfig');
/** What the cluster, and what started it, said. */
export const logOf = (name: string): string => join(folder, `${name}.log`);

/** `kubernetes`: the release's minor. */
export type Facts = { readonly registry: string; readonly kubernetes: string };
