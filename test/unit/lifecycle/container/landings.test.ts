import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { checkLandings, landMounts } from '../../../../src/lifecycle/container/landings.ts';
import { RootView } from '../../../../src/lifecycle/container/root-view.ts';
import { buildSpec, planMounts, type SpecInput } from '../../../../src/oci/index.ts';
import { Looker } from '../../../../src/shim/index.ts';
import { patienceMs } from '../../../harness/look.ts';
import { bound, specInput } from '../../oci/inputs.ts';

const folder = mkdtempSync(join(tmpdir(), 'berth-landings-'));
const looker = new Looker(patienceMs);
after(() => {
  rmSync(folder, { recursive: true });
  looker[Symbol.dispose]();
});
const [rootfs, volume] = [join(folder, 'root'), join(folder, 'volume')];
for (const path of [join(rootfs, 'b/c'), join(rootfs, 'v/in'), join(volume, 'hosts'), join(volume, 'there')])
  mkdirSync(path, { recursive: true });
const links = {
  'root/a': '/b/c',
  'root/sys-link': '/sys',
  'root/v/in/self': '/v',
  'volume/up': '/p',
  'volume/over': '../x',
};
for (const [path, target] of Object.entries(links)) symlinkSync(target, join(folder, path));

type Asked = Partial<Parameters<typeof bound>[0]>;
const at = (containerPath: string, more: Asked = {}) => bound({ containerPath, hostPath: volume, ...more });
const asking = (...mounts: ReturnType<typeof at>[]) => specInput({ mounts, rootfs });

async function landingsOf(input: SpecInput) {
  const view = new RootView(rootfs, looker);
  return { view, mounts: await landMounts(view, planMounts(input)) };
}

/** Where what was asked for lands, and the VOLUMEs, in their order. */
const placesOf = async (input: SpecInput) =>
  (await landingsOf(input)).mounts
    .filter(({ origin }) => origin === 'request' || origin === 'volume')
    .map(({ destination, place }) => `${destination} ${place}`);

test('a mount below a link of the image is made after what it leads into', async () => {
  assert.deepEqual(await placesOf(asking(at('/a/x/y'), at('/b/c/x'))), ['/b/c/x /b/c/x', '/a/x/y /b/c/x/y']);
});

test('it is looked at again where it lands: a link of what is mounted there counts from then on', async () => {
  assert.deepEqual(await placesOf(asking(at('/a/over'), at('/b/c'))), ['/b/c /b/c', '/a/over /b/x']);
});

test('VOLUMEs by two names are one, and have no links but those of the image', async () => {
  const input = specInput({ rootfs, mounts: [at('/v/in/self/x')], image: { volumes: ['/b/c', '/a', '/v/in'] } });
  assert.deepEqual(await placesOf(input), ['/a /b/c', '/v/in /v/in', '/v/in/self/x /v/x']);
});

test('a mount that leads by a link in another to above that one is refused, not mounted over it', async () => {
  const circle = landingsOf(asking(at('/p/q'), at('/p/q/up')));
  await assert.rejects(circle, {
    kind: 'FailedPrecondition',
    message: /^Mount path "\/p\/q\/up" leads through a link in another mount/,
  });
});

test('nothing that nobody asked for is made in a read-only mount; what is there is mounted on', async () => {
  const input = specInput({
    rootfs,
    mounts: [at('/etc', { readonly: true }), at('/etc/asked'), at('/rw')],
    image: { volumes: ['/etc/there', '/etc/missing', '/rw/missing'] },
  });
  const { mounts } = await landingsOf(input);
  assert.deepEqual(
    mounts.filter(({ place }) => /^\/(etc|rw)/.test(place)).map(({ place }) => place),
    ['/etc', '/rw', '/etc/hosts', '/etc/asked', '/etc/there', '/rw/missing'],
  );
});

const privileged = { privileged: true };
const shared = { propagation: 'bidirectional' } as const;
const checks: Record<string, { input: SpecInput; refused?: RegExp }> = {
  'a mount by a link into /sys': {
    input: asking(at('/sys-link/x')),
    refused: /^Mount path "\/sys-link\/x" leads to "\/sys\/x"/,
  },
  'masks in a /sys that is shared with the host': {
    input: asking(at('/sys', shared)),
    refused: /^Mount path "\/sys" is refused: \/sys\/firmware would be hidden or read-only on the host too/,
  },
  'the same by a link': {
    input: specInput({ rootfs, mounts: [at('/b', shared)], security: { maskedPaths: ['/a/x'], readonlyPaths: [] } }),
    refused: /^Mount path "\/b" is refused: \/a\/x would be/,
  },
  'a shared mount without masks in it': { input: asking(at('/b', shared)) },
  'no masks at all': { input: specInput({ rootfs, mounts: [at('/sys', shared)], security: privileged }) },
  'a terminal in a /dev that a device shares with the host': {
    input: specInput({
      rootfs,
      container: { tty: true },
      security: privileged,
      injected: {
        ...{ env: [], hooks: {}, additionalGids: [] },
        mounts: [{ destination: '/dev/', type: 'bind', source: '/dev', options: ['bind', 'shared'] }],
      },
    }),
    refused: /terminal would be mounted over the host's console/,
  },
};
for (const [name, { input, refused }] of Object.entries(checks)) {
  test(`${refused ? 'refused' : 'allowed'}: ${name}`, async () => {
    const landed = { ...(await landingsOf(input)), image: 'x', privileged: input.container.security.privileged };
    const check = checkLandings(looker, landed, buildSpec(input, landed.mounts));
    if (refused) await assert.rejects(check, { message: refused });
    else await check;
  });
}
