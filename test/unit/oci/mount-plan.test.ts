import assert from 'node:assert/strict';
import test from 'node:test';
import { arrange, buildSpec, type PlannedMount, planMounts, type SpecInput } from '../../../src/oci/index.ts';
import { bound, specInput } from './inputs.ts';

type Changes = NonNullable<Parameters<typeof specInput>[0]>;
type CdiMount = NonNullable<SpecInput['injected']>['mounts'][number];

const cdi = (destination: string, options: string[] = ['rbind']): CdiMount => ({
  ...{ destination, type: 'bind', source: '/opt/vendor', options },
});
const withCdi = (mounts: CdiMount[], changes: Changes = {}) =>
  specInput({ ...changes, injected: { env: [], hooks: {}, additionalGids: [], mounts } });
const defaults = ['/dev', '/proc', '/sys', '/dev/mqueue', '/dev/pts', '/sys/fs/cgroup'];
const podFiles = ['/dev/shm', '/etc/hostname', '/etc/hosts', '/etc/resolv.conf'];
/** Of a plan what is not the same for every container, or what of that is missing. */
function difference(mounts: readonly PlannedMount[]): string[] {
  const usual = [...defaults, ...podFiles];
  const found = mounts.filter(({ origin }) => origin === 'default' || origin === 'pod').map(({ place }) => place);
  const more = mounts.filter(({ origin }) => origin !== 'default' && origin !== 'pod');
  return [
    ...usual.filter((place) => !found.includes(place)).map((place) => `no ${place}`),
    ...more.map(({ origin, place }) => `${origin} ${place}`),
  ];
}

const plans: Record<string, { input: SpecInput; expected: string[] }> = {
  'what was asked for hides the defaults at it and below it': {
    input: specInput({ mounts: [bound({ containerPath: '/sys//' }), bound({ containerPath: '/x/../dev/pts' })] }),
    expected: ['no /sys', 'no /dev/pts', 'no /sys/fs/cgroup', 'request /sys', 'request /dev/pts'],
  },
  'what a device brings does so too': {
    input: withCdi([cdi('/sys/fs')]),
    expected: ['no /sys/fs/cgroup', 'cdi /sys/fs'],
  },
  "a pod's file gives way to a mount of its place, not to one above it": {
    input: specInput({ mounts: [bound({ containerPath: '/etc' }), bound({ containerPath: '/etc/./hosts' })] }),
    expected: ['no /etc/hosts', 'request /etc', 'request /etc/hosts'],
  },
  'nothing of ours is in what the host shares': {
    input: specInput({
      mounts: ['/etc', '/dev'].map((containerPath) => bound({ containerPath, propagation: 'bidirectional' })),
      image: { volumes: ['/etc/x', '/e'] },
    }),
    expected: [
      ...['no /dev', 'no /dev/mqueue', 'no /dev/pts', ...podFiles.map((path) => `no ${path}`)],
      ...['request /etc', 'request /dev', 'volume /e'],
    ],
  },
  'what a device shares is shared as well': {
    input: withCdi([cdi('/etc', ['rbind', 'shared'])], { image: { volumes: ['/etc/x'] } }),
    expected: [...podFiles.slice(1).map((path) => `no ${path}`), 'cdi /etc'],
  },
  'VOLUMEs give way to everything that is there': {
    input: withCdi([cdi('/cdi/')], {
      mounts: [bound({ containerPath: '/data' })],
      image: { volumes: ['/', '/..', '/proc/x', 'sys', '/etc/hosts', '/data/', '/cdi', '/v', 'v/', '/v/w'] },
    }),
    expected: ['request /data', 'volume /v', 'cdi /cdi', 'volume /v/w'],
  },
  'the outer before the inner, however they are written': {
    input: withCdi([cdi('/opt/x//')], {
      mounts: [bound({ containerPath: '/opt/x/y' }), bound({ containerPath: 'a' })],
    }),
    expected: ['request /a', 'cdi /opt/x', 'request /opt/x/y'],
  },
  'of one place the last is on top': {
    input: specInput({
      mounts: [bound({ containerPath: '/a' }), bound({ containerPath: '/b' }), bound({ containerPath: '/a/' })],
    }),
    expected: ['request /a', 'request /b', 'request /a'],
  },
};
for (const [name, { input, expected }] of Object.entries(plans)) {
  test(name, () => assert.deepEqual(difference(planMounts(input)), expected));
}

test('what counts is where a mount lands', () => {
  const places: Record<string, string> = { '/names': '/etc/hosts', '/a/x': '/b/c/d/x', '/old': '/v' };
  const input = specInput({
    mounts: ['/names', '/a/x', '/b/c/d'].map((containerPath) => bound({ containerPath })),
    image: { volumes: ['/v', '/old'] },
  });
  const landed = planMounts(input).map((mount) => ({ ...mount, place: places[mount.place] ?? mount.place }));
  assert.deepEqual(difference(arrange(landed)), [
    ...['no /etc/hosts', 'volume /v', 'request /etc/hosts', 'request /b/c/d', 'request /b/c/d/x'],
  ]);
  const { mounts } = buildSpec(input, arrange(landed));
  assert.deepEqual(mounts.at(-1), {
    destination: '/a/x',
    type: 'bind',
    source: '/srv/data',
    options: ['rbind', 'rprivate', 'rw'],
  });
});

test('the root has the propagation that a mount of a device needs, as that of the request', () => {
  const of = (input: SpecInput) => buildSpec(input).linux.rootfsPropagation;
  const mounts = [bound({ propagation: 'hostToContainer' })];
  assert.deepEqual(
    [
      of(withCdi([cdi('/x')])),
      of(withCdi([cdi('/x')], { mounts })),
      of(withCdi([cdi('/x', ['rbind', 'rshared'])], { mounts })),
    ],
    [undefined, 'rslave', 'rshared'],
  );
});
