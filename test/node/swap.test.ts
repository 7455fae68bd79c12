// From Debian's containerd to Berth and back, below a running kubelet.
import { ownHost } from '../harness/own-host.ts';
import { oldContainerd } from './swap-containerd.ts';
import { prepareSwap, swapTests } from './swap-support.ts';

await ownHost(prepareSwap);

swapTests(oldContainerd());
