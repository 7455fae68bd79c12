// The Go toolchain that go.mod asks for: the host's own if it is new enough, else the one that the host's Go gets from the
// module proxy. Debian's package is older than the switch of toolchains that Go 1.21 brought, but it can download one.
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { cacheFolder } from '../images/paths.ts';
import { program, run } from '../images/run.ts';

const here = import.meta.dirname;
// -trimpath: what was built does not depend on the folder, so that another checkout finds it in the cache of Go.
const goEnv = { GOFLAGS: '-buildvcs=false -trimpath', GOTOOLCHAIN: 'local', GOPATH: join(cacheFolder(), 'go') };
const platform = `linux-${({ x64: 'amd64', arm64: 'arm64' } as Record<string, string>)[process.arch] ?? process.arch}`;

/** The compiled suites, built again only when the sources here change. The first build takes one to two minutes. */
export const ensureSuite = (): Promise<string> => buildGo(here, ['test', '-c'], '.', 'main_test.go');

/** A client of streaming URLs, made of kubectl's own library. */
export const ensureStreamClient = (): Promise<string> =>
  buildGo(here, ['build'], './streamclient', 'streamclient/main.go');

const criTools = 'sigs.k8s.io/cri-tools';

/** crictl of the cri-tools that go.mod pins, in the folder `into`. The first build takes one to two minutes. */
export function ensureCrictl(into: string): Promise<string> {
  const [, version] = new RegExp(`${criTools} v(\\S+)`).exec(readFileSync(join(here, 'go.mod'), 'utf8'))!;
  const link = `-ldflags=-s -w -X ${criTools}/pkg/version.Version=${version}`;
  return buildGo(here, ['build', link], `${criTools}/cmd/crictl`, 'go.mod', into);
}

/**
 * Builds a package of a Go module; again only when its go.mod, its go.sum or `source` change. `module` is its folder, or another
 * file in the place of go.mod, beside which are its sums: `1.36.mod`, `1.36.sum` (go help build, -modfile).
 */
export async function buildGo(
  module: string,
  command: readonly string[],
  what: string,
  source: string,
  into = cacheFolder('conformance'),
  env: Record<string, string> = {},
): Promise<string> {
  const modFile = module.endsWith('.mod') ? module : join(module, 'go.mod');
  const folder = dirname(modFile);
  const hash = createHash('sha256').update(what);
  for (const path of [modFile, modFile.replace(/mod$/, 'sum'), join(folder, source)]) hash.update(readFileSync(path));
  mkdirSync(into, { recursive: true });
  const target = join(into, hash.digest('hex').slice(0, 16));
  if (existsSync(target)) return target;
  const go = await ensureGo(/^go (\S+)$/m.exec(readFileSync(modFile, 'utf8'))![1]!);
  const temporary = `${target}.${process.pid}.tmp`;
  const args = [...command, `-modfile=${basename(modFile)}`, '-mod=readonly', '-o', temporary, what];
  await runGo(go, args, folder, env);
  renameSync(temporary, target);
  return target;
}

async function ensureGo(wanted: string): Promise<string> {
  const own = existsSync('/usr/local/go/bin/go') ? '/usr/local/go/bin/go' : program('go', 'golang-go');
  const version = /go(\d+(?:\.\d+)*)/.exec(await runGo(own, ['version'], '/'))?.[1] ?? '0';
  return notOlder(version, wanted) ? own : downloadToolchain(own, wanted);
}

function notOlder(version: string, wanted: string): boolean {
  const [a, b] = [version, wanted].map((text) => text.split('.').map(Number)) as [number[], number[]];
  for (let part = 0; part < 3; part++) {
    if ((a[part] ?? 0) !== (b[part] ?? 0)) return (a[part] ?? 0) > (b[part] ?? 0);
  }
  return true;
}

/** Toolchains are modules of the proxy (go.dev/doc/toolchain), checked against go.sum's database like any other. */
async function downloadToolchain(go: string, wanted: string): Promise<string> {
  const module = `golang.org/toolchain@v0.0.1-go${wanted}.${platform}`;
  const folder = cacheFolder('toolchain-module');
  if (!existsSync(join(folder, 'go.mod'))) await runGo(go, ['mod', 'init', 'toolchain'], folder);
  const { Dir } = JSON.parse(await runGo(go, ['mod', 'download', '-json', module], folder)) as { Dir: string };
  // Files of a module are stored without their execute bits.
  const tools = join(Dir, 'pkg/tool', platform.replace('-', '_'));
  for (const name of [join(Dir, 'bin'), tools].flatMap((at) =>
    existsSync(at) ? readdirSync(at).map((file) => join(at, file)) : [],
  )) {
    chmodSync(name, 0o755);
  }
  return join(Dir, 'bin/go');
}

function runGo(go: string, args: readonly string[], cwd: string, env: Record<string, string> = {}): Promise<string> {
  mkdirSync(goEnv.GOPATH, { recursive: true });
  const proxy = Object.fromEntries(
    ['GOPROXY', 'GOSUMDB', 'HTTPS_PROXY', 'https_proxy', 'NO_PROXY', 'no_proxy', 'SSL_CERT_FILE'].flatMap((name) =>
      process.env[name] ? [[name, process.env[name]]] : [],
    ),
  );
  return run(go, args, { cwd, timeoutMs: 1_800_000, env: { ...goEnv, ...proxy, ...env } });
}
