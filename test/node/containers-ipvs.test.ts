// What kube-proxy in IPVS mode asks of a runtime: a privileged pod on the host's network that loads the module, makes a link
// and balances an address over pods. Kernels without ip_vs skip it; that of scripts/vm-tests has it.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { ownHost } from '../harness/own-host.ts';
import { hostNetwork, TestPod, until } from '../harness/pods.ts';
import { suite } from '../harness/suite.ts';

await ownHost();

const hasModule = existsSync('/proc/net/ip_vs') || spawnSync('/usr/sbin/modinfo', ['ip_vs']).status === 0;
const skip = !hasModule
  ? 'the kernel has no ip_vs'
  : !existsSync('/usr/sbin/ipvsadm') && 'ipvsadm is not installed: apt-get install ipvsadm';

const service = '10.200.0.1';
const link = 'kube-ipvs0';

suite('kube-proxy in IPVS mode', {}, (bench) => {
  test('a privileged pod on the host balances an address over pods', { skip }, async () => {
    const web = await TestPod.run(bench.daemon, 'web');
    await web.start('web', bench.image.nginx);
    const proxy = await TestPod.run(bench.daemon, 'kube-proxy', {
      linux: { securityContext: { privileged: true, ...hostNetwork.linux.securityContext } },
    });
    const places = { '/usr': '/usr', '/lib': '/usr/lib', '/lib64': '/usr/lib64' };
    const container = await proxy.sh('proxy', bench.image.busybox, 'sleep 1000', {
      mounts: Object.entries(places).map(([containerPath, hostPath]) => ({ containerPath, hostPath, readonly: true })),
      linux: { securityContext: { privileged: true, ...hostNetwork.linux.securityContext } },
    });
    const rules = [
      '/bin/modprobe ip_vs_rr',
      'echo 1 >/proc/sys/net/ipv4/vs/conntrack',
      `/usr/sbin/ip link add ${link} type dummy`,
      `/usr/sbin/ip address add ${service}/32 dev ${link}`,
      `/usr/sbin/ipvsadm -A -t ${service}:80 -s rr`,
      `/usr/sbin/ipvsadm -a -t ${service}:80 -r ${await web.ip()}:80 -m`,
    ];
    const said = await bench.daemon.runtime.execSync({
      containerId: container,
      cmd: ['/bin/sh', '-c', `{ ${rules.join(' && ')}; } 2>&1`],
      timeout: 60n,
    });
    assert.deepEqual([said.stdout.toString(), said.exitCode], ['', 0]);
    try {
      const page = await until('the page at the address of the service', () =>
        fetch(`http://${service}/`).then(
          (answer) => answer.text(),
          () => undefined,
        ),
      );
      assert.match(page, /Berth test page/);
      const connections = execFileSync('/usr/sbin/ipvsadm', ['-L', '-n', '-c'], { encoding: 'utf8' });
      assert.match(connections, /10\.200\.0\.1:80 +10\.100\.0\.\d+:80/);
    } finally {
      execFileSync('/usr/sbin/ipvsadm', ['-C']);
      execFileSync('/usr/sbin/ip', ['link', 'delete', link]);
    }
    await proxy.remove();
    await web.remove();
  });
});
