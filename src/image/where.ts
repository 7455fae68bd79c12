import type { OpenHostFiles } from '../base/host-files.ts';
import { ownFiles } from '../sys/own-files.ts';
import { certificatesOf, type Endpoint, ownEndpoint, saidOf } from './hosts.ts';
import type { Reference } from './reference.ts';
import { placesByConf } from './registries-conf.ts';

/** Where an operator says which places serve a registry. */
export type WhereSettings = {
  readonly certsDir: string;
  readonly registriesConf: string;
  /** Who reads them. */
  readonly hostFiles?: OpenHostFiles;
};

/**
 * The places for a reference, in order: as hosts.toml says, else registries.conf, else by the registry's name alone; the latter
 * two by the certificates that lie in a folder of the place's name.
 */
export async function placesFor(
  reference: Reference,
  { certsDir, registriesConf, hostFiles = ownFiles }: WhereSettings,
): Promise<Endpoint[]> {
  using files = hostFiles();
  const said = await saidOf(reference.domain, certsDir, files);
  if (said?.places) return said.endpoints;
  const certificates = (host: string) => certificatesOf(host, certsDir, files);
  const byConf = registriesConf === '' ? null : await placesByConf(registriesConf, reference, files, certificates);
  return byConf ?? said?.endpoints ?? (await ownEndpoint(reference.domain));
}
