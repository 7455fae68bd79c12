import { messageOf } from '../base/fault.ts';
import type { OpenHostFiles } from '../base/host-files.ts';
import { log } from '../base/log.ts';
import { type Credentials, credentialsAt, credentialsFor, hostOf, isEmpty, type RegistryAuth } from './auth.ts';
import { nodeAuth } from './auth-file.ts';
import { type Endpoint, isElsewhere } from './hosts.ts';
import { defaultDomain, type Reference, shortName } from './reference.ts';

/** `reference`: the name as it was asked for. */
export type PullRequest = { readonly reference: string; readonly auth: RegistryAuth | null };

type NodeAuth = { readonly authFile: string; readonly hostFiles: OpenHostFiles };

/**
 * What may be shown to a place: to a mirror what the node's file says of it by its own name, as the peers have it; else what
 * `auth` allows (credentialsAt). To a registry that is at another host, the file's of that name come after `auth`.
 * @throws Fault InvalidArgument for credentials that are none.
 */
export async function credentialsOf(
  endpoint: Endpoint,
  reference: Reference,
  auth: RegistryAuth | null,
  { authFile, hostFiles }: NodeAuth,
): Promise<Credentials> {
  const ofPlace = () =>
    loginOf({ domain: endpoint.base.host, path: repositoryAt(endpoint, reference) }, { authFile, hostFiles });
  if (!endpoint.isOwner && endpoint.takesCredentials) {
    const own = await ofPlace();
    if (own !== null) return own;
  }
  const allowed = credentialsAt(endpoint, reference.domain, auth);
  const isFree = allowed.kind === 'none' && isElsewhere(endpoint, reference.domain);
  return isFree ? ((await ofPlace()) ?? allowed) : allowed;
}

/** A file that cannot be used costs a mirror its login, and no pull that does without. */
async function loginOf(
  place: Pick<Reference, 'domain' | 'path'>,
  { authFile, hostFiles }: NodeAuth,
): Promise<Credentials | null> {
  try {
    const own = await nodeAuth(authFile, place, hostFiles);
    return isEmpty(own) ? null : credentialsFor(place.domain, own);
  } catch (error) {
    log.warn({ mirror: place.domain, reason: messageOf(error) }, 'The login of a mirror cannot be read');
    return null;
  }
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
