import { buildGo } from '../conformance/go.ts';

const packages = {
  crane: 'github.com/google/go-containerregistry/cmd/crane',
  distribution: './distribution',
  olareg: 'github.com/olareg/olareg/cmd/olareg',
  regctl: 'github.com/regclient/regclient/cmd/regctl',
} as const;

/** A program that Debian 12 does not have, built from its Go module; its path. */
export const ensureMaker = (name: keyof typeof packages): Promise<string> =>
  buildGo(import.meta.dirname, ['build', '-ldflags=-s -w'], packages[name], 'tools.go');
