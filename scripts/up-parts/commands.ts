// What an operator types after scripts/up, in every user's path: berth and crictl, and where crictl finds Berth.
import { existsSync, symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { messageOf } from '../../src/base/fault.ts';
import { nodeEnvironment, nodeFlags } from '../../src/commands/node-flags.ts';
import { ensureCrictl } from '../../test/conformance/go.ts';

const commandFolder = '/usr/local/bin';
const berthCommand = join(commandFolder, 'berth');
const crictlCommand = join(commandFolder, 'crictl');
const crictlConfig = '/etc/crictl.yaml';
/** What is built here serves other checkouts too, and stays. */
const builtFolder = '/var/cache/berth';

/** Files that are to be made, by their paths. None of them is there yet. */
export type Commands = Readonly<Record<string, { readonly linkTo: string } | { readonly text: string }>>;

/**
 * The commands that this host lacks; for crictl it may have to be built, which fails where there is no Go, or nothing to
 * load its parts from: `tell` is then told how to get it.
 */
export async function missingCommands(main: string, socket: string, tell: (line: string) => void): Promise<Commands> {
  const crictl = isThere('crictl') ? {} : await builtCrictl(tell);
  const endpoint = `unix://${socket}`;
  const wanted: Commands = {
    [berthCommand]: { text: berthScript(main) },
    ...crictl,
    [crictlConfig]: { text: `runtime-endpoint: ${endpoint}\nimage-endpoint: ${endpoint}\n` },
  };
  return Object.fromEntries(Object.entries(wanted).filter(([path]) => !existsSync(path)));
}

export function putCommands(commands: Commands): void {
  for (const [path, each] of Object.entries(commands)) {
    if ('linkTo' in each) symlinkSync(each.linkTo, path);
    else writeFileSync(path, each.text, { mode: path.startsWith(commandFolder) ? 0o755 : 0o644 });
  }
}

async function builtCrictl(tell: (line: string) => void): Promise<Commands> {
  const slow = setTimeout(() => tell('crictl is built, once: a minute or two'), 2000);
  try {
    return { [crictlCommand]: { linkTo: await ensureCrictl(builtFolder) } };
  } catch (error) {
    const why = messageOf(error).trimEnd().split('\n').at(-1);
    tell(`crictl is left out: ${why}; then scripts/up --down and scripts/up again`);
    return {};
  } finally {
    clearTimeout(slow);
  }
}

const isThere = (command: string): boolean =>
  (process.env.PATH ?? '').split(delimiter).some((folder) => existsSync(join(folder, command)));

function berthScript(main: string): string {
  const environment = Object.entries(nodeEnvironment).map(([name, value]) => `${name}=${value}`);
  const words = ['exec', 'env', ...environment, process.execPath, ...nodeFlags, main];
  return `#!/bin/sh\n${words.map(quoted).join(' ')} "$@"\n`;
}

const quoted = (word: string): string => (/^[\w./=-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
