#!/usr/bin/env node
import './commands/no-debugger.ts'; // before all the others
import { parseArgs } from 'node:util';
import { messageOf } from './base/fault.ts';
import { loadSettings, toToml } from './base/settings.ts';
import { explainReference } from './commands/explain.ts';
import { collectGarbage } from './commands/gc.ts';
import { loadImages } from './commands/load.ts';
import { showPulls } from './commands/pulls.ts';
import { saveImageTo } from './commands/save.ts';
import { serveForEver } from './commands/serve.ts';
import { tracePod } from './commands/trace.ts';
import { berthVersion } from './cri/runtime-service.ts';

const usage = `berth: a CRI container runtime for Kubernetes nodes

  berth serve               run the daemon
  berth load FILE           make the images of an OCI layout or docker-archive file available
  berth save IMAGE FILE     write an image to a file: an OCI layout in a tar, which docker load reads too
  berth pulls               pulls under way: phase, bytes, rate
  berth explain REF         the hosts that a pull of REF would ask, in order, and what each is shown
  berth trace POD           where the time of the pod's latest calls went, step by step; --svg FILE: as a picture
  berth gc [--dry-run]      remove layers that nothing needs, or say which those are
  berth config              print the configuration in force, as TOML
  berth version             print the version

  --config FILE             TOML configuration (default /etc/berth/config.toml, with FILE.d/*.toml over it)
  --help                    this text
`;

/** Returns the exit code; `serve` returns when the daemon was told to end. */
async function main(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      config: { type: 'string', default: '/etc/berth/config.toml' },
      'dry-run': { type: 'boolean', default: false },
      svg: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  const [command = '', ...rest] = positionals;
  const settings = () => loadSettings(values.config);
  const commands: Record<string, () => unknown> = {
    serve: () => serveForEver(settings()),
    load: () => loadImages(settings().socket, rest),
    save: () => saveImageTo(settings().socket, rest),
    pulls: () => showPulls(settings().socket),
    explain: () => explainReference(settings().images.certsDir, rest),
    trace: () => tracePod(settings().socket, rest, values.svg),
    gc: () => collectGarbage(settings().socket, values['dry-run'] ?? false),
    config: () => process.stdout.write(`${toToml(settings())}\n`),
    version: () => process.stdout.write(`berth ${berthVersion}\n`),
  };
  const run = Object.hasOwn(commands, command) ? commands[command] : undefined;
  if (values.help || !run) {
    process[values.help ? 'stdout' : 'stderr'].write(usage);
    return values.help ? 0 : 2;
  }
  await run();
  return 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`berth: ${messageOf(error)}\n`);
  process.exit(1); // a daemon that cannot start may have connections to shims, threads and timers already
}
