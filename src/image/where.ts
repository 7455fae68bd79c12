import type { OpenHostFiles } from '../base/host-files.ts';
import { ownFiles } from '../sys/own-files.ts';
import { type Endpoint, endpointsByHosts, ownEndpoint } from './hosts.ts';
import type { Reference } from './reference.ts';
import { placesByConf } from './registries-conf.ts';

/** Where an operator says which places serve a registry. */
export type WhereSettings = {
  readonly certsDir: string;
  readonly registriesConf: string;
  /** Who reads them. */
  readonly hostFiles?: OpenHostFiles;
};

/** The places for a reference, in order: as hosts.toml says, else registries.conf, else by the registry's name alone. */
export async function placesFor(
  reference: Reference,
  { certsDir, registriesConf, hostFiles = ownFiles }: WhereSettings,
): Promise<Endpoint[]> {
  using files = hostFiles();
  const byHosts = await endpointsByHosts(reference.domain, certsDir, files);
  if (byHosts) return byHosts;
  const byConf = registriesConf === '' ? null : await placesByConf(registriesConf, reference, files);
  return byConf ?? (await ownEndpoint(reference.domain));
}
