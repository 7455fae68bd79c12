// Fails on an import between folders of src/ that the tables do not allow (and on what they allow for nothing), on a cycle between files, and on a file
// or a function that passed the house limits. The table is docs/architecture.md as data.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

const source = resolve(import.meta.dirname, '../src');
const limitLines = 400;

const below = ['network', 'oci', 'shim', 'image', 'snapshot', 'state', 'model', 'sys', 'base', 'api'];
const allowed: Record<string, readonly string[]> = {
  base: [],
  model: ['base'],
  api: [],
  sys: ['base'],
  state: ['model', 'base', 'sys'],
  snapshot: ['model', 'base', 'sys'],
  image: ['state', 'snapshot', 'model', 'base', 'sys'],
  network: ['model', 'base', 'sys'],
  oci: ['model', 'base'],
  shim: ['base', 'sys'],
  lifecycle: below.filter((name) => name !== 'api'),
  streaming: ['model', 'base'],
  tracing: ['base'],
  stats: ['state', 'snapshot', 'model', 'base', 'sys'],
  cri: ['api', 'lifecycle', 'image', 'streaming', 'stats', 'tracing', 'model', 'base'],
  commands: ['cri', 'lifecycle', 'stats', 'tracing', ...below.filter((name) => name !== 'oci' && name !== 'shim')],
};
/** The rooms of a folder: what each may import of its own folder's others. What lies in no room may import them all. */
const rooms: Record<string, readonly string[]> = {
  'lifecycle/deps.ts': [
    'lifecycle/runtime',
    'lifecycle/creations.ts',
    'lifecycle/log-losses.ts',
    'lifecycle/mending.ts',
  ],
  'lifecycle/runtime': [],
  'lifecycle/pod': ['lifecycle/runtime', 'lifecycle/deps.ts'],
  'lifecycle/container': ['lifecycle/pod', 'lifecycle/deps.ts'],
  'lifecycle/ready.ts': ['lifecycle/deps.ts'],
  'lifecycle/exec': ['lifecycle/runtime', 'lifecycle/deps.ts', 'lifecycle/ready.ts'],
};
const roomOf = (path: string): string | undefined =>
  Object.keys(rooms).find((room) => path === room || path.startsWith(`${room}/`));
const usedArrows = new Set<string>();

/** Folders outside src/ that hold data shared by two sides. */
const outside: Record<string, readonly string[]> = { shim: ['proto'] };

const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
const problems: string[] = [];
const graph = new Map<string, string[]>();

for (const file of files) {
  const text = readFileSync(join(source, file), 'utf8');
  const folder = file.includes('/') ? file.slice(0, file.indexOf('/')) : '';
  const lines = text.split('\n').length;
  if (folder !== 'api' && lines > limitLines) problems.push(`src/${file}: ${lines} lines, the limit is ${limitLines}`);
  const imports: string[] = [];
  for (const [, target = ''] of text.matchAll(/(?:from|import)\s*\(?\s*['"](\.[^'"]+)['"]/g)) {
    const path = relative(source, resolve(source, dirname(file), target));
    const to = path.startsWith('..') ? (path.split('/')[1] ?? '') : path.slice(0, Math.max(path.indexOf('/'), 0));
    if (path.startsWith('..')) {
      if (!outside[folder]?.includes(to)) problems.push(`src/${file} imports ${target}, outside src/`);
      continue;
    }
    imports.push(path);
    if (folder === '') continue; // main.ts is the composition root
    if (to === folder) {
      checkRooms(file, path);
      continue;
    }
    usedArrows.add(`${folder} ${to}`);
    if (!allowed[folder]) problems.push(`src/${file}: folder ${folder} is not in the table`);
    else if (!allowed[folder].includes(to))
      problems.push(`src/${file} imports ${path}: ${folder} may not import ${to}`);
  }
  graph.set(file, imports);
}

function checkRooms(file: string, path: string): void {
  const room = roomOf(file);
  const target = roomOf(path) ?? path;
  if (!room || target === room) return;
  usedArrows.add(`${room} ${target}`);
  if (!rooms[room]!.includes(target)) problems.push(`src/${file} imports ${path}: ${room} may not import ${target}`);
}

for (const [from, targets] of [...Object.entries(allowed), ...Object.entries(rooms)]) {
  for (const to of targets) {
    if (!usedArrows.has(`${from} ${to}`))
      problems.push(`${from} may import ${to} but does not: remove it from the table`);
  }
}

const done = new Set<string>();
function visit(file: string, trail: readonly string[]): void {
  if (trail.includes(file)) {
    problems.push(`cycle: ${[...trail.slice(trail.indexOf(file)), file].join(' -> ')}`);
    return;
  }
  if (done.has(file)) return;
  for (const next of graph.get(file) ?? []) visit(next, [...trail, file]);
  done.add(file);
}
for (const file of graph.keys()) visit(file, []);

for (const problem of new Set(problems)) console.error(problem);
if (problems.length > 0) process.exit(1);
console.log(`layers: ${files.length} files, no import outside the table`);
