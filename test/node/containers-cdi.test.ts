// Devices by CDI: named in CRI's field or in annotations, described by files of vendors.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { status as grpc } from '@grpc/grpc-js';
import { ownHost } from '../harness/own-host.ts';
import { refused, TestPod } from '../harness/pods.ts';
import { ociRuntimes, suite } from '../harness/suite.ts';
import { outputOf } from './containers-support.ts';

await ownHost();

for (const handler of ociRuntimes) {
  const first = `/run/berth-cdi-${handler}/etc`;
  const second = `/run/berth-cdi-${handler}/run`;
  suite(`CDI with ${handler}`, { handler, settings: { cdi: { spec_dirs: [first, second] } } }, (bench) => {
    const spec = (kind: string, devices: object[], containerEdits: object = {}) =>
      JSON.stringify({ cdiVersion: '0.6.0', kind, devices, containerEdits });
    const write = (folder: string, name: string, text: string) => {
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, name), text);
    };
    const clean = () => rmSync(join(first, '..'), { recursive: true, force: true });

    test('nodes, mounts, environment, groups and hooks, of the file once and of each device', async () => {
      const library = join(bench.daemon.dir, 'lib.so');
      const hook = join(bench.daemon.dir, 'hook.sh');
      const trace = join(bench.daemon.dir, 'trace');
      writeFileSync(library, 'a library');
      chmodSync(library, 0o644);
      writeFileSync(hook, `#!/bin/sh\necho "$@" >>${trace}\n`, { mode: 0o755 });
      const device = (name: string, path: string, hostPath: string) => ({
        name,
        containerEdits: { env: [`DEVICE_${name}=yes`], deviceNodes: [{ path, hostPath, permissions: 'r' }] },
      });
      const common = {
        env: ['VENDOR=1'],
        mounts: [
          { hostPath: library, containerPath: '/usr/lib/vendor.so', options: ['ro', 'nosuid', 'nodev', 'bind'] },
        ],
        hooks: [{ hookName: 'createRuntime', path: hook, args: ['hook.sh', 'ran'] }],
        additionalGids: [4242],
      };
      const both = [device('a', '/dev/vendor0', '/dev/kmsg'), device('b', '/dev/vendor1', '/dev/full')];
      write(first, 'vendor.json', spec('vendor.com/gpu', both, common));
      const script =
        'env | grep -E "^(VENDOR|DEVICE_)" | sort; stat -c "%n %t:%T" /dev/vendor*; cat /usr/lib/vendor.so; echo; ' +
        'id -G; (echo x >/dev/vendor0) 2>&1 | grep -o "not permitted"';
      try {
        const lines = await outputOf(bench, script, {
          CDIDevices: [{ name: 'vendor.com/gpu=a' }],
          annotations: { 'cdi.k8s.io/plugin_1': 'vendor.com/gpu=b,vendor.com/gpu=a', other: 'vendor.com/gpu=none' },
        });
        assert.deepEqual(lines, [
          'DEVICE_a=yes',
          'DEVICE_b=yes',
          'VENDOR=1',
          '/dev/vendor0 1:b',
          '/dev/vendor1 1:7',
          'a library',
          '0 4242',
          'not permitted',
        ]);
        assert.equal(readFileSync(trace, 'utf8'), 'ran\n');
      } finally {
        clean();
      }
    });

    test('YAML as well, and a file of the later directory comes before the earlier', async () => {
      const mode = `cdiVersion: 0.6.0\nkind: vendor.com/mode\ndevices:\n- name: 0\n  containerEdits:\n    deviceNodes:\n    - {path: /dev/m, hostPath: /dev/null, fileMode: 0640}\n`;
      write(first, 'mode.yaml', mode);
      const yaml = (text: string) =>
        `cdiVersion: "0.5.0"\nkind: vendor.com/nic\ndevices:\n  - name: "0"\n    containerEdits:\n      env:\n        - FROM=${text}\n`;
      write(first, 'nic.yaml', yaml('first'));
      const asked = { CDIDevices: [{ name: 'vendor.com/nic=0' }] };
      try {
        assert.deepEqual(await outputOf(bench, 'echo $FROM', asked), ['first']);
        const octal = { CDIDevices: [{ name: 'vendor.com/mode=0' }] };
        assert.deepEqual(await outputOf(bench, 'stat -c %a /dev/m', octal), ['640']);
        write(second, 'nic.yml', yaml('second'));
        assert.deepEqual(await outputOf(bench, 'echo $FROM', asked), ['second']);
        write(second, 'again.yml', yaml('third'));
        const pod = await TestPod.run(bench.daemon, 'twice');
        await refused(pod.create('c', bench.image.busybox, asked), grpc.FAILED_PRECONDITION, /in two files/);
        await pod.remove();
      } finally {
        clean();
      }
    });

    test('what is not there or no name is refused; a broken file stops nothing but itself', async () => {
      write(first, 'broken.json', '{');
      write(
        first,
        'wrong.json',
        spec('vendor.com/x', [{ name: 'a', containerEdits: { deviceNodes: [{ path: 'dev/x' }] } }]),
      );
      write(first, 'good.json', spec('vendor.com/y', [{ name: 'a', containerEdits: { env: ['Y=1'] } }]));
      write(
        first,
        'gone.json',
        spec('vendor.com/z', [{ name: 'a', containerEdits: { deviceNodes: [{ path: '/dev/no-such' }] } }]),
      );
      const pod = await TestPod.run(bench.daemon, 'wrong');
      const create = (name: string) => pod.create('c', bench.image.busybox, { CDIDevices: [{ name }] });
      try {
        await refused(
          create('vendor.com/x=a'),
          grpc.FAILED_PRECONDITION,
          /in no specification in .*: what cannot be used: .*broken\.json \(.*wrong\.json \(.*absolute path/s,
        );
        await refused(create('vendor.com/y=b'), grpc.FAILED_PRECONDITION, /vendor\.com\/y=b/);
        await refused(create('vendor.com/z=a'), grpc.FAILED_PRECONDITION, /no-such is no device/);
        for (const name of ['vendor.com', 'a=b', 'vendor.com/y=', '../x/y=a', 'vendor.com/y=a=b'])
          await refused(create(name), grpc.INVALID_ARGUMENT, /is not vendor\/class=name/);
        assert.deepEqual(await outputOf(bench, 'echo $Y', { CDIDevices: [{ name: 'vendor.com/y=a' }] }), ['1']);
        assert.ok(
          bench.daemon.logged.some(
            ({ file, reason }) => String(file).endsWith('wrong.json') && /absolute path/.test(String(reason)),
          ),
        );
        for (const name of ['broken.json', 'wrong.json']) rmSync(join(first, name));
        await refused(
          create('vendor.com/x=a'),
          grpc.FAILED_PRECONDITION,
          /in no specification in .*is its driver there/,
        );
      } finally {
        clean();
        await pod.remove();
      }
    });
  });
}
