import type { OpenHostFiles } from '../base/host-files.ts';
import { hostOf, isEmpty, type RegistryAuth } from './auth.ts';
import { nodeAuth } from './auth-file.ts';
import { defaultDomain, type Reference, shortName } from './reference.ts';

/** `reference`: the name as it was asked for. */
export type PullRequest = { readonly reference: string; readonly auth: RegistryAuth | null };

/**
 * What a pull of `meant` may show: what its request brought, else the node's. What names no registry is Docker's where the name
 * asked for says none either: kubelet takes it for Docker's when it looks for credentials.
 * @throws Fault FailedPrecondition if the node's file cannot be used.
 */
export async function authFor(
  meant: Reference,
  { reference, auth }: PullRequest,
  { authFile, hostFiles }: { readonly authFile: string; readonly hostFiles: OpenHostFiles },
): Promise<RegistryAuth | null> {
  const isDockers = hostOf(meant.domain) === defaultDomain;
  const isForOther = shortName(reference) !== null && !isDockers && auth?.serverAddress === '';
  return isEmpty(auth) || isForOther ? await nodeAuth(authFile, meant, hostFiles) : auth;
}
