// Writes the generated parts of docs/operating.md: the settings and the commands. --check: fails where they are of before.
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { stringify } from 'smol-toml';
import { defaults } from '../src/base/settings.ts';
import { type ShownTable, shownTables } from '../src/base/settings-table.ts';
import { usageOf } from '../src/commands/command-line.ts';
import { commands } from '../src/commands/index.ts';
import { optionsOf } from './options.ts';

const file = resolve(import.meta.dirname, '../docs/operating.md');
const { values } = optionsOf('the head of scripts/gen-docs.ts', {
  options: { check: { type: 'boolean', default: false } },
});

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '&lt;').replaceAll('{{', '&#123;{');
const toml = (value: unknown): string => stringify({ key: value }).trim().slice('key = '.length);

function settingsSection({ path, text, settings }: ShownTable): string {
  const head = path.length > 0 ? `### \`[${path.join('.')}]\`\n\n` : '';
  const rows = settings.map(
    ({ key, value, mayBe, text, live }) =>
      `| \`${key}\`${live ? ' *' : ''} | \`${toml(value)}\` | ${cell(mayBe)} | ${cell(text)} |\n`,
  );
  const table = rows.length > 0 ? `| setting | default | it may be | |\n|---|---|---|---|\n${rows.join('')}\n` : '';
  return `${head}${text && `${text}\n\n`}${table}`;
}

const parts: Record<string, string> = {
  settings: `${[...shownTables(defaults)].map(settingsSection).join('').trimEnd()}\n`,
  commands: usageOf(commands)
    .split('\n')
    .slice(2)
    .map((line) => line && `  ${line}`)
    .join('\n'),
};

const before = readFileSync(file, 'utf8');
const after = Object.entries(parts).reduce((text, [name, part]) => {
  const place = new RegExp(`(<!-- ${name}: [^>]*-->\n)[\\s\\S]*?(<!-- end of ${name} -->)`);
  if (!place.test(text)) throw new Error(`${file} has no place for the ${name}`);
  return text.replace(place, (_, begin, end) => `${begin}\n${part}\n${end}`);
}, before);

if (!values.check) writeFileSync(file, after);
else if (before !== after) {
  console.error('docs/operating.md is not what the settings and the commands say');
  process.exitCode = 1;
}
