import type { OpenHostFiles } from '../base/host-files.ts';
import { type Credentials, credentialsAt, credentialsFor, hostOf, isEmpty, type RegistryAuth } from './auth.ts';
import { nodeAuth } from './auth-file.ts';
import type { Endpoint } from './hosts.ts';
import { defaultDomain, type Reference, shortName } from './reference.ts';

/** `reference`: the name as it was asked for. */
export type PullRequest = { readonly reference: string; readonly auth: RegistryAuth | null };

type NodeAuth = { readonly authFile: string; readonly hostFiles: OpenHostFiles };

/**
 * What may be shown to a place: to a mirror what the node's file says of it by its own name, as the peers have it; else what
 * `auth` allows (credentialsAt).
 * @throws Fault FailedPrecondition if the node's file cannot be used, InvalidArgument for credentials that are none.
 */
export async function credentialsOf(
  endpoint: Endpoint,
  reference: Reference,
  auth: RegistryAuth | null,
  { authFile, hostFiles }: NodeAuth,
): Promise<Credentials> {
  if (!endpoint.isOwner && endpoint.takesCredentials) {
    const domain = endpoint.base.host;
    const own = await nodeAuth(authFile, { domain, path: repositoryAt(endpoint, reference) }, hostFiles);
    if (!isEmpty(own)) return credentialsFor(domain, own);
  }
  return credentialsAt(endpoint, reference.domain, auth);
}

/** What a repository is called there, with what stands before it in the mirror's address. */
function repositoryAt({ base, repository }: Endpoint, reference: Reference): string {
  const before = base.pathname.split('/').filter((part) => part !== '' && part !== 'v2');
  return [...before, repository ?? reference.path].join('/');
}

/**
 * What a pull of `meant` may show: what its request brought, else the node's. What names no registry is Docker's where the name
 * asked for says none either: kubelet takes it for Docker's when it looks for credentials.
 * @throws Fault FailedPrecondition if the node's file cannot be used.
 */
export async function authFor(
  meant: Reference,
  { reference, auth }: PullRequest,
  { authFile, hostFiles }: NodeAuth,
): Promise<RegistryAuth | null> {
  const isDockers = hostOf(meant.domain) === defaultDomain;
  const isForOther = shortName(reference) !== null && !isDockers && auth?.serverAddress === '';
  return isEmpty(auth) || isForOther ? await nodeAuth(authFile, meant, hostFiles) : auth;
}
