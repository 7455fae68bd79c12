import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { nodeFlags } from '../../../src/commands/node-flags.ts';

/** Each answers 2 where text becomes code. */
const ways = {
  eval: '(0, eval)("1 + 1")',
  evalHere: 'eval("1 + 1")',
  Function: 'new Function("return 2")()',
  constructor: '(() => {}).constructor("return 2")()',
  method: '({ m() {} }).m.constructor("return 2")()',
  class: '(class {}).constructor("return 2")()',
  builtIn: 'Array.prototype.map.constructor("return 2")()',
  bound: '(() => {}).bind(null).constructor("return 2")()',
  async: '(async () => {}).constructor("").name && 2',
  generator: '(function* () {}).constructor("").name && 2',
  asyncGenerator: '(async function* () {}).constructor("").name && 2',
  reflected: 'Reflect.construct((() => {}).constructor, ["return 2"])()',
  inherited: 'new (class extends (() => {}).constructor {})("return 2")()',
  timer: '(setTimeout("globalThis.x = 2", 1), 2)',
};

const ask = (...args: string[]): Record<string, unknown> => {
  const script = `const tried = {};
    const attempt = (name, way) => { try { tried[name] = way(); } catch { tried[name] = 'refused'; } };
    attempt('proto', () => ('__proto__' in {} ? 2 : 'refused'));
    ${Object.entries(ways)
      .map(([name, way]) => `attempt('${name}', () => ${way});`)
      .join('\n')}
    attempt('isFunction', () => (() => {}) instanceof Function);
    console.log(JSON.stringify(tried)); process.exit();`;
  return JSON.parse(execFileSync(process.execPath, [...args, '-e', script], { encoding: 'utf8' }));
};
const all = (value: unknown) => Object.fromEntries(['proto', ...Object.keys(ways)].map((name) => [name, value]));
const noCode = resolve(import.meta.dirname, '../../../src/base/no-code-from-text.ts');

test('in the daemon and its workers no name reaches a prototype and no text becomes code', () => {
  assert.deepEqual(ask(), { ...all(2), timer: 'refused', isFunction: true }); // Node itself has no timer of text
  assert.deepEqual(ask(...nodeFlags, '--import', noCode), { ...all('refused'), isFunction: true });
});
