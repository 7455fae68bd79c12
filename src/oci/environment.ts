// Variables that are no UTF-8. config.json is JSON and cannot hold them: crun 1.8 refuses the whole file, and whatever is
// written in Go reads U+FFFD in their place. Each of their bytes goes as the character of its number, and a program in the
// container (native/environment) makes bytes of those before it becomes the command.

/** Where a container that needs it has the program. */
export const environmentProgram = '/.berth-environment';

/** The command line by which the program runs `args`, with these variables as bytes; without any, `args` themselves. */
export const throughProgram = (args: readonly string[], names: ReadonlySet<string>): string[] =>
  names.size === 0 ? [...args] : [environmentProgram, String(names.size), ...names, ...args];

/** Another command in the same container: by the program where the container's own `template` goes by it. */
export function commandLike(template: readonly string[], args: readonly string[]): string[] {
  const [program, count = ''] = template;
  return program === environmentProgram ? [...template.slice(0, 2 + Number(count)), ...args] : [...args];
}
