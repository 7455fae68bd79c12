// Builds the kubelet and the containerd that tests run, unless they are there: on a new machine that takes minutes, which no
// test's deadline is for.
import { ensureKubelet } from '../test/kubernetes/index.ts';
import { ensureContainerd } from '../test/peers/index.ts';

console.log(`kubelet: ${await ensureKubelet()}`);
console.log(`containerd: ${await ensureContainerd()}`);
