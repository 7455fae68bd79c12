import type * as cri from '../api/runtime/v1/cri.ts';
import { invalidArgument } from '../base/fault.ts';
import type { Deps } from '../lifecycle/deps.ts';
import { attach } from '../lifecycle/exec/attach.ts';

import { execStream } from '../lifecycle/exec/stream.ts';
import { portForward } from '../lifecycle/port-forward.ts';
import { readyPod, runningContainer } from '../lifecycle/ready.ts';
import type { StreamingServer } from '../streaming/index.ts';
import type { Handlers } from './calls.ts';
import { id } from './check.ts';
import { texts } from './decode-common.ts';

const maxPorts = 1024;

type Wanted = { readonly stdin: boolean; readonly stdout: boolean; readonly stderr: boolean; readonly tty: boolean };

/** The calls that answer with a URL. What they name must be there now, and again when a client connects. */
export function streamingHandlers(deps: Deps, server: StreamingServer) {
  return {
    exec: (request: cri.ExecRequest): cri.ExecResponse => {
      const { id: containerId } = runningContainer(deps, id('container_id', request.containerId));
      const args = texts('cmd', request.cmd);
      if (!args[0]) throw invalidArgument('cmd is empty');
      const streams = wanted(request);
      const command = { args, tty: streams.tty };
      return { url: server.url({ kind: 'exec', ...streams, run: (io) => execStream(deps, containerId, command, io) }) };
    },
    attach: (request: cri.AttachRequest): cri.AttachResponse => {
      const { id: containerId } = runningContainer(deps, id('container_id', request.containerId));
      const streams = wanted(request); // whether there is a terminal is the container's matter, as with the peers
      return { url: server.url({ kind: 'attach', ...streams, run: (io) => attach(deps, containerId, io) }) };
    },
    portForward: (request: cri.PortForwardRequest): cri.PortForwardResponse => {
      const pod = readyPod(deps, id('pod_sandbox_id', request.podSandboxId));
      const ports = checkedPorts(request.port);
      return { url: server.url({ kind: 'portforward', ports, connect: (port) => portForward(deps, pod.id, port) }) };
    },
  } satisfies Handlers;
}

/** As the peers: a terminal has one output. */
function wanted({ stdin, stdout, stderr, tty }: Wanted): Wanted {
  if (tty && stderr) throw invalidArgument('tty and stderr exclude each other: a terminal has one output');
  if (!stdin && !stdout && !stderr) throw invalidArgument('None of stdin, stdout and stderr is asked for');
  return { stdin, stdout, stderr, tty };
}

function checkedPorts(ports: readonly number[]): readonly number[] {
  if (ports.length > maxPorts)
    throw invalidArgument(`port has ${ports.length} entries, at most ${maxPorts} are allowed`);
  for (const port of ports) {
    if (port < 1 || port > 65_535) throw invalidArgument(`port = ${port} must be 1 to 65535`);
  }
  return ports;
}
