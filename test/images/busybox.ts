// busybox, built from Debian's source package: static, and with applets found through PATH like other programs. Debian's own
// static build runs them inside the shell, which hides from the tests what a container's root holds.
import {
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { isErrno } from '../../src/base/fault.ts';
import { cacheFolder } from './paths.ts';
import { program, run } from './run.ts';

/** The path of the built busybox; takes about 40 s and the network's package sources the first time. */
export async function ensureBusybox(): Promise<string> {
  const built = cacheFolder('busybox');
  const version = readdirSync(built)
    .sort()
    .find((name) => existsSync(join(built, name, 'busybox')));
  if (version) return join(built, version, 'busybox');
  const work = mkdtempSync(join(cacheFolder('work'), 'busybox-'));
  try {
    return await buildBusybox(work, built);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

async function buildBusybox(work: string, built: string): Promise<string> {
  const source = await fetchSource(work);
  await configure(source.folder);
  await run(program('make', 'make'), [`-j${availableParallelism()}`, 'busybox'], { cwd: source.folder });
  const target = join(built, source.version);
  mkdirSync(target, { recursive: true });
  return firstOf(join(source.folder, 'busybox'), join(target, 'busybox'));
}

/** Two builds differ, as each has its time in it: whoever comes second takes the first one, which images were made of by now. */
function firstOf(mine: string, target: string): string {
  const copy = `${target}.${process.pid}.tmp`;
  cpSync(mine, copy);
  try {
    linkSync(copy, target);
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error;
  } finally {
    rmSync(copy);
  }
  return target;
}

/** Debian's source package by apt, with lists of its own: the host's configuration is read and not touched. */
async function fetchSource(work: string): Promise<{ folder: string; version: string }> {
  const lists = join(work, 'lists', 'partial');
  const archives = join(work, 'cache', 'archives', 'partial');
  for (const folder of [lists, archives]) mkdirSync(folder, { recursive: true });
  writeFileSync(join(work, 'source.sources'), sourceStanzas());
  const settings = [
    `Dir::Etc::SourceList=${join(work, 'source.sources')}`,
    'Dir::Etc::SourceParts=/dev/null',
    `Dir::State::Lists=${join(work, 'lists')}`,
    `Dir::Cache=${join(work, 'cache')}`,
    'APT::Sandbox::User=root',
  ].flatMap((setting) => ['-o', setting]);
  const aptGet = program('apt-get', 'apt');
  await run(aptGet, [...settings, 'update']);
  await run(aptGet, [...settings, 'source', '--download-only', 'busybox'], { cwd: work });
  const description = readdirSync(work).find((name) => name.endsWith('.dsc'));
  if (!description) throw new Error('apt-get source busybox downloaded no .dsc');
  await run(program('dpkg-source', 'dpkg-dev'), ['--no-check', '-x', description, 'busybox'], { cwd: work });
  return { folder: join(work, 'busybox'), version: description.replace(/^busybox_|\.dsc$/g, '') };
}

/** The host's own Debian sources as `deb-src`: main, of the release that runs here. */
function sourceStanzas(): string {
  const release = /^VERSION_CODENAME=(.*)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? '';
  const parts = '/etc/apt/sources.list.d';
  const files = [
    '/etc/apt/sources.list',
    ...readdirSync(parts)
      .filter((name) => /\.(list|sources)$/.test(name))
      .map((name) => join(parts, name)),
  ];
  const stanzas = files.filter((file) => existsSync(file)).flatMap((file) => stanzasOf(file));
  const wanted = stanzas.filter(({ suites, components }) => suites.includes(release) && components.includes('main'));
  if (wanted.length === 0) throw new Error(`No package source of ${release || 'this release'} in ${files.join(', ')}`);
  return wanted
    .map(({ uri, signedBy }) => {
      const key = signedBy === '' ? '' : `Signed-By: ${signedBy}\n`;
      return `Types: deb-src\nURIs: ${uri}\nSuites: ${release}\nComponents: main\n${key}`;
    })
    .join('\n');
}

type Stanza = { uri: string; suites: string[]; components: string[]; signedBy: string };

/** Both forms of sources.list(5): one line each, and fields. */
function stanzasOf(file: string): Stanza[] {
  const text = readFileSync(file, 'utf8').replace(/^#.*\n/gm, '');
  if (file.endsWith('.list')) {
    return text.split('\n').flatMap((line) => {
      const [, options = '', uri = '', suite = '', components = ''] =
        /^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+(.*)$/.exec(line) ?? [];
      const signedBy = /signed-by=(\S+)/.exec(options)?.[1] ?? '';
      return uri === '' ? [] : [{ uri, suites: [suite], components: components.split(/\s+/), signedBy }];
    });
  }
  return text.split(/\n\n+/).map((stanza) => {
    const field = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, 'mi').exec(stanza)?.[1]?.trim() ?? '';
    const words = (name: string) => field(name).split(/\s+/);
    return {
      uri: words('URIs')[0]!,
      suites: words('Suites'),
      components: words('Components'),
      signedBy: field('Signed-By'),
    };
  });
}

// tc does not compile against the headers of newer kernels.
const changed: Record<string, string> = {
  CONFIG_STATIC: 'CONFIG_STATIC=y',
  CONFIG_FEATURE_PREFER_APPLETS: '# CONFIG_FEATURE_PREFER_APPLETS is not set',
  CONFIG_FEATURE_SH_STANDALONE: '# CONFIG_FEATURE_SH_STANDALONE is not set',
  CONFIG_TC: '# CONFIG_TC is not set',
};

async function configure(folder: string): Promise<void> {
  const make = program('make', 'make');
  await run(make, ['defconfig'], { cwd: folder });
  const path = join(folder, '.config');
  const lines = readFileSync(path, 'utf8').split('\n');
  const name = (line: string) => /^(?:# )?(CONFIG_\w+)/.exec(line)?.[1] ?? '';
  writeFileSync(path, lines.map((line) => changed[name(line)] ?? line).join('\n'));
  await run(make, ['silentoldconfig'], { cwd: folder });
}

/** The names that the built busybox answers to. */
export const appletsOf = async (busybox: string): Promise<string[]> =>
  (await run(busybox, ['--list'])).split('\n').filter((name) => name !== '');
