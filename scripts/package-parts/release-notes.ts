/** The part of a changelog that is of this version, with headings one level higher; null: it has none. */
export function releaseNotes(changelog: string, version: string): string | null {
  const parts = changelog.split(/^## /m).slice(1);
  const isIt = (part: string) => part.split(/[\s,(]/, 1)[0]!.toLowerCase() === version.toLowerCase();
  const found = parts.find(isIt);
  if (!found) return null;
  const body = found.slice(found.indexOf('\n')).trim();
  return `# Berth ${version}\n\n${body.replaceAll(/^###/gm, '##')}\n`;
}
