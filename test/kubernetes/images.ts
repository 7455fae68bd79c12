// The images that Kubernetes' own suites ask for (test/utils/image/manifest.go), as far as specs of a node need them.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type BuiltImage, type Config, makeImage } from '../images/image.ts';
import { makeLayer } from '../images/layer.ts';
import { cacheRoot } from '../images/paths.ts';
import { busyboxLayer, nginxLayer, programLayer } from '../images/roots.ts';
import { kubernetesVersion } from './index.ts';

const e2e = 'e2e-test-images';
const shell: Config = { Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'], Cmd: ['sh'] };

/** `agnhost`, `nnp`: programs of the release, static. */
export async function suiteImages({
  agnhost,
  nnp,
}: Readonly<Record<'agnhost' | 'nnp', string>>): Promise<BuiltImage[]> {
  const busybox = await busyboxLayer();
  const nginx = await nginxLayer(80);
  const withFile = (name: string, path: string, mode: number) => makeLayer([{ name, data: readFileSync(path), mode }]);
  const script = (name: string, command: string) => ({ name, data: `#!/bin/sh\nexec ${command} "$@"\n`, mode: 0o755 });
  const porter = join(cacheRoot, `go/pkg/mod/k8s.io/kubernetes@${kubernetesVersion}/test/images/agnhost/porter`);
  const certificate = ['localhost.crt', 'localhost.key'].map((name) => ({
    name,
    data: readFileSync(join(porter, name)),
  }));
  /** As much of these as specs of a node ask for. */
  const tools = await makeLayer([script('bin/bash', '/bin/sh'), script('bin/curl', 'wget -q -O -'), ...certificate]);
  const images: readonly [names: readonly string[], layers: BuiltImage['layers'], config: Config][] = [
    [
      ['agnhost:2.66.1', 'agnhost:2.55'],
      [busybox, tools, await withFile('agnhost', agnhost, 0o755)],
      { ...shell, Entrypoint: ['/agnhost'], Cmd: ['pause'] },
    ],
    [['busybox:1.37.0-2', 'busybox:1.37.0-1', 'busybox:1.36.1-1', 'busybox:1.29-4', 'ipc-utils:1.4'], [busybox], shell],
    [['nginx:1.27.0-2', 'nginx:1.28.0-2'], [busybox, nginx], { ...shell, Cmd: ['nginx', '-g', 'daemon off;'] }],
    [['nonewprivs:1.4'], [busybox, await withFile('bin/nnp', nnp, 0o6755)], { ...shell, Cmd: ['nnp'] }],
    [['nonroot:1.5'], [busybox], { ...shell, User: '1234' }],
  ];
  return [
    ...images.map(([names, layers, config]) =>
      makeImage(
        names.map((name) => `${e2e}/${name}`),
        layers,
        config,
      ),
    ),
    makeImage(['pause:3.10.2'], [await programLayer('pause', 0o755)], { Entrypoint: ['/pause'], User: '65535:65535' }),
  ];
}
