// The demo: an image with a web server, a pod that runs it, and its page.
import { setTimeout as delay } from 'node:timers/promises';
import type * as cri from '../../src/api/runtime/v1/cri.ts';
import type { Rpc } from '../../src/commands/rpc.ts';
import { demoName } from './demo-image.ts';
import { step } from './step.ts';
import { podLogs } from './traces.ts';

type Client = Rpc<cri.RuntimeServiceClient>;

const metadata = { name: 'hello', namespace: 'default', uid: 'hello', attempt: 0 };
/** As kubelet labels what it makes: crictl shows a pod's name by them. */
const labels = {
  'io.kubernetes.pod.name': metadata.name,
  'io.kubernetes.pod.namespace': metadata.namespace,
  'io.kubernetes.pod.uid': metadata.uid,
};

/** Runs the pod; resolves to its address. */
export async function runDemo(client: Client): Promise<string> {
  const config = { metadata, labels, hostname: metadata.name, logDirectory: podLogs, linux: {} };
  const { podSandboxId } = await step('RunPodSandbox: namespaces, CNI ADD', () => client.runPodSandbox({ config }));
  const container = {
    metadata: { name: 'web', attempt: 0 },
    labels: { ...labels, 'io.kubernetes.container.name': 'web' },
    image: { image: demoName },
    args: ['/bin/httpd', '-f', '-v', '-p', '80', '-h', '/www'],
    logPath: 'web.log',
  };
  const { containerId } = await step('CreateContainer: layer, root, bundle', () =>
    client.createContainer({ podSandboxId, config: container, sandboxConfig: config }),
  );
  await step('StartContainer: OCI runtime', () => client.startContainer({ containerId }));
  const { status } = await client.podSandboxStatus({ podSandboxId });
  return status?.network?.ip ?? '';
}

/** The server listens a moment after its process started. */
export async function fetchPage(ip: string): Promise<string> {
  for (let tries = 100; ; tries--) {
    try {
      return await (await fetch(`http://${ip}/`)).text();
    } catch (error) {
      if (tries === 0) throw error;
      await delay(10);
    }
  }
}
