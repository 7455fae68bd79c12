// Links of an image and places that a request names, where OCI runtimes make and mount things before the root is closed.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as grpc from '@grpc/grpc-js';
import { ownHost } from '../harness/own-host.ts';
import { type ContainerConfig, hostNetwork, refused, TestPod } from '../harness/pods.ts';
import { type Bench, ociRuntimes, suite } from '../harness/suite.ts';
import type { Entry } from '../images/layer.ts';
import { loadImage, outputIn, secured } from '../node/containers-support.ts';

await ownHost();

/** A folder of the host that no container may reach. */
const outside = '/run/outside';
/** A folder of the host that is a pod's volume, with links that a container may have made. */
const volume = '/run/volume';

type Case = {
  readonly entries?: readonly Entry[];
  readonly volumes?: readonly string[];
  readonly workingDir?: string;
  readonly container?: ContainerConfig;
};

const link = (name: string, to: string): Entry => ({ name, type: 'symlink', link: to });
const folder = (name: string): Entry => ({ name, type: 'directory' });
const at = (containerPath: string, hostPath = volume): ContainerConfig => ({ mounts: [{ containerPath, hostPath }] });
const withDevice = (containerPath: string, more: ContainerConfig = {}): ContainerConfig => ({
  devices: [{ hostPath: '/dev/full', containerPath, permissions: 'r' }],
  ...more,
});
const { INVALID_ARGUMENT, FAILED_PRECONDITION } = grpc.status;

/** The places that OCI runtimes fill themselves, as links to where they may lead. */
const tops = Object.fromEntries(
  ['dev', 'proc', 'sys'].flatMap((name): [string, Case][] => [
    [`/${name} to a folder of the host`, { entries: [folder('run/outside'), link(name, outside)] }],
    [`/${name} to a folder of the host by ..`, { entries: [link(name, `../../../../../..${outside}`)] }],
    [`/${name} to a folder of the image`, { entries: [folder(`var/${name}`), link(name, `var/${name}`)] }],
    [`/${name} to the root`, { entries: [link(name, '/')] }],
    [`/${name} to itself`, { entries: [link(name, name)] }],
    [`/${name} as a file`, { entries: [{ name, data: 'x' }] }],
  ]),
);

const byLink: Record<string, Case> = {
  'a mount on a link to the root': { entries: [link('v', '/')], container: at('/v') },
  'a mount on a link to the root by ..': { entries: [link('v', 'etc/../..')], container: at('/v') },
  'a mount on a link to /proc': { entries: [link('v', '/proc')], container: at('/v') },
  'a mount below a link to /proc': { entries: [link('v', 'proc/self')], container: at('/v/attr') },
  'a mount on a chain of links to /proc': { entries: [link('v', 'w'), link('w', 'proc')], container: at('/v') },
  'a mount on a link to /dev': { entries: [link('v', '/dev')], container: at('/v') },
  'a mount below a link to /dev': { entries: [link('v', '/dev')], container: at('/v/null', `${volume}/file`) },
  'a mount on a link to /sys': { entries: [link('v', '/sys/kernel')], container: at('/v') },
  'an image volume on a link to /proc': {
    entries: [link('v', '/proc')],
    container: { mounts: [{ containerPath: '/v', image: { image: 'localhost/rooted:1' } }] },
  },
  'a privileged mount on a link to /proc': {
    entries: [link('v', '/proc')],
    container: { ...at('/v'), ...secured({ privileged: true }) },
  },
  'a mount through a link in a volume': {
    container: {
      mounts: [
        { containerPath: '/data/proc', hostPath: volume },
        { containerPath: '/data', hostPath: volume },
      ],
    },
  },
  '/etc/hosts to a label of the process': { entries: [link('etc/hosts', '/proc/self/attr/exec')] },
  '/etc/resolv.conf to a file in /proc': { entries: [link('etc/resolv.conf', '../proc/sys/kernel/core_pattern')] },
  '/etc/hostname to a device': { entries: [link('etc/hostname', '/dev/null')] },
  '/etc/hosts through a volume on /etc': { container: at('/etc', `${volume}/etc`) },
  'a device in a folder of the host': { entries: [link('d', outside)], container: withDevice('/d/full') },
  'a device through a link in a volume': { container: withDevice('/dev/v/out/full', at('/dev/v')) },
  'a working directory that is a descriptor': { entries: [link('w', '/proc/self/fd/7')], workingDir: '/w' },
  'a working directory below a descriptor': { entries: [link('w', '/proc/thread-self')], workingDir: '/w/fd/7/x' },
  "a working directory in another process' root": { entries: [link('w', 'proc')], workingDir: '/w/1/root' },
  'a loop of links': { entries: [link('v', 'w'), link('w', 'v')], container: at('/v/x') },
};

const byRequest: Record<string, Case> = {
  'a mount on the root': { container: at('/') },
  'a mount on the root by ..': { container: at('/etc/../..') },
  'a mount on /proc': { container: at('/proc') },
  'a mount below /proc': { container: at('/proc/sys/kernel', volume) },
  'a mount on a mask': { container: at('/./proc//self/attr/../attr') },
  'a volume on /dev': { container: at('/dev') },
  'a working directory that is a descriptor': { workingDir: '/proc/self/fd/7' },
  'a working directory with ..': { workingDir: '/tmp/../proc/self/fd/7' },
};

/** What every root may have, and what shows that it works. */
const legitimate: Record<string, Case & { readonly script?: string; readonly lines: readonly string[] }> = {
  '/dev, /proc and /sys are absent': {
    entries: [
      { name: '.wh.dev', data: '' },
      { name: '.wh.proc', data: '' },
      { name: '.wh.sys', data: '' },
    ],
    script: 'ls -d /dev/null /proc/self/exe /sys/kernel',
    lines: ['/dev/null', '/proc/self/exe', '/sys/kernel'],
  },
  '/etc is absent': {
    entries: [{ name: '.wh.etc', data: '' }],
    script: 'ls /etc',
    lines: ['hostname', 'hosts', 'resolv.conf'],
  },
  '/etc/resolv.conf is a link, and there is no /run/systemd': {
    entries: [link('etc/resolv.conf', '../run/systemd/resolve/stub-resolv.conf')],
    script: 'ls /run/systemd/resolve',
    lines: ['stub-resolv.conf'],
  },
  'merged /usr, and a mount below it': {
    entries: [folder('usr/lib64'), link('lib64', 'usr/lib64')],
    container: at('/lib64/x'),
    script: 'cat /usr/lib64/x/file',
    lines: ['of the volume'],
  },
  '/var/run is a link, and a mount below it': {
    container: at('/var/run/secrets/x'),
    script: 'cat /run/secrets/x/file',
    lines: ['of the volume'],
  },
  'a link that leads out of the image stays in it': {
    entries: [folder('run/outside'), link('v', `../../../..${outside}`)],
    container: at('/v/x'),
    script: `cat ${outside}/x/file`,
    lines: ['of the volume'],
  },
  'masked and read-only paths through links': {
    entries: [link('m', outside), folder('run/outside'), { name: 'run/outside/file', data: 'of the image\n' }],
    container: secured({ maskedPaths: ['/m/file'], readonlyPaths: ['/m'] }),
    script: `cat ${outside}/file; touch ${outside}/x 2>&1`,
    lines: [`touch: ${outside}/x: Read-only file system`],
  },
  'what lxcfs stands in for': {
    container: at('/proc/uptime', `${volume}/file`),
    script: 'cat /proc/uptime',
    lines: ['of the volume'],
  },
  "the host's own /dev and /sys": {
    container: {
      mounts: [
        { containerPath: '/dev', hostPath: '/dev' },
        { containerPath: '/sys', hostPath: '/sys' },
      ],
    },
    script: 'ls -d /dev/null /sys/kernel',
    lines: ['/dev/null', '/sys/kernel'],
  },
  'a mount below /dev': { container: at('/dev/data'), script: 'cat /dev/data/file', lines: ['of the volume'] },
  'a device outside of /dev': { container: withDevice('/opt/full'), script: 'ls /opt/full', lines: ['/opt/full'] },
  'a working directory that is a link': {
    entries: [link('w', '/var/www')],
    workingDir: '/w',
    script: 'pwd -P',
    lines: ['/var/www'],
  },
  'a working directory that does not exist': { workingDir: '/new/one', script: 'pwd', lines: ['/new/one'] },
  'VOLUMEs that lead to what Berth mounts are none': {
    entries: [link('p', '/proc'), link('r', '.'), link('d', 'dev'), link('s', 'sys'), link('q', 'p/self/attr')],
    volumes: ['/p', '/r', '/d', '/s', '/q', '/p/sys', '/s/kernel', '/r/r/p', '/proc', '/'],
    script: `cat /proc/self/comm; grep -c ${'v1/volumes'} /proc/self/mountinfo`,
    lines: ['cat', '0'],
  },
  'a VOLUME that leads to a mount of the request is that mount': {
    entries: [folder('srv'), link('data', 'srv')],
    volumes: ['/data/x', '/srv/x/', '/./data/../data/x'],
    container: at('/srv/x'),
    script: 'cat /data/x/file; grep -c v1/volumes /proc/self/mountinfo',
    lines: ['of the volume', '0'],
  },
  'a VOLUME below a link of a volume is none in /proc': {
    volumes: ['/data/proc', '/data/proc/self'],
    container: at('/data'),
    script: 'cat /proc/self/comm; grep -c v1/volumes /proc/self/mountinfo',
    lines: ['cat', '0'],
  },
  'VOLUMEs through links': {
    entries: [folder('srv'), { name: 'srv/file', data: 'of the image\n' }, link('data', 'srv')],
    volumes: ['/data', '/data/', '/srv', '/var/run/state'],
    script: 'cat /data/file; ls -d /run/state; grep -c v1/volumes /proc/self/mountinfo',
    lines: ['of the image', '/run/state', '2'],
  },
};

function prepareHost(): void {
  for (const path of [outside, volume]) rmSync(path, { recursive: true, force: true });
  mkdirSync(outside);
  for (const name of ['ptmx', 'file', 'full', 'null']) writeFileSync(join(outside, name), 'of the host\n');
  mkdirSync(join(volume, 'etc'), { recursive: true });
  writeFileSync(join(volume, 'file'), 'of the volume\n');
  symlinkSync('/proc', join(volume, 'proc'));
  symlinkSync(outside, join(volume, 'out'));
  symlinkSync('/proc/self/attr/exec', join(volume, 'etc/hosts'));
}

prepareHost(); // it is there before and after each test

/** All of /dev, /etc and the folder outside: names, kinds, times, content. */
const tripwire = (): string =>
  execFileSync('/bin/sh', ['-c', `ls -lAR --full-time ${outside} /dev /etc; cat ${outside}/*`], {
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });

let serial = 0;

/** Has the case's container made and started, and nothing of the host touched. */
async function tried(bench: Bench, each: Case, run: (pod: TestPod, image: string) => Promise<void>): Promise<void> {
  const { entries = [], volumes = [], workingDir } = each;
  prepareHost();
  const image = await loadImage(bench, `root-${serial++}`, entries, {
    Volumes: Object.fromEntries(volumes.map((path) => [path, {}])),
    ...(workingDir !== undefined && { WorkingDir: workingDir }),
  });
  const privileged = each.container?.linux?.securityContext?.privileged ?? false;
  const { securityContext } = hostNetwork.linux;
  const pod = await TestPod.run(bench.daemon, 'rooted', {
    linux: { securityContext: { ...securityContext, privileged } },
  });
  const before = tripwire();
  try {
    await run(pod, image);
  } finally {
    await pod.remove();
    assert.equal(tripwire(), before, 'the host is as it was');
  }
}

for (const handler of ociRuntimes) {
  suite(`roots that lead astray, with ${handler}`, { handler, network: false }, (bench) => {
    for (const [code, cases, words] of [
      [FAILED_PRECONDITION, tops, /^.*\/(dev|proc|sys) of image localhost\/root-\d+:1 is (no|a symbolic)/],
      [FAILED_PRECONDITION, byLink, /leads to .* in image localhost\/root-\d+:1|loop of symbolic links/],
      [INVALID_ARGUMENT, byRequest, /^.*(Mount path|Working directory)/],
    ] as const) {
      for (const [name, each] of Object.entries<Case>(cases)) {
        test(`refused: ${name}`, async () => {
          await loadImage(bench, 'rooted', []);
          await tried(bench, each, async (pod, image) => {
            const started = pod.sh('c', image, 'sleep 1000', each.container);
            await refused(started, code, words);
          });
        });
      }
    }
    for (const [name, { lines, script = 'true', ...each }] of Object.entries(legitimate)) {
      test(`started: ${name}`, () =>
        tried(bench, each, async (pod, image) => {
          assert.deepEqual(await outputIn(pod, image, `${script}; true`, each.container ?? {}), lines);
        }));
    }
  });
}
