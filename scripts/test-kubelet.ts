// Builds the kubelet that tests run, unless it is there: on a new machine that takes minutes, which no test's deadline is for.
import { ensureKubelet } from '../test/kubernetes/index.ts';

console.log(`kubelet: ${await ensureKubelet()}`);
