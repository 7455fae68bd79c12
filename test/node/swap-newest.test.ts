// From the newest containerd to Berth and back, below a running kubelet.
import { ownHost } from '../harness/own-host.ts';
import { ensureContainerd } from '../peers/index.ts';
import { oldContainerd } from './swap-containerd.ts';
import { prepareSwap, swapTests } from './swap-support.ts';

await ownHost(() => Promise.all([prepareSwap(), ensureContainerd()]));

swapTests(oldContainerd(await ensureContainerd()));
