// The images that Kubernetes' own suites ask for (test/utils/image/manifest.go), as far as specs need them.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type BuiltImage, type Config, makeImage } from '../images/image.ts';
import { makeLayer } from '../images/layer.ts';
import { cacheRoot } from '../images/paths.ts';
import { busyboxLayer, hostProgramsLayer, nginxLayer, predefinedGroupLayer, programLayer } from '../images/roots.ts';
import { program } from '../images/run.ts';
import { release } from './release.ts';

const shell: Config = { Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'], Cmd: ['sh'] };

/** The sources of the release, which building its programs has fetched. */
const source = (path: string) =>
  readFileSync(join(cacheRoot, `go/pkg/mod/k8s.io/kubernetes@${release().version}/test`, path), 'utf8');

/**
 * The references, without a registry, of images that specs of the release ask for: `agnhost` is what its list has of that name,
 * `agnhost:2.54` what a spec names past the list.
 */
function namesOf(...names: readonly string[]): string[] {
  const list = source('utils/image/manifest.go').matchAll(/Config\{list\.(\w+), "([^"]+)", "([^"]+)"\}/g);
  const listed = [...list].flatMap(([, registry, name = '', tag]) => {
    if (!names.includes(name)) return [];
    return [`${registry === 'PromoterE2eRegistry' ? 'e2e-test-images/' : ''}${name}:${tag}`];
  });
  return [...listed, ...names.filter((name) => name.includes(':')).map((name) => `e2e-test-images/${name}`)];
}

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
  const certificate = ['localhost.crt', 'localhost.key'].map((name) => ({
    name,
    data: source(`images/agnhost/porter/${name}`),
  }));
  /** As much of these as specs of a node ask for. */
  const lookups = [program('dig', 'bind9-dnsutils'), program('getent', 'libc-bin')];
  const netcat = program('nc.openbsd', 'netcat-openbsd'); // busybox's has fewer options
  const clients = await hostProgramsLayer([program('curl', 'curl'), ...lookups, netcat], { 'bin/nc': netcat });
  const tools = [clients, await predefinedGroupLayer(), await makeLayer(certificate)];
  const twoNames = await makeLayer([
    { name: 'agnhost', data: readFileSync(agnhost), mode: 0o755 },
    { name: 'agnhost-2', type: 'link', link: 'agnhost', mode: 0o755 },
  ]);
  const webserver: Config = { ...shell, Entrypoint: ['/agnhost'], Cmd: ['test-webserver'] };
  const images: readonly [names: readonly string[], layers: BuiltImage['layers'], config: Config][] = [
    [
      ['agnhost', 'agnhost:2.54'],
      [...busybox, ...tools, twoNames],
      { ...shell, Entrypoint: ['/agnhost'], Cmd: ['pause'] },
    ],
    [['busybox', 'busybox:1.36.1-1', 'ipc-utils'], busybox, shell],
    [
      ['glibc-dns-testing', 'jessie-dnsutils'] /* as it was called up to 1.35 */,
      [...busybox, await hostProgramsLayer([program('hostname', 'hostname'), ...lookups], {})],
      shell,
    ],
    [['nginx'], [...busybox, nginx], { ...shell, Cmd: ['nginx', '-g', 'daemon off;'] }],
    [['nonewprivs'], [...busybox, await withFile('bin/nnp', nnp, 0o6755)], { ...shell, Cmd: ['nnp'] }],
    [['nonroot'], busybox, { ...shell, User: '1234' }],
    [['kitten'], [...busybox, twoNames, await petLayer('kitten')], webserver],
    [['nautilus'], [...busybox, twoNames, await petLayer('nautilus')], webserver],
  ];
  return [
    ...images.map(([names, layers, config]) => makeImage(namesOf(...names), layers, config)),
    makeImage(namesOf('pause'), [await programLayer('pause', 0o755)], { Entrypoint: ['/pause'], User: '65535:65535' }),
  ];
}

/** An API server that a spec has the cluster's own hand requests on to, and what it keeps its objects in. */
export async function apiServerImages(sampleApi: string): Promise<BuiltImage[]> {
  const server = await makeLayer([{ name: 'sample-apiserver', data: readFileSync(sampleApi), mode: 0o755 }]);
  const etcd = program('etcd', 'etcd-server');
  const store = await hostProgramsLayer([etcd], { 'usr/local/bin/etcd': etcd });
  return [
    makeImage(namesOf('sample-apiserver'), [await busyboxLayer(), server], {
      ...shell,
      Entrypoint: ['/sample-apiserver'],
    }),
    makeImage(namesOf('etcd'), [await busyboxLayer(), store], shell),
  ];
}

/** What specs read of these: their data, and that their base is Alpine. */
const petLayer = (name: string) =>
  makeLayer([
    { name: 'data.json', data: `{"image": "${name}.jpg"}\n`, mode: 0o644 },
    { name: 'etc/os-release', data: 'NAME="In the place of Alpine Linux"\n', mode: 0o644 },
  ]);
