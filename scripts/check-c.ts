// Fails on a circle between the C files of one program. A file and its header are one: it needs another whose header it includes, or whose
// function it names. The circle is printed with what closes it.
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';

const native = resolve(import.meta.dirname, '../native');
const programs = ['addon', 'look', 'shim'];
/** A function that other files may call: its name stands in a line that begins with a type, and its body follows. */
const definition = /^(?!static\b|typedef\b|return\b)[A-Za-z_][\w ]*[ *]+(\w+)\([^;{}]*\)\s*\{/gm;
const withoutComments = (text: string): string => text.replace(/\/\*[\s\S]*?\*\//g, ' ');
const unit = (file: string): string => basename(file).replace(/\.[ch]$/, '');

/** What each file needs of its own program, and why. */
function needs(texts: ReadonlyMap<string, string>): Map<string, Map<string, string>> {
  const owner = new Map<string, string>();
  for (const [file, text] of texts)
    if (file.endsWith('.c')) for (const [, name = ''] of text.matchAll(definition)) owner.set(name, unit(file));
  const units = new Set([...texts.keys()].map(unit));
  const graph = new Map([...units].map((name) => [name, new Map<string, string>()]));
  for (const [file, text] of texts) {
    const from = graph.get(unit(file))!;
    const add = (to: string | undefined, why: string): void => {
      if (to && to !== unit(file) && units.has(to) && !from.has(to)) from.set(to, why);
    };
    for (const [, header = ''] of text.matchAll(/^#include "([^"/]+)"/gm)) add(unit(header), header);
    if (file.endsWith('.c'))
      for (const [, name = ''] of text.matchAll(/(?<![\w.>])(\w+)\b/g)) add(owner.get(name), name);
  }
  return graph;
}

function circle(graph: Map<string, Map<string, string>>, trail: readonly string[], done: Set<string>): string[] {
  const here = trail.at(-1)!;
  const start = trail.indexOf(here);
  if (start < trail.length - 1) return trail.slice(start);
  if (done.has(here)) return [];
  for (const next of graph.get(here)?.keys() ?? []) {
    const found = circle(graph, [...trail, next], done);
    if (found.length > 0) return found;
  }
  done.add(here);
  return [];
}

let count = 0;
for (const program of programs) {
  const files = readdirSync(join(native, program)).filter((name) => /\.[ch]$/.test(name));
  const graph = needs(
    new Map(files.map((name) => [name, withoutComments(readFileSync(join(native, program, name), 'utf8'))])),
  );
  const done = new Set<string>();
  for (const name of graph.keys()) {
    const found = circle(graph, [name], done);
    if (found.length === 0) continue;
    const steps = found.slice(1).map((to, i) => `${to} (${graph.get(found[i]!)?.get(to)})`);
    console.error(`native/${program}: circle: ${[found[0], ...steps].join(' -> ')}`);
    process.exitCode = 1;
    break;
  }
  count += files.length;
}
if (!process.exitCode) console.log(`C: ${count} files, no circle`);
