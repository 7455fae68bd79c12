/** An absolute path without `.`, `..`, doubled or trailing slashes; `..` stops at the root as in the kernel. */
export function cleanPath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}

/** True for the same clean absolute path, and for one below it. */
export const isAtOrBelow = (path: string, top: string): boolean =>
  path === top || path.startsWith(top === '/' ? top : `${top}/`);

/** What OCI runtimes open by name: crun 1.8 makes device nodes in `dev`, through a link; runc 1.1 removes `ptmx` there. */
export const tops = ['dev', 'proc', 'sys'] as const;

/** Which of them a clean path is in, or is. */
export const topOf = (path: string): (typeof tops)[number] | undefined =>
  tops.find((name) => isAtOrBelow(path, `/${name}`));
