import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Fault } from '../../../src/base/fault.ts';
import { updateContainerResources, updatePodResources } from '../../../src/lifecycle/update-resources.ts';
import type { Resources } from '../../../src/model/config.ts';
import type { ContainerState } from '../../../src/model/container.ts';
import type { Shim } from '../../../src/shim/index.ts';
import { hostV2, noResources, container as plain } from '../oci/inputs.ts';
import { containerId, containerIn, daemonWith, ended, exited, podId, running } from './fakes.ts';

const before: Resources = { ...noResources, cpuShares: 512, memoryLimit: 64 << 20, unified: { 'memory.high': '1' } };
const wanted: Resources = { ...noResources, cpuShares: 1024, unified: { 'cpu.weight': '2' } };
const after: Resources = { ...before, cpuShares: 1024, unified: { 'memory.high': '1', 'cpu.weight': '2' } };

/** A container with limits, and an OCI runtime that ends so, one call after the other; `asked`: the limits that it was given. */
async function limited(state: ContainerState, ...outcomes: Partial<ReturnType<typeof ended>>[]) {
  const container = containerIn(state, containerId, { config: { ...plain, resources: before } });
  const world = await daemonWith({ containers: [container] });
  Object.assign(world.deps, { host: hostV2 });
  const { layout } = world.deps;
  const spec = { process: { args: ['x'], oomScoreAdj: 0 }, linux: { resources: { devices: [{ allow: false }] } } };
  writeFileSync(layout.configFile(podId, containerId), JSON.stringify(spec));
  const asked: number[] = [];
  const run: Shim['run'] = async () => {
    const { cpu } = JSON.parse(readFileSync(join(layout.bundle(podId, containerId), 'update.json'), 'utf8'));
    asked.push(cpu.shares);
    return ended(outcomes.shift());
  };
  Object.assign(world.ownShim, { run });
  return { ...world, asked };
}
type World = Awaited<ReturnType<typeof limited>>;
const onRecord = ({ deps }: World) => deps.containers.get(containerId)!.config.resources;
const bundled = ({ deps }: World) => JSON.parse(readFileSync(deps.layout.configFile(podId, containerId), 'utf8'));

test('what a request leaves empty stays; record, bundle and process are changed', async () => {
  const world = await limited(running);
  await updateContainerResources(world.deps, containerId, wanted);
  assert.deepEqual([world.asked, onRecord(world)], [[1024], after]);
  const { linux, process } = bundled(world);
  assert.deepEqual([linux.resources.cpu.shares, linux.resources.memory.limit], [1024, 64 << 20]);
  assert.deepEqual(linux.resources.devices, [{ allow: false }], 'who may use which device is nothing that is updated');
  const file = world.deps.layout.processFile(podId, containerId);
  assert.deepEqual(JSON.parse(readFileSync(file, 'utf8')), process);
  assert.equal(existsSync(join(world.deps.layout.bundle(podId, containerId), 'update.json')), false);
});

test('a limit of memory alone is that of memory and swap, also where a lower one was asked for before', async () => {
  const world = await limited(running);
  const limit = async (memoryLimit: number, memorySwapLimit: number) => {
    await updateContainerResources(world.deps, containerId, { ...noResources, memoryLimit, memorySwapLimit });
    return bundled(world).linux.resources.memory;
  };
  assert.deepEqual(await limit(64 << 20, 96 << 20), { limit: 64 << 20, swap: 96 << 20 });
  assert.deepEqual(await limit(128 << 20, 0), { limit: 128 << 20, swap: 128 << 20 });
  assert.deepEqual(await limit(0, 192 << 20), { limit: 128 << 20, swap: 192 << 20 });
  await updateContainerResources(world.deps, containerId, { ...noResources, cpuShares: 7 });
  assert.deepEqual(bundled(world).linux.resources.memory, { limit: 128 << 20, swap: 192 << 20 });
});

test('of one that does not run yet only its bundle is changed: it starts with it', async () => {
  const world = await limited({ phase: 'created' });
  await updateContainerResources(world.deps, containerId, wanted);
  assert.deepEqual([world.asked, onRecord(world), bundled(world).linux.resources.cpu.shares], [[], after, 1024]);
});

test('one that has ended has no limits', async () => {
  const world = await limited(exited);
  await assert.rejects(updateContainerResources(world.deps, containerId, wanted), { kind: 'FailedPrecondition' });
  await assert.rejects(updateContainerResources(world.deps, 'unknown', wanted), { kind: 'NotFound' });
  assert.deepEqual(onRecord(world), before);
});

describe('an OCI runtime that refuses', () => {
  const refusal = { code: 1, stderr: Buffer.from('no') };

  for (const [name, outcome, kind] of [
    ['by its exit code', refusal, 'Internal'],
    ['by not coming to an end', { timedOut: true }, 'DeadlineExceeded'],
  ] as const) {
    test(`${name}: the old limits are put back, and nothing is on record`, async () => {
      const world = await limited(running, outcome);
      await assert.rejects(updateContainerResources(world.deps, containerId, wanted), { kind });
      assert.deepEqual([world.asked, onRecord(world)], [[1024, 512], before]);
      assert.equal(bundled(world).linux.resources.cpu, undefined, 'the bundle is as it was');
    });
  }

  test('the old limits as well: both are told', async () => {
    const world = await limited(running, { timedOut: true }, refusal);
    const text = /did not finish in time and was killed; and the old limits could not be put back: .*: no$/;
    await assert.rejects(updateContainerResources(world.deps, containerId, wanted), (error: Fault) => {
      assert.deepEqual([error instanceof Fault, error.kind], [true, 'DeadlineExceeded']);
      assert.match(error.message, text);
      return true;
    });
  });
});

test('of a pod as a whole it keeps what it is told, and what it is not told stays', async () => {
  const { deps } = await daemonWith();
  await updatePodResources(deps, podId, before, null);
  await updatePodResources(deps, podId, null, wanted);
  const { overhead, resources } = deps.pods.get(podId)!.config;
  assert.deepEqual([overhead, resources], [before, wanted]);
});
