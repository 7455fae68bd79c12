// The manual pages, from what --help and the configuration reference are made of.
import { stringify } from 'smol-toml';
import { defaults } from '../../src/base/settings.ts';
import { type ShownTable, shownTables } from '../../src/base/settings-table.ts';
import { type Commands, flags, flagText, shapeOf } from '../../src/commands/command-line.ts';

/** Text as man(7) takes it: no line of it is a request, no character of it an escape. A list of paths may be broken. */
const plain = (text: string): string =>
  text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll(/:(?=\/[^/])/g, ':\\:')
    .split('\n')
    .map((line) => line.replace(/^([.'])/, '\\&$1'))
    .join('\n');

const head = (title: string, section: number, name: string, what: string, date: string): string =>
  `.TH ${title} ${section} ${date} Berth\n.nh\n.ad l\n.SH NAME\n${name} \\- ${plain(what)}\n`;

const entry = (term: string, text: string): string => `.TP\n.B ${plain(term)}\n${plain(text)}\n`;

/** berth(1). `date`: YYYY-MM-DD. */
export function commandsPage(commands: Commands, date: string): string {
  const entries = Object.entries(commands).map(([name, command]) =>
    entry(`berth ${shapeOf(name, command)}`, [`${command.does}.`, command.more ?? ''].join('\n').trim()),
  );
  const options = (Object.keys(flags) as (keyof typeof flags)[]).map((name) => entry(flagText(name), flags[name].text));
  return [
    head('BERTH', 1, 'berth', 'a CRI container runtime for Kubernetes nodes', date),
    '.SH SYNOPSIS\n.B berth\n.I COMMAND\n[\\fIWORD\\fR...] [\\fIOPTION\\fR...]\n',
    `.SH COMMANDS\n${entries.join('')}`,
    `.SH OPTIONS\n${options.join('')}${entry('--help', 'the commands; after a command, its own words and options')}${entry('--version', 'print the version')}`,
    '.SH FILES\n.I /etc/berth/config.toml\n.SH SEE ALSO\n.BR berth\\-config (5)\n',
  ].join('');
}

/** berth-config(5). */
export function settingsPage(date: string): string {
  return [
    head('BERTH-CONFIG', 5, 'berth\\-config', "Berth's configuration", date),
    `.SH DESCRIPTION\n${plain("/etc/berth/config.toml, in TOML, with the files of /etc/berth/config.toml.d/*.toml over it in the order of their names. A file has only what differs from the defaults. What `berth reload' puts in force is marked with a *; the rest waits for the next start.")}\n`,
    ...[...shownTables(defaults)].map(settingsSection),
    '.SH SEE ALSO\n.BR berth (1)\n',
  ].join('');
}

function settingsSection({ path, text, settings }: ShownTable): string {
  const title = path.length > 0 ? `[${path.join('.')}]` : 'SETTINGS';
  const entries = settings.map(({ key, value, mayBe, text, live }) => {
    const line = stringify({ [key]: value }).trim();
    return entry(`${line}${live ? ' *' : ''}`, `${text}\nIt may be ${mayBe}.`);
  });
  return `.SH ${plain(title)}\n${text && `${plain(text)}\n`}${entries.join('')}`;
}
