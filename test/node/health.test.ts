// grpc.health.v1, as probes and agents ask.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { credentials, status as grpc } from '@grpc/grpc-js';
import { HealthCheckResponse_ServingStatus as Health, HealthClient } from '../../src/api/grpc/health/v1/health.ts';
import { TestDaemon } from '../harness/daemon.ts';
import { ownHost } from '../harness/own-host.ts';

await ownHost();

test('the server and its services serve, others are unknown, and whoever watches hears of the end', async (t) => {
  const daemon = new TestDaemon({ network: false });
  await daemon.start();
  t.after(() => daemon.dispose());
  const client = new HealthClient(`unix://${daemon.socket}`, credentials.createInsecure());
  t.after(() => client.close());
  const check = (service: string) =>
    new Promise((resolve) => client.check({ service }, (error, answer) => resolve(error ? error.code : answer.status)));
  for (const service of ['', 'runtime.v1.RuntimeService', 'runtime.v1.ImageService']) {
    assert.equal(await check(service), Health.SERVING, service);
  }
  assert.equal(await check('runtime.v1alpha2.RuntimeService'), grpc.NOT_FOUND);

  const unknown = client.watch({ service: 'none' });
  unknown.on('error', () => {}); // it is called off
  assert.deepEqual(await once(unknown, 'data'), [{ status: Health.SERVICE_UNKNOWN }]);
  unknown.cancel();
  const heard: number[] = [];
  const watch = client.watch({ service: '' });
  const over = once(watch, 'end');
  watch.on('data', ({ status }) => heard.push(status));
  await once(watch, 'data');
  await daemon.stop();
  await over;
  assert.deepEqual(heard, [Health.SERVING, Health.NOT_SERVING]);
});
