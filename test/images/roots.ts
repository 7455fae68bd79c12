// What stands in the layers of the test images.
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { appletsOf, ensureBusybox } from './busybox.ts';
import { type Entry, type Layer, makeLayer } from './layer.ts';
import { cacheFolder } from './paths.ts';
import { program, run } from './run.ts';

const directory = (name: string, mode = 0o755): Entry => ({ name, type: 'directory', mode });
const file = (name: string, data: string | Buffer, mode = 0o644): Entry => ({ name, data, mode });

const users = [
  ['root', 0, 0, '/root', '/bin/sh'],
  ['daemon', 1, 1, '/usr/sbin', '/bin/false'],
  ['mail', 8, 8, '/var/spool/mail', '/bin/false'],
  ['www-data', 33, 33, '/var/www', '/bin/false'],
  ['nobody', 65534, 65534, '/home', '/bin/false'],
] as const;
const groups = [
  ['root', 0],
  ['daemon', 1],
  ['mail', 8],
  ['www-data', 33],
  ['users', 100],
  ['nobody', 65534],
] as const;

const passwd = users
  .map(([name, uid, gid, home, shell]) => `${name}:x:${uid}:${gid}:${name}:${home}:${shell}\n`)
  .join('');
const group = groups.map(([name, gid]) => `${name}:x:${gid}:\n`).join('');

/** A root with busybox under all of its names, as hard links. */
export async function busyboxLayer(): Promise<Layer> {
  const busybox = await ensureBusybox();
  const applets = (await appletsOf(busybox)).filter((name) => name !== 'busybox').sort();
  return makeLayer([
    ...['bin', 'dev', 'etc', 'home', 'proc', 'run', 'sys', 'usr', 'usr/bin', 'usr/sbin', 'var', 'var/www'].map((name) =>
      directory(name),
    ),
    directory('root', 0o700),
    directory('tmp', 0o1777),
    directory('var/tmp', 0o1777),
    { name: 'var/run', type: 'symlink', link: '../run', mode: 0o777 },
    file('bin/busybox', readFileSync(busybox), 0o755),
    ...applets.map((name): Entry => ({ name: `bin/${name}`, type: 'link', link: 'bin/busybox', mode: 0o755 })),
    { name: 'usr/bin/env', type: 'link', link: 'bin/busybox', mode: 0o755 },
    file('etc/passwd', passwd),
    file('etc/group', group),
  ]);
}

/** A user with a group of the image's own, which its groups must come from. */
export const predefinedGroupLayer = (): Promise<Layer> =>
  makeLayer([
    file('etc/passwd', `${passwd}default-user:x:1000:1000::/home/default-user:/bin/sh\n`),
    file('etc/group', `${group}default-user:x:1000:\ngroup-defined-in-image:x:50000:default-user\n`),
    { name: 'home/default-user', type: 'directory', uid: 1000, gid: 1000 },
  ]);

/** A program of the host, and what it is linked to. */
async function filesOf(path: string): Promise<string[]> {
  return [path, ...librariesIn(await run(program('ldd', 'libc-bin'), [path]))];
}

const nginxFiles = () => filesOf(program('nginx', 'nginx-light'));

function entriesOf(files: readonly string[]): Entry[] {
  return [
    ...parentsOf(files).map((name) => directory(name)),
    ...files.map((path) => file(path.slice(1), readFileSync(realpathSync(path)), 0o755)),
  ];
}

/** Programs of the host at their paths, with what they are linked to, and more names for some. */
export async function hostProgramsLayer(
  paths: readonly string[],
  links: Readonly<Record<string, string>>,
): Promise<Layer> {
  const files = new Set((await Promise.all(paths.map(filesOf))).flat());
  return makeLayer([
    ...entriesOf([...files].sort()),
    ...Object.entries(links).map(([name, link]): Entry => ({ name, type: 'symlink', link, mode: 0o777 })),
  ]);
}

/** Files of the host that images are made of: an upgrade of its packages makes other images. */
export async function filesOfHost(): Promise<string[]> {
  const libc = await run(program('cc', 'build-essential'), ['-print-file-name=libc.a']);
  return [...(await nginxFiles()), libc.trim()].map((path) => realpathSync(path));
}

/** Debian's nginx with what it is linked to, logging to the container's output. */
export async function nginxLayer(port: number): Promise<Layer> {
  const files = await nginxFiles();
  const temporary = ['body', 'proxy', 'fastcgi', 'scgi', 'uwsgi'].map((name) =>
    directory(`var/lib/nginx/${name}`, 0o700),
  );
  return makeLayer([
    ...entriesOf(files),
    ...['etc/nginx', 'var/lib', 'var/lib/nginx', 'var/log', 'var/log/nginx', 'usr/share', 'usr/share/nginx'].map(
      (name) => directory(name),
    ),
    ...temporary,
    directory('usr/share/nginx/html'),
    file('usr/share/nginx/html/index.html', '<!DOCTYPE html><title>nginx</title><h1>Berth test page</h1>\n'),
    file('etc/nginx/nginx.conf', nginxConfig(port)),
  ]);
}

const nginxConfig = (port: number) => `user www-data;
worker_processes 1;
pid /var/run/nginx.pid;
error_log stderr;
events { worker_connections 64; }
http {
  access_log /dev/stdout;
  default_type text/html;
  server {
    listen ${port};
    root /usr/share/nginx/html;
  }
}
`;

/** Lines of ldd(1) are `name => /path (0x..)`, or `/path (0x..)` for the loader; the vdso has no path. */
const librariesIn = (text: string): string[] =>
  [...text.matchAll(/(?:^|=>)\s*(\/\S+) \(0x/gm)].map(([, path]) => path!).sort();

function parentsOf(paths: readonly string[]): string[] {
  const parents = new Set<string>();
  for (const path of paths) {
    const parts = path.slice(1).split('/').slice(0, -1);
    for (let count = 1; count <= parts.length; count++) parents.add(parts.slice(0, count).join('/'));
  }
  return [...parents].sort();
}

/** A server on port 80 that names itself in its log. */
export const httpdLayer = (): Promise<Layer> =>
  makeLayer([
    directory('srv'),
    file('srv/index.html', '<!DOCTYPE html><title>httpd</title><h1>It works</h1>\n'),
    file(
      'bin/httpd-foreground',
      '#!/bin/sh\necho "httpd: serving /srv on port 80"\nexec httpd -f -p 80 -h /srv\n',
      0o755,
    ),
  ]);

/** A program of this folder, compiled static, as the only file that a layer adds. */
export async function programLayer(name: 'pause' | 'nonewprivs', mode: number): Promise<Layer> {
  return makeLayer([file(name, readFileSync(await compile(name)), mode)]);
}

async function compile(name: string): Promise<string> {
  const source = join(import.meta.dirname, `${name}.c`);
  const work = mkdtempSync(join(cacheFolder('work'), `${name}-`));
  const target = join(cacheFolder('programs'), name);
  try {
    if (!existsSync(source)) throw new Error(`Cannot find ${source}`);
    await run(program('cc', 'build-essential'), ['-Os', '-s', '-static', '-Wall', '-Werror', '-o', target, source], {
      cwd: work,
    });
    return target;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** One file with a text of its own, to make images differ. */
export const markerLayer = (text: string): Promise<Layer> => makeLayer([file('marker', `${text}\n`)]);
