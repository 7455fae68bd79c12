// The files of an installed Berth, as they lie below /.
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { defaults } from '../../src/base/settings.ts';
import { toToml } from '../../src/base/settings-toml.ts';
import { commands } from '../../src/commands/index.ts';
import { berthVersion } from '../../src/cri/runtime-service.ts';
import { makeBundle } from '../bundle.ts';
import { copyrightFile } from './bill.ts';
import { bashCompletion, fishCompletion, zshCompletion } from './completions.ts';
import { debianChangelog } from './debian-changelog.ts';
import { commandsPage, settingsPage } from './manual.ts';
import type { Target } from './target.ts';

const library = 'usr/lib/berth';
/** Where a checkout's own unit has the program. */
const byHand = '/usr/local/lib/berth/';

/** Relative to /; Debian keeps what an operator changed in it. */
export const configFile = 'etc/berth/config.toml';

/** The defaults as comments: a default that a later version has otherwise reaches a node whose operator said nothing. */
export const configText = (): string =>
  `# What is set here goes before the defaults, which are the lines with no blank behind their #.\n\n${toToml(defaults).replaceAll(/^(?=\w+ = )/gm, '#')}`;

/** `epoch`: seconds, SOURCE_DATE_EPOCH. */
export function installTree(root: string, tree: string, epoch: number, target: Target): void {
  const date = new Date(epoch * 1000).toISOString().slice(0, 10);
  const text = (path: string) => readFileSync(join(root, path), 'utf8');
  makeBundle(join(tree, library), target);
  copyFileSync(target.node, join(tree, library, 'node'));
  const own = ['addon.node', 'berth-shim', 'berth-look', 'berth-environment'].map((name) => join(tree, library, name));
  execFileSync(target.strip, ['--strip-unneeded', ...own]);
  for (const program of ['node', 'berth-shim', 'berth-look', 'berth-environment'])
    chmodSync(join(tree, library, program), 0o755);
  for (const name of ['main.cjs', 'berth.cjs', 'berth.v8', 'layer-worker.cjs', 'tracing.cjs', 'addon.node'])
    chmodSync(join(tree, library, name), 0o644);
  const files: Readonly<Record<string, string | Buffer>> = {
    'usr/lib/systemd/system/berth.service': text('packaging/berth.service')
      .replaceAll(byHand, `/${library}/`)
      .replace(/^# Berth under systemd\..*$/m, '# Berth under systemd.'),
    [configFile]: configText(),
    'usr/share/bash-completion/completions/berth': bashCompletion(commands),
    'usr/share/zsh/vendor-completions/_berth': zshCompletion(commands),
    'usr/share/fish/vendor_completions.d/berth.fish': fishCompletion(commands),
    'usr/share/man/man1/berth.1.gz': gzipSync(commandsPage(commands, date), { level: 9 }),
    'usr/share/man/man5/berth-config.5.gz': gzipSync(settingsPage(date), { level: 9 }),
    'usr/share/berth/alerts.yaml': text('packaging/prometheus/alerts.yaml'),
    'usr/share/berth/grafana.json': text('packaging/prometheus/grafana.json'),
    'usr/share/doc/berth/copyright': copyrightFile(root, target),
    'usr/share/doc/berth/CHANGELOG.md.gz': gzipSync(text('CHANGELOG.md'), { level: 9 }),
    'usr/share/doc/berth/changelog.gz': gzipSync(debianChangelog(berthVersion, epoch), { level: 9 }),
    'usr/share/lintian/overrides/berth': text('packaging/lintian/overrides'),
  };
  for (const [path, content] of Object.entries(files)) write(join(tree, path), content, 0o644);
  write(join(tree, 'usr/bin/berth'), `#!/bin/sh\nexec /${library}/node /${library}/main.cjs "$@"\n`, 0o755);
  for (const folder of ['', ...globSync('**/', { cwd: tree })]) chmodSync(join(tree, folder), 0o755);
}

/** With the mode that was said, whatever the umask is. */
export function write(path: string, content: string | Buffer, mode: number): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  chmodSync(path, mode);
}
