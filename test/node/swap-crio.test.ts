// From the newest CRI-O to Berth and back, below a running kubelet.
import { startCrio } from '../conformance/crio.ts';
import { ownHost } from '../harness/own-host.ts';
import { ensureCrio } from '../peers/index.ts';
import { containerCount } from './swap-pods.ts';
import { prepareSwap, swapTests } from './swap-support.ts';

await ownHost(() => Promise.all([prepareSwap(), ensureCrio()]));

const folder = await ensureCrio();
swapTests({
  scheme: 'cri-o',
  unit: 'crio',
  socket: '/var/run/crio/crio.sock',
  told: `CRI-O: ${containerCount} of its shims run`,
  start: (home, logFile, pause) => {
    const registry = pause.split('/')[0]!;
    return startCrio(logFile, folder, [registry], { ...home, state: '/run/containers/storage', pause });
  },
  commands: {},
  givesImages: false,
  otherwise: {
    'OLD=unix:///run/containerd/containerd.sock\n': 'OLD=unix:///var/run/crio/crio.sock\n',
    'sudo ctr -n k8s.io images export images.tar $(sudo ctr -n k8s.io images ls -q | grep -v sha256:)\n': '',
    'sudo berth load images.tar\n': '',
    '--now containerd': '--now crio',
    '-a containerd-shim': '-a conmon',
  },
});
