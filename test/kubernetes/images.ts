// The images that Kubernetes' own suites ask for (test/utils/image/manifest.go), as far as specs need them.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type BuiltImage, type Config, makeImage } from '../images/image.ts';
import { makeLayer } from '../images/layer.ts';
import { cacheRoot } from '../images/paths.ts';
import { busyboxLayer, hostProgramsLayer, nginxLayer, programLayer } from '../images/roots.ts';
import { program } from '../images/run.ts';
import { kubernetesVersion } from './index.ts';

const e2e = 'e2e-test-images';
const shell: Config = { Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'], Cmd: ['sh'] };

/** `agnhost`, `nnp`: programs of the release, static. */
export async function suiteImages({
  agnhost,
  nnp,
}: Readonly<Record<'agnhost' | 'nnp', string>>): Promise<BuiltImage[]> {
  const bash = program('bash', 'bash');
  // The shell of Debian's busybox does not hand on variables such as "data-1"; bash does, as that of a newer busybox.
  const shells = await hostProgramsLayer([bash], { 'bin/sh': bash, 'bin/bash': bash });
  // Without it glibc asks name servers before /etc/hosts, and there are none here.
  const order = await makeLayer([{ name: 'etc/nsswitch.conf', data: 'hosts: files dns\n', mode: 0o644 }]);
  const busybox = [await busyboxLayer(), shells, order];
  const nginx = await nginxLayer(80);
  const withFile = (name: string, path: string, mode: number) => makeLayer([{ name, data: readFileSync(path), mode }]);
  const porter = join(cacheRoot, `go/pkg/mod/k8s.io/kubernetes@${kubernetesVersion}/test/images/agnhost/porter`);
  const certificate = ['localhost.crt', 'localhost.key'].map((name) => ({
    name,
    data: readFileSync(join(porter, name)),
  }));
  /** As much of these as specs of a node ask for. */
  const lookups = [program('dig', 'bind9-dnsutils'), program('getent', 'libc-bin')];
  const netcat = program('nc.openbsd', 'netcat-openbsd'); // busybox's has fewer options
  const clients = await hostProgramsLayer([program('curl', 'curl'), ...lookups, netcat], { 'bin/nc': netcat });
  const tools = [clients, await makeLayer(certificate)];
  const twoNames = await makeLayer([
    { name: 'agnhost', data: readFileSync(agnhost), mode: 0o755 },
    { name: 'agnhost-2', type: 'link', link: 'agnhost', mode: 0o755 },
  ]);
  const webserver: Config = { ...shell, Entrypoint: ['/agnhost'], Cmd: ['test-webserver'] };
  const images: readonly [names: readonly string[], layers: BuiltImage['layers'], config: Config][] = [
    [
      ['agnhost:2.66.1', 'agnhost:2.55'],
      [...busybox, ...tools, twoNames],
      { ...shell, Entrypoint: ['/agnhost'], Cmd: ['pause'] },
    ],
    [['busybox:1.37.0-2', 'busybox:1.37.0-1', 'busybox:1.36.1-1', 'busybox:1.29-4', 'ipc-utils:1.4'], busybox, shell],
    [
      ['glibc-dns-testing:2.1.1'],
      [...busybox, await hostProgramsLayer([program('hostname', 'hostname'), ...lookups], {})],
      shell,
    ],
    [['nginx:1.27.0-2', 'nginx:1.28.0-2'], [...busybox, nginx], { ...shell, Cmd: ['nginx', '-g', 'daemon off;'] }],
    [['nonewprivs:1.4'], [...busybox, await withFile('bin/nnp', nnp, 0o6755)], { ...shell, Cmd: ['nnp'] }],
    [['nonroot:1.5'], busybox, { ...shell, User: '1234' }],
    [['kitten:1.8'], [...busybox, twoNames, await petLayer('kitten')], webserver],
    [['nautilus:1.8'], [...busybox, twoNames, await petLayer('nautilus')], webserver],
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

/** An API server that a spec has the cluster's own hand requests on to, and what it keeps its objects in. */
export async function apiServerImages(sampleApi: string): Promise<BuiltImage[]> {
  const server = await makeLayer([{ name: 'sample-apiserver', data: readFileSync(sampleApi), mode: 0o755 }]);
  const etcd = program('etcd', 'etcd-server');
  const store = await hostProgramsLayer([etcd], { 'usr/local/bin/etcd': etcd });
  return [
    makeImage([`${e2e}/sample-apiserver:1.29.2`], [await busyboxLayer(), server], {
      ...shell,
      Entrypoint: ['/sample-apiserver'],
    }),
    makeImage(['etcd:3.7.0-0'], [await busyboxLayer(), store], shell),
  ];
}

/** What specs read of these: their data, and that their base is Alpine. */
const petLayer = (name: string) =>
  makeLayer([
    { name: 'data.json', data: `{"image": "${name}.jpg"}\n`, mode: 0o644 },
    { name: 'etc/os-release', data: 'NAME="In the place of Alpine Linux"\n', mode: 0o644 },
  ]);
