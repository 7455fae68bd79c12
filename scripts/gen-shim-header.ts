// Prints native/shim/protocol.h from the table in proto/shim.ts. With --check it writes nothing and fails when the
// file in the tree is not what the table gives.
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { FieldKind, MessageShape } from '../proto/shim.ts';
import { failureKinds, maxCapture, maxToDaemon, maxToShim, messages, protocolVersion } from '../proto/shim.ts';
import { maxLogLine } from '../src/base/limits.ts';

const path = resolve(import.meta.dirname, '../native/shim/protocol.h');

const cType: Record<FieldKind, string> = {
  u32: 'uint32_t ',
  u64: 'uint64_t ',
  i32: 'int32_t ',
  bool: 'bool ',
  string: 'const char *',
  bytes: 'struct wire_bytes ',
  strings: 'struct wire_strings ',
};

const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
const upper = (name: string): string => snake(name).toUpperCase();

function message(name: string, shape: MessageShape): string {
  const c = snake(name);
  const fields = Object.entries(shape.fields);
  if (fields.length === 0) return '';
  const lines = (print: (field: string, kind: FieldKind) => string) =>
    fields.map(([field, kind]) => `  ${print(snake(field), kind)}\n`).join('');
  return `
struct shim_${c} {
${lines((field, kind) => `${cType[kind]}${field};`)}};
static inline bool shim_read_${c}(struct wire_reader *from, struct shim_${c} *to) {
${lines((field, kind) => `to->${field} = wire_read_${kind}(from);`)}  return !from->bad;
}
static inline void shim_write_${c}(struct wire_writer *to, const struct shim_${c} *from) {
${lines((field, kind) => `wire_write_${kind}(to, from->${field});`)}}
`;
}

function header(): string {
  const all: [string, MessageShape][] = Object.entries(messages);
  const numbers = all.map(([name, { number }]) => `  SHIM_${upper(name)} = ${number},\n`).join('');
  const kinds = Object.entries(failureKinds).map(([name, number]) => `  SHIM_FAILED_${upper(name)} = ${number},\n`);
  const withFields = all.filter(([, { fields }]) => Object.keys(fields).length > 0);
  return `/* Printed by scripts/gen-shim-header.ts from proto/shim.ts: change the table, not this file. */
#ifndef BERTH_PROTOCOL_H
#define BERTH_PROTOCOL_H
#include "wire.h"

#define SHIM_VERSION ${protocolVersion}
#define SHIM_MAX_TO_SHIM ${maxToShim}
#define SHIM_MAX_TO_DAEMON ${maxToDaemon}
#define SHIM_MAX_CAPTURE ${maxCapture}
#define SHIM_MAX_LOG_LINE ${maxLogLine}

enum shim_message {
${numbers}};

enum shim_failure {
${kinds.join('')}};

/* Every message that has fields: X(lower, UPPER). */
#define SHIM_MESSAGES(X) \\
${withFields.map(([name]) => `  X(${snake(name)}, ${upper(name)})`).join(' \\\n')}
${all.map(([name, shape]) => message(name, shape)).join('')}
#endif
`;
}

const text = header();
if (!process.argv.includes('--check')) writeFileSync(path, text);
else if (readFileSync(path, 'utf8') !== text) {
  console.error('native/shim/protocol.h is not what proto/shim.ts gives; run: node scripts/gen-shim-header.ts');
  process.exit(1);
}
