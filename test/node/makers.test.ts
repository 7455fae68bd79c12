// Images by real builders, kept by real registries: each comes out of each as it went in, tree for tree and id for id.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { removeTree } from '../../src/sys/files.ts';
import { ownHost } from '../harness/own-host.ts';
import { until } from '../harness/pods.ts';
import { differences } from '../hostile/layers-support.ts';
import { program } from '../images/run.ts';
import { ensureMaker } from '../makers/index.ts';
import { Store } from '../registry/store.ts';
import { dir, file, tar } from '../registry/tar.ts';
import { describeTree } from '../registry/tree.ts';

/** One after another: each build takes all processors. The one of distribution takes a minute and more. */
async function ensureMakers() {
  const [crane, olareg, regctl] = [
    await ensureMaker('crane'),
    await ensureMaker('olareg'),
    await ensureMaker('regctl'),
  ];
  return { crane, olareg, regctl, distribution: process.env.BERTH_SLOW ? await ensureMaker('distribution') : '' };
}

await ownHost(ensureMakers);
const made = await ensureMakers();
const [skopeo, umoci, buildah] = [
  program('skopeo', 'skopeo'),
  program('umoci', 'umoci'),
  program('buildah', 'buildah'),
];

const work = mkdtempSync(join(tmpdir(), 'berth-makers-'));
const servers: ChildProcess[] = [];
after(async () => {
  for (const server of servers) {
    server.kill();
    if (server.exitCode === null && server.signalCode === null) await once(server, 'exit');
  }
  await removeTree(work);
});

/** Names of programs and words; what they print is shown if they fail. */
function run(path: string, ...args: string[]): string {
  const env = { PATH: process.env.PATH, HOME: work, TMPDIR: work, XDG_RUNTIME_DIR: work };
  return execFileSync(path, args, { encoding: 'utf8', env, stdio: ['ignore', 'pipe', 'pipe'] }).trim();
}

/** Ports of the test's own network. */
const registries = {
  'distribution 2.8': '127.0.0.1:5001',
  ...(process.env.BERTH_SLOW && { 'distribution 3': '127.0.0.1:5002' }),
  'go-containerregistry': '127.0.0.1:5003',
  olareg: '127.0.0.1:5004',
};
const first = registries['distribution 2.8'];

function distribution(path: string, addr: string): string[] {
  const root = mkdtempSync(join(work, 'distribution-'));
  const config = { version: 0.1, storage: { filesystem: { rootdirectory: join(root, 'data') } }, http: { addr } };
  writeFileSync(join(root, 'config.yml'), JSON.stringify(config)); // JSON is YAML
  return [path, 'serve', join(root, 'config.yml')];
}

async function serve([path, ...args]: string[], address: string): Promise<void> {
  const server = spawn(path!, args, { stdio: 'ignore', env: { OTEL_TRACES_EXPORTER: 'none' } });
  servers.push(server);
  await until(`${address} answers`, async () => {
    assert.equal(server.exitCode, null, `${path} ended`);
    return (await fetch(`http://${address}/v2/`).catch(() => null))?.ok;
  });
}

/** What each builder puts into an image: kinds of files, owners, modes, links, long and foreign names. */
function writeSource(root: string): void {
  const script = `
    mkdir -p usr/bin usr/lib empty var/${'long-'.repeat(30)}/deep etc
    echo one >etc/a; echo two >etc/gone; ln -s /etc/a etc/absolute; ln -s ../etc/a usr/relative; ln etc/a usr/hard
    echo program >usr/bin/su; chmod 4755 usr/bin/su; chown 12:34 usr/bin/su
    echo u >$'usr/lib/\\xc3\\xbc \\'"$'; head -c 300000 /dev/zero >usr/lib/zeros; mkfifo var/fifo
    ln -s ${'t/'.repeat(1500)}x var/link; chmod 1777 empty; setfattr -n user.berth -v yes etc/a
    find . -exec touch -h -d @1500000000 {} +`;
  mkdirSync(root);
  execFileSync('/bin/bash', ['-ec', script], { cwd: root });
}

const source = join(work, 'source');
const upper = tar(dir('etc'), file('etc/a', 'changed'), file('etc/.wh.gone'), dir('empty'), file('empty/.wh..wh..opq'));

/** The reference of each image that a builder pushed to the first registry. */
const built = new Map<string, string>();

const makers: Readonly<Record<string, (to: string) => void>> = {
  'buildah, OCI': (to) => build(to, 'oci'),
  'buildah, Docker': (to) => build(to, 'docker'),
  'crane append, on what buildah made': (to) => {
    writeFileSync(join(work, 'upper.tar'), upper);
    const from = built.get('buildah, OCI')!;
    run(made.crane, 'append', '--insecure', '--base', from, '--new_layer', join(work, 'upper.tar'), '--new_tag', to);
  },
  'crane mutate': (to) => {
    const change = ['--user', ':777', '--entrypoint', '/usr/bin/su', '--env', 'A=b', '--workdir', '/usr/../etc'];
    run(made.crane, 'mutate', '--insecure', ...change, '--tag', to, built.get('crane append, on what buildah made')!);
  },
  'crane flatten': (to) => {
    run(made.crane, 'flatten', '--insecure', '--tag', to, built.get('crane append, on what buildah made')!);
  },
  'skopeo, zstd': (to) => copy(built.get('crane append, on what buildah made')!, to, 'zstd'),
  'skopeo, zstd:chunked': (to) => copy(built.get('buildah, OCI')!, to, 'zstd:chunked'),
  'skopeo, Docker': (to) => asDocker(built.get('buildah, OCI')!, to),
  umoci: (to) => {
    const layout = join(work, 'umoci');
    run(umoci, 'init', '--layout', layout);
    run(umoci, 'new', '--image', `${layout}:app`);
    run(umoci, 'insert', '--image', `${layout}:app`, join(source, 'usr'), '/usr');
    run(umoci, 'insert', '--image', `${layout}:app`, '--whiteout', '/usr/hard');
    run(
      umoci,
      'config',
      '--image',
      `${layout}:app`,
      '--config.user',
      '1:2',
      '--architecture',
      'amd64',
      '--os',
      'linux',
    );
    run(skopeo, 'copy', '--dest-tls-verify=false', `oci:${layout}:app`, `docker://${to}`);
  },
  'regctl, an index in an index': (to) => {
    const [from, platform] = [built.get('buildah, OCI')!, ['--platform', 'linux/amd64']];
    const inner = `${to}-inner`;
    run(made.regctl, 'index', 'create', inner, '--ref', from, ...platform);
    run(made.regctl, 'index', 'create', to, '--ref', inner, '--desc-platform', 'linux/amd64');
  },
  'regctl, as Docker with zstd layers': (to) => {
    const change = ['--to-docker', '--layer-compress', 'zstd', '--annotation', 'a=b'];
    run(made.regctl, 'image', 'mod', built.get('buildah, OCI')!, ...change, '--create', to);
  },
};

function build(to: string, format: 'oci' | 'docker'): void {
  const store = ['--root', join(work, 'buildah'), '--runroot', join(work, 'buildah-run'), '--storage-driver', 'vfs'];
  const name = run(buildah, ...store, 'from', 'scratch');
  run(buildah, ...store, 'copy', '--quiet', name, source, '/');
  run(buildah, ...store, 'config', '--cmd', '/usr/bin/su', '--label', 'made=by', '--author', 'somebody', name);
  run(buildah, ...store, 'commit', '--quiet', '--format', format, '--tls-verify=false', name, `docker://${to}`);
  run(buildah, ...store, 'rm', name);
}

const asDocker = (from: string, to: string) =>
  run(
    skopeo,
    'copy',
    '--src-tls-verify=false',
    '--dest-tls-verify=false',
    '--format',
    'v2s2',
    `docker://${from}`,
    `docker://${to}`,
  );

/** By way of folders: skopeo remembers which compressed blobs a registry has for the plain ones, and takes those. */
function copy(from: string, to: string, kind: string): void {
  const [plain, layout] = [mkdtempSync(join(work, 'plain-')), mkdtempSync(join(work, 'packed-'))];
  run(skopeo, 'copy', '--src-tls-verify=false', '--dest-decompress', `docker://${from}`, `dir:${plain}`);
  run(skopeo, 'copy', '--dest-compress', '--dest-compress-format', kind, `dir:${plain}`, `oci:${layout}:app`);
  run(made.crane, 'push', '--insecure', layout, to);
}

before(async () => {
  writeSource(source);
  await serve(distribution(program('docker-registry', 'docker-registry'), first), first);
  const third = registries['distribution 3'];
  if (third) await serve(distribution(made.distribution, third), third);
  const ofCrane = registries['go-containerregistry'];
  await serve([made.crane, 'registry', 'serve', '--address', ofCrane], ofCrane);
  await serve(
    [made.olareg, 'serve', '--addr', '127.0.0.1', '--port', registries.olareg.slice(-4), '--store-type', 'mem'],
    registries.olareg,
  );
  for (const address of Object.values(registries)) run(made.regctl, 'registry', 'set', '--tls', 'disabled', address);
});

/** Those that skopeo and so umoci cannot read: their layers are those of the image named. */
const asMadeBy: Readonly<Record<string, string>> = {
  'regctl, an index in an index': 'buildah, OCI',
  'regctl, as Docker with zstd layers': 'buildah, OCI',
};

/** Shows that a maker made what its name says. */
const isMade: Readonly<Record<string, RegExp>> = {
  'buildah, Docker': /vnd\.docker\.image\.rootfs\.diff\.tar\.gzip/,
  'skopeo, zstd': /tar\+zstd/,
  'skopeo, zstd:chunked': /containers\.zstd-chunked/,
  'skopeo, Docker': /vnd\.docker\.distribution\.manifest/,
  'regctl, an index in an index': /"manifests":[\s\S]*vnd\.oci\.image\.index/,
  'regctl, as Docker with zstd layers': /vnd\.docker\.distribution\.manifest[\s\S]*zstd/,
};

/** What umoci makes of the same image, once its layers are plain. */
function reference(from: string, name: string) {
  const layout = join(work, `layout-${name}`);
  const plain = ['--dest-decompress', '--src-tls-verify=false'];
  run(
    skopeo,
    'copy',
    ...plain,
    '--override-os',
    'linux',
    '--override-arch',
    'amd64',
    `docker://${from}`,
    `dir:${layout}-dir`,
  );
  run(skopeo, 'copy', `dir:${layout}-dir`, `oci:${layout}:app`);
  run(umoci, 'unpack', '--image', `${layout}:app`, join(work, `bundle-${name}`));
  return describeTree(join(work, `bundle-${name}/rootfs`));
}

for (const [serial, [builder, make]] of Object.entries(makers).entries()) {
  test(`${builder}: the tree that umoci makes of it, from every registry`, async () => {
    const to = `${first}/made/by:${serial}`;
    make(to);
    built.set(builder, to);
    assert.match(run(made.crane, 'manifest', '--insecure', to), isMade[builder] ?? /mediaType/);
    const theirs = reference(built.get(asMadeBy[builder] ?? builder)!, `${serial}`);
    const ids = new Set<string>();
    for (const [registry, address] of Object.entries(registries)) {
      const copied = `${address}/made/by:${serial}`;
      if (address !== first) run(made.crane, 'copy', '--insecure', to, copied);
      await using store = await Store.open();
      ids.add((await store.pull(copied)).id);
      assert.deepEqual(differences(describeTree(await store.mount(copied)), theirs), [], registry);
    }
    assert.equal(ids.size, 1, [...ids].join());
  });
}
