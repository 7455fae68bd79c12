import type * as cri from '../api/runtime/v1/cri.ts';
import { maxLogLine } from '../base/limits.ts';
import type { Deps } from '../lifecycle/deps.ts';
import type { OciRuntime } from '../lifecycle/runtime/handlers.ts';
import { escapesOf } from '../lifecycle/runtime/known-escapes.ts';

/** Whether pods can run here and, if not, why; and what each handler can do. */
export async function nodeStatus(deps: Deps, { verbose }: cri.StatusRequest): Promise<cri.StatusResponse> {
  const [runtime, network, handlers] = await Promise.all([
    deps.ociRuntimes.problem(),
    deps.network.problem(),
    handlerList(deps),
  ]);
  return {
    status: {
      conditions: [
        condition('RuntimeReady', runtime, 'OciRuntimeMissing'),
        condition('NetworkReady', network, 'NetworkPluginNotReady'),
      ],
    },
    info: verbose ? await verboseInfo(deps) : {},
    runtimeHandlers: handlers,
    features: {
      supplementalGroupsPolicy: true,
      mountOptions: true,
      userNamespacesHostNetwork: handlers.some(({ features }) => features?.userNamespaces),
    },
  };
}

const condition = (type: string, problem: string | null, reason: string): cri.RuntimeCondition => ({
  type,
  status: problem === null,
  reason: problem === null ? '' : reason,
  message: problem ?? '',
});

/** Every handler by its name, and the default one under the empty name too. */
function handlerList({ ociRuntimes }: Deps): Promise<cri.RuntimeHandler[]> {
  const named = [['', ociRuntimes.get('')] as const, ...ociRuntimes.all().map((each) => [each.name, each] as const)];
  return Promise.all(named.map(([name, runtime]) => handlerOf(name, runtime)));
}

async function handlerOf(name: string, runtime: OciRuntime): Promise<cri.RuntimeHandler> {
  const { recursiveReadOnly, userNamespaces } = await runtime.featuresByNow();
  return { name, features: { recursiveReadOnlyMounts: recursiveReadOnly, userNamespaces } };
}

/** The networks of pods, in the words of the peers. */
async function cniConfig({ network, settings }: Deps) {
  const { lists, problems } = await network.found();
  const { binDirs, confDir, maxNetworks } = settings.cni;
  const networks = lists.map(({ name, cniVersion, plugins, source }, index) => ({
    Config: {
      Name: name,
      CNIVersion: cniVersion,
      Plugins: plugins.map((plugin) => ({ Network: plugin })),
      Source: source,
    },
    IFName: `eth${index}`,
  }));
  const config = { PluginDirs: binDirs, PluginConfDir: confDir, PluginMaxConfNum: maxNetworks, Prefix: 'eth' };
  return {
    cniconfig: JSON.stringify({ ...config, Networks: networks }),
    lastCNILoadStatus: problems.length === 0 ? 'OK' : problems.join('; '),
  };
}

async function verboseInfo(deps: Deps): Promise<Record<string, string>> {
  const { settings, host, ociRuntimes } = deps;
  const all = await Promise.all(
    ociRuntimes.all().map(async (each) => [each.name, (await each.featuresByNow()).version] as const),
  );
  return {
    config: JSON.stringify({ ...settings, maxContainerLogLineSize: maxLogLine }), // as containerd calls it
    ...(await cniConfig(deps)),
    host: JSON.stringify(host),
    ociRuntimes: JSON.stringify(Object.fromEntries(all)),
    publishedEscapes: JSON.stringify(Object.fromEntries(all.map(([name, version]) => [name, escapesOf(version)]))),
    pauseImage: '"none"',
  };
}
