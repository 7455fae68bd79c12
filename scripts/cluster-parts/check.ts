// What a user does first with a cluster: `scripts/cluster test`, in the cluster's namespaces.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { until } from '../../test/harness/pods.ts';
import { run } from '../../test/images/run.ts';
import { ensureProgram } from '../../test/kubernetes/index.ts';
import { api, type Facts, factsFile, kubeconfig } from './place.ts';

const { registry } = JSON.parse(readFileSync(factsFile, 'utf8')) as Facts;
const program = await ensureProgram('kubectl');
const kubectl = (...args: string[]): Promise<string> => run(program, [`--kubeconfig=${kubeconfig}`, ...args]);
const image = (name: string) => `--image=${registry}/e2e-test-images/${name}`;
const podsOfWeb = async (): Promise<string[]> =>
  (await kubectl('get', 'pods', '-l', 'app=web', '-o', 'name', '--field-selector=status.phase=Running'))
    .split('\n')
    .filter(Boolean);
const ready = () => kubectl('rollout', 'status', 'deployment/web', '--timeout=120s');
let address = '';

before(async () => {
  await kubectl('create', 'deployment', 'web', image('nginx:1.14-2'), '--replicas=3');
  await kubectl('expose', 'deployment', 'web', '--port=8080', '--target-port=80');
  await kubectl('run', 'client', image('busybox:1.29-2'), '--command', '--', 'sleep', '100000');
  await ready();
  await kubectl('wait', '--for=condition=Ready', 'pod/client', '--timeout=120s');
  address = await kubectl('get', 'service', 'web', '-o', 'jsonpath={.spec.clusterIP}');
});
after(() => kubectl('delete', 'deployment/web', 'service/web', 'pod/client', '--now'));

const page = () => kubectl('exec', 'client', '--', 'wget', '-q', '-T', '5', '-O', '-', `http://${address}:8080/`);

test('a deployment of three, and a service through kube-proxy that reaches each of them', async () => {
  const pods = await podsOfWeb();
  assert.equal(pods.length, 3);
  await until('the rules of the service', () =>
    page().then(
      (text) => text.includes('Berth test page'),
      () => false,
    ),
  );
  await until('a request to each', async () => {
    await page();
    const logs = await Promise.all(pods.map((pod) => kubectl('logs', pod)));
    return logs.every((log) => log.includes('GET / '));
  });
});

test('exec: output and exit codes', async () => {
  const [pod = ''] = await podsOfWeb();
  assert.equal(await kubectl('exec', pod, '--', 'hostname'), `${pod.replace('pod/', '')}\n`);
  await assert.rejects(kubectl('exec', pod, '--', 'sh', '-c', 'exit 7'), /exit code 7/);
});

test('a pod that is deleted is gone, and another one takes its place', async () => {
  const [gone = ''] = await podsOfWeb();
  await kubectl('delete', gone, '--timeout=60s');
  await ready();
  const now = await podsOfWeb();
  assert.equal(now.length, 3);
  assert.ok(!now.includes(gone));
  assert.match(await page(), /Berth test page/);
});

test('a pod reaches the API server by its service, and has an account there', async () => {
  const inClient = (script: string) => kubectl('exec', 'client', '--', 'sh', '-c', script);
  await inClient('nc -w 5 $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT </dev/null');
  const token = await inClient('cat /var/run/secrets/kubernetes.io/serviceaccount/token');
  const whoami = await run(program, [
    `--server=${api}`,
    '--insecure-skip-tls-verify',
    `--token=${token}`,
    'auth',
    'whoami',
  ]);
  assert.match(whoami, /system:serviceaccount:default:default/);
});
