import assert from 'node:assert/strict';
import { constants } from 'node:os';
import test from 'node:test';
import { signalFromCri, signalFromName, signalToCri, stopSignal } from '../../../src/model/signals.ts';
import { CriSignals } from './cri-signals.ts';

test('every number of CRI is the signal that its name says', () => {
  for (const [name, number] of CriSignals) {
    const linux = name.startsWith('SIGRT') ? signalFromName(name) : constants.signals[name as NodeJS.Signals];
    const known: Record<string, number> = { SIGCLD: 17, SIGSTKFLT: 16, SIGPWR: 30 };
    assert.equal(signalFromCri(number), linux ?? known[name], name);
  }
});

test('and back, to a name with the same signal', () => {
  for (const [name, number] of CriSignals) {
    assert.equal(signalFromCri(signalToCri(signalFromCri(number))), signalFromCri(number), name);
  }
});

for (const value of [-1, 66, 99, 1.5]) {
  test(`refused: CRI signal ${value}`, () => assert.throws(() => signalFromCri(value), { kind: 'InvalidArgument' }));
}

const names: [text: string, signal: number][] = [
  ['SIGQUIT', 3],
  ['quit', 3],
  ['SigWinch', 28],
  ['3', 3],
  ['64', 64],
  ['SIGRTMIN', 34],
  ['SIGRTMIN+3', 37],
  ['rtmax-14', 50],
  ['RTMAX', 64],
];
for (const [text, signal] of names) {
  test(`image signal ${text}`, () => assert.equal(signalFromName(text), signal));
}

for (const text of [
  '',
  '0',
  '65',
  '-9',
  '9 ',
  'SIG',
  'SIGFOO',
  '__proto__',
  'SIGRTMIN+31',
  'SIGRTMIN-1',
  'SIGRTMAX+1',
  'SIGRTMAX-31',
  'SIGRTMAX-60',
  '1e1',
  '0x9',
]) {
  test(`refused: image signal ${JSON.stringify(text)}`, () => {
    assert.throws(() => signalFromName(text), { kind: 'InvalidArgument' });
  });
}

test('the request, then the image, then SIGTERM', () => {
  assert.deepEqual([stopSignal(9, 'QUIT'), stopSignal(0, 'QUIT'), stopSignal(0, '')], [9, 3, 15]);
});
