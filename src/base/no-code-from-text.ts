/**
 * No client's words are ever code: whoever imports this file has no way left from a text to a function. V8's own option
 * (--disallow-code-generation-from-strings) does the same, but under it V8 does not take what Node has compiled of itself
 * beforehand, and a start takes 25 ms longer.
 */
function refuse(): never {
  throw new EvalError('Berth makes no code of text');
}
refuse.prototype = Function.prototype; // instanceof Function goes on

const kinds = [() => {}, async () => {}, function* () {}, async function* () {}];
for (const kind of kinds)
  Object.defineProperty(Object.getPrototypeOf(kind), 'constructor', { value: refuse, configurable: false });
for (const name of ['eval', 'Function'])
  Object.defineProperty(globalThis, name, { value: refuse, configurable: false });

export {};
