// containerd as the runtime that a node had before.
import { startContainerd } from '../conformance/peer.ts';
import { run } from '../images/run.ts';
import { podNames } from './swap-pods.ts';
import type { OldRuntime } from './swap-support.ts';

const socket = '/run/containerd/containerd.sock';

/** That in the folder, or Debian's. */
export const oldContainerd = (folder = ''): OldRuntime => {
  const ctr = folder === '' ? '/usr/bin/ctr' : `${folder}/ctr`;
  return {
    scheme: 'containerd',
    unit: 'containerd',
    socket,
    told: `containerd: ${podNames.length} of its shims run`,
    start: async (home, logFile, pause) => {
      const running = await startContainerd(logFile, folder, home);
      // A registry on loopback, and the name that its pods want.
      const name = 'registry.k8s.io/pause:3.9';
      if ((await run(ctr, ['-n', 'k8s.io', 'images', 'ls', '-q', `name==${name}`])) === '') {
        await run(ctr, ['-n', 'k8s.io', 'images', 'pull', '--plain-http', pause]);
        await run(ctr, ['-n', 'k8s.io', 'images', 'tag', pause, name]);
      }
      return running;
    },
    commands: { ctr },
    givesImages: true,
    otherwise: {},
  };
};
