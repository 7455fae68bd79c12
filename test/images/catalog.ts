import { type BuiltImage, type Config, makeImage } from './image.ts';
import type { Layer } from './layer.ts';
import { busyboxLayer, httpdLayer, markerLayer, nginxLayer, predefinedGroupLayer, programLayer } from './roots.ts';

const suite = 'k8s-staging-cri-tools';
const e2e = 'e2e-test-images';
const shell: Config = { Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'], Cmd: ['sh'] };

/** Every test image; the conformance suite's under the repositories that it asks its registries for. */
export async function buildCatalog(): Promise<BuiltImage[]> {
  const busybox = await busyboxLayer();
  const nginx: Config = { ...shell, Cmd: ['nginx', '-g', 'daemon off;'], StopSignal: 'SIGQUIT' };
  return [
    makeImage([`${e2e}/busybox:1.29-2`, ...dockerNames], [busybox], shell),
    makeImage([`${e2e}/nginx:1.14-2`], [busybox, await nginxLayer(80)], nginx),
    makeImage([`${suite}/hostnet-nginx-amd64:latest`], [busybox, await nginxLayer(12003)], nginx),
    makeImage([`${e2e}/httpd:2.4.39-4`], [busybox, await httpdLayer()], { ...shell, Cmd: ['httpd-foreground'] }),
    makeImage([`${e2e}/nonewprivs:1.3`], [busybox, await programLayer('nonewprivs', 0o4755)], {
      ...shell,
      Entrypoint: ['/nonewprivs'],
    }),
    makeImage(['pause:3.9'], [await programLayer('pause', 0o755)], { Entrypoint: ['/pause'], User: '65535:65535' }),
    ...(await markedImages(busybox)),
    ...userImages(busybox),
    makeImage([`${suite}/test-image-predefined-group:latest`], [busybox, await predefinedGroupLayer()], {
      ...shell,
      User: '1000',
    }),
  ];
}

/** The suite's benchmarks list and pull these. */
const dockerNames = ['1', 'latest', '1-uclibc', '1-glibc', '1-musl', '1.35.0-glibc'].map(
  (tag) => `library/busybox:${tag}`,
);

const marked: Record<string, readonly string[]> = {
  1: ['test-image-1:latest'],
  2: ['test-image-2:latest'],
  3: ['test-image-3:latest'],
  latest: ['test-image-latest:latest'],
  test: ['test-image-tag:test'],
  all: ['test-image-tag:all'],
  tags: ['test-image-tags:1', 'test-image-tags:2', 'test-image-tags:3'],
};

const markedImages = (busybox: Layer): Promise<BuiltImage[]> =>
  Promise.all(
    Object.entries(marked).map(async ([text, names]) =>
      makeImage(
        names.map((name) => `${suite}/${name}`),
        [busybox, await markerLayer(text)],
        shell,
      ),
    ),
  );

const userOf: Record<string, string> = {
  uid: '1002',
  username: 'www-data',
  'uid-group': '1003:users',
  'username-group': 'www-data:100',
};

const userImages = (busybox: Layer): BuiltImage[] =>
  Object.entries(userOf).map(([name, User]) =>
    makeImage([`${suite}/test-image-user-${name}:latest`], [busybox], { ...shell, User }),
  );
