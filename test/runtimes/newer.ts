import { buildGo } from '../conformance/go.ts';

/** runc of a later line than Debian's, built from its Go module: it does some things differently. */
export const ensureNewerRunc = (): Promise<string> =>
  buildGo(import.meta.dirname, ['build'], 'github.com/opencontainers/runc', 'tools.go');
