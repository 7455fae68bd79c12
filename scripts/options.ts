// What the programs of scripts/ were given, or one line that says what is wrong with it.
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { endProcess } from '../src/sys/end-process.ts';

/** Ends the program: `text` says what is wrong and what to give instead. */
export function refuse(text: string): never {
  console.error(text);
  return endProcess(2);
}

/** As parseArgs, but what it does not take is refused; `help` is where to read what it takes. */
export function optionsOf<T extends ParseArgsConfig>(help: string, config: T): ReturnType<typeof parseArgs<T>> {
  try {
    return parseArgs(config);
  } catch (error) {
    return refuse(`${(error as Error).message.split('. To specify')[0]}: ${help} says what it takes`);
  }
}

/** The number that an option was given. */
export function countOf(option: string, text: string, least = 1): number {
  const count = Number(text);
  if (text !== '' && Number.isSafeInteger(count) && count >= least) return count;
  return refuse(`--${option} ${text}: give a whole number, at least ${least}`);
}

/** What an option was given, which must be one of these. */
export function oneOf<T extends string>(option: string, text: string, choices: readonly T[]): T {
  return choices.find((choice) => choice === text) ?? refuse(`--${option} ${text}: give ${choices.join(', ')}`);
}
