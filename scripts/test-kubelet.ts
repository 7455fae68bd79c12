// Builds the programs of Kubernetes' and the containerd that tests run, unless they are there: on a new machine that takes minutes, which no
// test's deadline is for.
import { ensureKubelet, ensureServicePrograms } from '../test/kubernetes/index.ts';
import { ensureContainerd } from '../test/peers/index.ts';

console.log(`kubelet: ${await ensureKubelet()}`);
await ensureServicePrograms();
console.log(`containerd: ${await ensureContainerd()}`);
