import { stringify } from 'smol-toml';
import { type Settings, shownTables } from './settings-table.ts';

const width = 100;

/** The settings as a configuration file that gives the same settings again, each with what it means as a comment. */
export function toToml(settings: Settings): string {
  return [...shownTables(settings)]
    .map(({ path, text, settings }) => {
      const head = path.length > 0 ? [...comment(text), `[${path.map(bareOrQuoted).join('.')}]`] : [];
      const lines = settings.flatMap(({ key, value, text }) => [...comment(text), stringify({ [key]: value }).trim()]);
      return `${[...head, ...lines].join('\n')}\n`;
    })
    .join('\n');
}

const bareOrQuoted = (key: string): string => (/^[A-Za-z0-9_-]+$/.test(key) ? key : JSON.stringify(key));

/** Comment lines of bearable length. */
function comment(text: string): string[] {
  if (text === '') return [];
  const lines = [''];
  for (const word of text.split(' ')) {
    if (lines.at(-1)!.length + word.length > width) lines.push('');
    lines.push(`${lines.pop()} ${word}`);
  }
  return lines.map((line) => `#${line}`);
}
