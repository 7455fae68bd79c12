import { type ParseArgsConfig, parseArgs } from 'node:util';
import { invalidArgument, messageOf } from '../base/fault.ts';
import { didYouMean } from '../base/nearest.ts';

/** What was given to a command. */
export type Given = {
  /** As many as it takes. */
  readonly words: readonly string[];
  readonly flags: Readonly<Record<string, string | boolean | undefined>>;
};

export type Command = {
  /** What it does, in a line that goes on from its name. */
  readonly does: string;
  /** The words that it takes, as its usage shows them. */
  readonly takes: readonly string[];
  readonly flags: readonly (keyof typeof flags)[];
  /** More than the line says, for its own --help. */
  readonly more?: string;
  readonly run: (given: Given) => unknown;
};
export type Commands = Readonly<Record<string, Command>>;

/** Every option there is: its value's name, if it has one, and what it means. */
export const flags = {
  config: {
    value: 'FILE',
    text: 'TOML configuration (default /etc/berth/config.toml), with FILE.d/*.toml over it',
  },
  'dry-run': { value: '', text: 'say what would be done, and do nothing' },
  json: { value: '', text: 'as a JSON document' },
  registry: { value: 'HOST', text: 'ask this registry and its mirrors too, with the credentials of the node' },
  running: { value: '', text: 'as the daemon that runs has it in force' },
  svg: { value: 'FILE', text: 'write it as a picture' },
} as const;

const options = {
  ...Object.fromEntries(
    Object.entries(flags).map(([name, { value }]) => [name, { type: value === '' ? 'boolean' : 'string' } as const]),
  ),
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean' },
} satisfies ParseArgsConfig['options'];

export type Asked = { readonly help: string } | { readonly command: Command; readonly given: Given };

/** What a command line asks for. @throws Fault InvalidArgument that names the word and the way on. */
export function readCommandLine(commands: Commands, args: readonly string[]): Asked {
  const { values, positionals } = parsed(args);
  const { help, version, ...given } = values as Given['flags'];
  // Who asks a program that they do not know for its version does so by an option.
  const [name, ...words] = version && positionals.length === 0 ? ['version'] : positionals;
  if (name === undefined) {
    if (help) return { help: usageOf(commands) };
    throw invalidArgument('What shall it do? berth --help lists the commands');
  }
  const command = Object.hasOwn(commands, name) ? commands[name]! : undefined;
  if (!command) {
    const near = didYouMean(name, Object.keys(commands));
    throw invalidArgument(`There is no command ${JSON.stringify(name)}${near || ':'} berth --help lists them`);
  }
  if (help) return { help: helpOf(name, command) };
  check(name, command, words, version && positionals.length > 0 ? { ...given, version } : given);
  return { command, given: { words, flags: given } };
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], allowPositionals: true, options });
  } catch (error) {
    throw invalidArgument(`${messageOf(error).split('. ')[0]}: see berth --help`);
  }
}

function check(name: string, { takes, flags: own }: Command, words: readonly string[], given: Given['flags']): void {
  const see = `see berth ${name} --help`;
  const strange = Object.keys(given).find((flag) => !own.some((each) => each === flag));
  if (strange) throw invalidArgument(`berth ${name} has no option --${strange}: ${see}`);
  const missing = takes.slice(words.length);
  if (missing.length > 0) throw invalidArgument(`berth ${name} takes ${missing.join(' and ')} too: ${see}`);
  const extra = words.slice(takes.length);
  if (extra.length > 0) throw invalidArgument(`berth ${name} does not take ${JSON.stringify(extra[0])}: ${see}`);
  const empty = takes.find((_, index) => words[index]!.trim() === '') ?? own.find((flag) => given[flag] === '');
  if (empty === undefined) return;
  const what = Object.hasOwn(flags, empty) ? flagText(empty as keyof typeof flags) : empty;
  throw invalidArgument(`berth ${name}: ${what} is empty, as of a variable that is not set: ${see}`);
}

/** An option as it is typed: `--svg FILE`. */
export const flagText = (name: keyof typeof flags): string =>
  `--${name}${flags[name].value && ` ${flags[name].value}`}`;

/** `load FILE`, `trace POD [--svg FILE]`: as it is typed, but for what every command has. */
export const shapeOf = (name: string, { takes, flags }: Command): string =>
  [name, ...takes, ...flags.filter((flag) => flag !== 'config').map((flag) => `[${flagText(flag)}]`)].join(' ');

const aligned = (rows: readonly (readonly [string, string])[]): string =>
  rows.map(([left, right]) => `  ${left.padEnd(29)}  ${right}\n`).join('');

/** Every command in a line. */
export function usageOf(commands: Commands): string {
  const lines = Object.entries(commands).map(
    ([name, command]) => [`berth ${shapeOf(name, command)}`, command.does] as const,
  );
  const common = [
    [flagText('config'), flags.config.text],
    ['--help', 'this text; after a command, its own'],
    ['--version', 'print the version'],
  ] as const;
  return `berth: a CRI container runtime for Kubernetes nodes\n\n${aligned(lines)}\n${aligned(common)}`;
}

function helpOf(name: string, command: Command): string {
  const rows = command.flags.map((flag) => [flagText(flag), flags[flag].text] as const);
  const more = command.more ? `\n${command.more}\n` : '';
  return `berth ${shapeOf(name, command)}\n  ${command.does}\n${more}\n${aligned([...rows, ['--help', 'this text']])}`;
}
