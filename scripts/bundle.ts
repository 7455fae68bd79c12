import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type BuildOptions, buildSync } from 'esbuild';
import { nodeFlags } from '../src/commands/node-flags.ts';
import { ownTarget, type Target } from './package-parts/target.ts';

const root = resolve(import.meta.dirname, '..');

/**
 * CommonJS starts 40 ms sooner than a module: Node fetches every member of a built-in module that a module imports, WebSocket
 * and fetch among them. Comments and blanks are left out, since V8 keeps the text; names and lines are kept for stack traces.
 */
const common: BuildOptions = {
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node26',
  preserveSymlinks: true, // the names of modules are part of the text: no path of the machine is to be among them
  minifySyntax: true,
  minifyWhitespace: true,
  lineLimit: 120,
  define: { CRASH_POINTS: 'false', 'import.meta.dirname': '__dirname', 'import.meta.url': 'berthUrl' },
  external: ['@grpc/proto-loader'], // for services of grpc-js that Berth does not serve
};
const ownUrl = "const berthUrl=require('node:url').pathToFileURL(__filename).href;";

/** What Node is to run of a bundle. */
export const mainProgram = (folder: string): string => join(folder, 'main.cjs');

/**
 * Makes in `folder` what is shipped: the bundle with its loader and what V8 compiled of it, the layer worker, what tells
 * of calls as spans (read only where that is wanted) and four native files. Returns the main program. What was there is replaced by renaming: an earlier build may be running.
 */
export function makeBundle(folder: string, target: Target = ownTarget): string {
  const fresh = join(folder, '.new');
  rmSync(fresh, { recursive: true, force: true }); // of a build that was cut off
  mkdirSync(fresh, { recursive: true });
  try {
    bundle(fresh);
    for (const name of ['addon.node', 'berth-shim', 'berth-look', 'berth-environment'])
      copyFileSync(join(target.native, name), join(fresh, name));
    compile(fresh, target);
    for (const name of readdirSync(fresh)) renameSync(join(fresh, name), join(folder, name));
  } finally {
    rmSync(fresh, { recursive: true });
  }
  return mainProgram(folder);
}

function bundle(folder: string): void {
  buildSync({
    ...common,
    entryPoints: ['src/main.ts'],
    outfile: join(folder, 'berth.cjs'),
    banner: { js: `(function(require,__filename,__dirname){${ownUrl}` },
    footer: { js: '})' },
  });
  buildSync({
    ...common,
    entryPoints: ['src/image/layer-worker.ts'],
    outfile: join(folder, 'layer-worker.cjs'),
    banner: { js: ownUrl },
  });
  buildSync({ ...common, entryPoints: ['src/tracing/exporter.ts'], outfile: join(folder, 'tracing.cjs') });
  copyFileSync(join(root, 'scripts/bundle-loader.cjs'), join(folder, 'main.cjs'));
}

/**
 * What V8 compiles depends on the seed of its hashes, another one each time, unless it is given one, and on how far its other
 * threads have come, unless it has none. It then refuses what it made to a daemon without such flags, by a number that
 * stands for the flags: of it the daemon's is put in.
 */
function compile(folder: string, target: Target): void {
  const cache = join(folder, 'berth.v8');
  const ownFlags = compileWith(target, nodeFlags, folder, cache).subarray(...flagsOfCache);
  const same = compileWith(target, [...nodeFlags, '--hash-seed=1', '--predictable'], folder, cache);
  ownFlags.copy(same, flagsOfCache[0]);
  writeFileSync(cache, same);
}

/** Where V8 has that number: SerializedCodeData in its code-serializer.h. A test asks V8 whether it takes the whole. */
const flagsOfCache = [12, 16] as const;

function compileWith({ runner, node }: Target, flags: readonly string[], folder: string, cache: string): Buffer {
  const [program = node, ...words] = [...runner, node];
  execFileSync(program, [...words, ...flags, mainProgram(folder), 'version'], {
    env: { ...process.env, BERTH_WRITE_COMPILED: cache },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const made = readFileSync(cache);
  rmSync(cache); // the next one is to compile anew
  return made;
}

if (import.meta.main) makeBundle(join(root, 'dist'));
