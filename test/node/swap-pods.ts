// The pods of a node whose runtime is swapped below them.
export const podNames = ['plain', 'staged', 'on-host', 'probed'] as const;
/** That run in them, at last. */
export const containerCount = 6;

const forever = 'trap "exit 0" TERM; sleep 1000 & wait';
const onData = { volumeMounts: [{ name: 'data', mountPath: '/data' }] };
const withData = { volumes: [{ name: 'data', emptyDir: {} }], terminationGracePeriodSeconds: 1 };

/** The last line of its log in its n-th life. */
export const wordsOf = (name: string, life: number): string => `${name} began ${life}\n`;

/** Pods as kubelet takes them (core/v1's `spec`), by their names. */
export function podSpecs(image: string): Record<(typeof podNames)[number], object> {
  const sh = (name: string, script: string, more: object = {}) => ({
    name,
    image,
    command: ['/bin/sh', '-c', script],
    ...more,
  });
  /** Each counts its lives in a volume, and says so in its log. */
  const main = (name: string, more: object = {}) =>
    sh('main', `echo life >>/data/lives; echo ${name} began $(wc -l </data/lives); ${forever}`, { ...onData, ...more });
  const sidecar = {
    ...onData,
    restartPolicy: 'Always',
    startupProbe: { exec: { command: ['/bin/grep', 'two', '/data/order'] }, periodSeconds: 1 },
  };
  const serving = { readinessProbe: { httpGet: { path: '/group', port: 18_080 }, periodSeconds: 1 } };
  const probed = {
    ports: [{ containerPort: 80, hostPort: 18_081 }],
    readinessProbe: { exec: { command: ['/bin/test', '-s', '/data/lives'] }, periodSeconds: 1 },
    livenessProbe: { exec: { command: ['/bin/true'] }, periodSeconds: 1 },
  };
  return {
    plain: { ...withData, containers: [main('plain')] },
    staged: {
      ...withData,
      initContainers: [
        sh('first', 'echo one >/data/order', onData),
        sh('sidecar', `echo two >>/data/order; ${forever}`, sidecar),
      ],
      containers: [main('staged')],
    },
    'on-host': {
      ...withData,
      hostNetwork: true,
      containers: [main('on-host'), sh('web', 'trap "exit 0" TERM; httpd -f -p 18080 -h /etc & wait', serving)],
    },
    probed: { ...withData, containers: [main('probed', probed)] },
  };
}
