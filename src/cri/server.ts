import { chmodSync, lstatSync, realpathSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { logVerbosity, Server, ServerCredentials, setLogVerbosity } from '@grpc/grpc-js';
import { AdminService } from '../api/berth/v1/admin.ts';
import { HealthService } from '../api/grpc/health/v1/health.ts';
import { ImageServiceService, RuntimeServiceService } from '../api/runtime/v1/cri.ts';
import { Fault, invalidArgument, isErrno } from '../base/fault.ts';
import type { PodId } from '../model/ids.ts';
import { StreamingServer } from '../streaming/index.ts';
import type { Tracing } from '../tracing/index.ts';
import { type AdminDeps, adminHandlers } from './admin-service.ts';
import { namesOf } from './call-names.ts';
import type { CallStats } from './call-stats.ts';
import { type Call, type Handlers, serve } from './calls.ts';
import { addContainerdServices } from './containerd-service.ts';
import { ContainerEvents, sinceHeader } from './events.ts';
import { healthCalls } from './health-service.ts';
import { imageHandlers } from './image-service.ts';
import { takingBytes } from './list-bytes.ts';
import { metricsHandlers, metricsStreams } from './metrics-service.ts';
import { runtimeHandlers } from './runtime-service.ts';
import { type StatsDeps, statsHandlers, statsStreams } from './stats-service.ts';
import { imageStreams, listStreams } from './stream-lists.ts';
import { streamingHandlers } from './streaming-service.ts';

/** As kubelet's own client: the largest request or answer. */
const maxMessage = 16 * 1024 * 1024;
const maxAnswer = 64 * 1024 * 1024;

export type CriServer = {
  /** Takes no new calls, waits for those in flight at most `ms` milliseconds, then cuts them off. */
  close(ms: number): Promise<void>;
};

type ServerDeps = StatsDeps & AdminDeps & { readonly callStats: CallStats; readonly tracing: Tracing };

/**
 * Serves CRI on a unix socket, mode 0660, and on that of `compat` as well.
 * @throws Fault FailedPrecondition if another daemon answers at one of them.
 */
export async function listen(deps: ServerDeps): Promise<CriServer> {
  setLogVerbosity(logVerbosity.NONE); // it writes lines of its own to standard error, which is our log
  const { socket, compat } = deps.settings;
  const server = new Server({
    'grpc.max_receive_message_length': maxMessage,
    'grpc.max_send_message_length': maxAnswer,
  });
  const streaming = await StreamingServer.open(deps.settings.streaming.address, (kind) =>
    deps.callStats.streamBegan(kind),
  );
  const calls = waitingForPods(deps, runtimeCalls(deps, streaming));
  const streams = runtimeStreams(deps, new ContainerEvents(deps));
  const watched = {
    traces: deps.traces,
    stats: deps.callStats,
    names: (method: string, request: unknown) => namesOf(method, request, deps),
    tracing: deps.tracing,
  };
  server.addService(takingBytes(RuntimeServiceService), serve(RuntimeServiceService, calls, streams, watched));
  server.addService(
    takingBytes(ImageServiceService),
    serve(ImageServiceService, imageHandlers(deps), imageStreams(deps), watched),
  );
  server.addService(AdminService, serve(AdminService, adminHandlers(deps)));
  if (compat.containerdSocket !== '') addContainerdServices(server, deps);
  const ending = new AbortController();
  const health = healthCalls(serviceNames, ending.signal);
  server.addService(HealthService, serve(HealthService, health.calls, health.streams));
  const sockets = distinct([
    { path: socket, setting: 'socket' },
    { path: compat.containerdSocket, setting: 'compat.containerd_socket' },
  ]);
  for (const each of sockets) await removeStaleSocket(each); // before one is bound: a start that fails served nobody
  for (const each of sockets) await bind(server, each);
  return {
    close: async (ms) => {
      ending.abort();
      await close(server, ms);
      streaming.close();
    },
  };
}

/** As a client of their health spells them. */
const serviceNames = ['runtime.v1.RuntimeService', 'runtime.v1.ImageService', 'berth.v1.Admin'];

/** A call names what it is about unmistakably. One on a pod that is still being mended waits for it, and for nothing else. */
function waitingForPods(deps: StatsDeps, handlers: Handlers): Handlers {
  const wait = async (request: NamesPod, { signal }: Call) => {
    refuseAmbiguous(deps, request);
    const podId = deps.mending.size === 0 ? undefined : podNamedBy(deps, request);
    if (podId !== undefined) await deps.mending.settled(podId, signal);
  };
  const waiting = Object.entries(handlers).map(([name, handler]) => [
    name,
    async (request: NamesPod, call: Call) => {
      await wait(request, call);
      return handler(request, call);
    },
  ]);
  return Object.fromEntries(waiting);
}

type NamesPod = { readonly podSandboxId?: unknown; readonly containerId?: unknown };

/** Taken for unknown, what begins several ids would be stopped, or removed, without a word and without being so. */
function refuseAmbiguous({ pods, containers }: StatsDeps, { podSandboxId, containerId }: NamesPod): void {
  const named = [
    { field: 'pod_sandbox_id', value: podSandboxId, records: pods },
    { field: 'container_id', value: containerId, records: containers },
  ];
  for (const { field, value, records } of named) {
    if (typeof value !== 'string' || !records.isAmbiguous(value)) continue;
    throw invalidArgument(`${field} = ${JSON.stringify(value)} begins several ids: give more of the one that is meant`);
  }
}

function podNamedBy({ pods, containers }: StatsDeps, { podSandboxId, containerId }: NamesPod): PodId | undefined {
  if (typeof podSandboxId === 'string') return pods.find(podSandboxId)?.id;
  return typeof containerId === 'string' ? containers.find(containerId)?.podId : undefined;
}

const runtimeCalls = (deps: StatsDeps, streaming: StreamingServer) => ({
  ...runtimeHandlers(deps),
  ...statsHandlers(deps),
  ...metricsHandlers(deps),
  ...streamingHandlers(deps, streaming),
});

const runtimeStreams = (deps: StatsDeps, events: ContainerEvents) => ({
  ...listStreams(deps),
  ...statsStreams(deps),
  ...metricsStreams(deps),
  getContainerEvents: (_: unknown, call: Call) => events.subscribe(call, since(call)),
});

/** The names of the CRI calls that are served, as the generated services spell them. The tables use no dependency. */
export function servedCalls(): string[] {
  const none = {} as never;
  const tables = [runtimeCalls(none, none), runtimeStreams(none, none), imageHandlers(none), imageStreams(none)];
  return tables.flatMap((table) => Object.keys(table));
}

/** @throws Fault InvalidArgument for a header that is no number. */
function since({ metadata }: Call): bigint | undefined {
  const [text] = metadata.get(sinceHeader);
  if (text === undefined) return undefined;
  if (!/^\d{1,19}$/.test(String(text)))
    throw invalidArgument(`${sinceHeader}: ${JSON.stringify(text)} is no time in nanoseconds`);
  return BigInt(String(text));
}

async function bind(server: Server, { path: socket, setting }: SocketSetting): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const bound = (error: Error | null) => (error ? reject(cannotListen(error)) : resolve());
    const cannotListen = ({ message }: Error) => {
      const [, why = message] = /\[(.*)\]/.exec(message) ?? []; // gRPC's own words are of addresses
      return new Fault('FailedPrecondition', `${setting}: ${why}. Mend that, or set another one`);
    };
    server.bindAsync(`unix://${socket}`, ServerCredentials.createInsecure(), bound);
  });
  chmodSync(socket, 0o660);
}

type SocketSetting = { readonly path: string; readonly setting: string };

/** Those that are set, and one of two that are the same, whatever links lead to its folder. */
function distinct(sockets: readonly SocketSetting[]): SocketSetting[] {
  const place = ({ path }: SocketSetting) => join(realpathSync(dirname(path)), basename(path));
  const places = sockets.filter(({ path }) => path !== '').map((each) => [place(each), each] as const);
  return [...new Map(places.toReversed()).values()].toReversed();
}

/** A socket that nobody listens on is what a crash left. Whatever else is there is not ours to remove. */
async function removeStaleSocket({ path: socket, setting }: SocketSetting): Promise<void> {
  const found = lstatSync(socket, { throwIfNoEntry: false });
  if (!found) return;
  if (!found.isSocket()) {
    throw new Fault('FailedPrecondition', `${socket} exists and is no socket: remove it or set another ${setting}`);
  }
  if (await answers(socket)) {
    throw new Fault('FailedPrecondition', `Another daemon serves ${socket}: stop it or set another ${setting}`);
  }
  rmSync(socket, { force: true });
}

/** connect(2), unix(7): ECONNREFUSED is nobody; EAGAIN, a full backlog, and a socket of another type are somebody. */
async function answers(socket: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const probe = connect(socket, () => resolve(true));
  probe.on('error', (error) => resolve(!isErrno(error, 'ECONNREFUSED', 'ENOENT')));
  const alive = await promise;
  probe.destroy();
  return alive;
}

async function close(server: Server, ms: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  server.tryShutdown(() => resolve());
  await promise;
  clearTimeout(timer);
  server.forceShutdown();
}
