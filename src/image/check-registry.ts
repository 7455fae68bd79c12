import { messageOf } from '../base/fault.ts';
import { ownFiles } from '../sys/own-files.ts';
import { isEmpty } from './auth.ts';
import { nodeAuth } from './auth-file.ts';
import { credentialsOf } from './auth-for.ts';
import { HttpClient } from './http.ts';
import { Logins } from './logins.ts';
import { Place, Refused } from './place.ts';
import { PlaceMemories } from './place-memory.ts';
import { parseReference } from './reference.ts';
import { placesFor, type WhereSettings } from './where.ts';

/** What one of the places that a pull would ask has answered. */
export type RegistryAnswer = {
  readonly base: string;
  /** Null: it would give what it has. */
  readonly problem: string | null;
  /** The node's own credentials were there to be shown. */
  readonly withLogin: boolean;
};

/** What is asked for: nobody has it, so that a place that serves says so. */
const absent = 'berth-doctor/none';
const patience = { answerMs: 10_000, progressMs: 10_000 };

/**
 * Asks the registry of this name, and its mirrors, as a pull would that brings no credentials of its own.
 * @throws Fault InvalidArgument for what is no registry's name
 */
export async function checkRegistry(
  host: string,
  settings: WhereSettings & { readonly authFile: string },
): Promise<RegistryAnswer[]> {
  const reference = parseReference(`${host}/${absent}`);
  const auth = await nodeAuth(settings.authFile, reference, settings.hostFiles);
  const memories = new PlaceMemories();
  const endpoints = await placesFor(reference, settings);
  return Promise.all(
    endpoints.map(async (endpoint) => {
      using http = new HttpClient(patience);
      const { authFile, hostFiles = ownFiles } = settings;
      const credentials = await credentialsOf(endpoint, reference, auth, { authFile, hostFiles });
      const logins = new Logins(http, endpoint, credentials, endpoint.repository ?? reference.path);
      const place = new Place({ http, logins, memory: memories.of(endpoint) }, endpoint, reference);
      return {
        base: endpoint.base.href,
        problem: await problemOf(place),
        withLogin: !isEmpty(auth) || credentials.kind !== 'none',
      };
    }),
  );
}

async function problemOf(place: Place): Promise<string | null> {
  try {
    const { body } = await place.get('manifests/latest', { signal: new AbortController().signal, isLast: false });
    body.destroy();
    return null;
  } catch (error) {
    return error instanceof Refused && error.status === 404 ? null : messageOf(error);
  }
}
