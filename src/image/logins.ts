import { Fault } from '../base/fault.ts';
import { Authorizer, type Credentials, none } from './auth.ts';
import type { Endpoint } from './hosts.ts';
import type { Hop, HttpClient, Response } from './http.ts';

/** Origins that one endpoint's redirects lead to and that want a token; beyond, the oldest is asked for one again. */
const mostGuests = 16;

/**
 * The logins of one endpoint. What it asks for itself is answered with its credentials. A place that its redirects lead to
 * is a stranger to those: it gets a token of its own that anybody would get, and that is shown to no other place. So a
 * registry behind another's name works (a vanity domain), and a redirect cannot name the service that is told a password.
 */
export class Logins {
  readonly #http: HttpClient;
  readonly #endpoint: Endpoint;
  readonly #scope: string;
  readonly #credentials: Credentials;
  readonly #home: Authorizer;
  readonly #guests = new Map<string, Authorizer>();

  constructor(http: HttpClient, endpoint: Endpoint, credentials: Credentials, repository: string) {
    this.#http = http;
    this.#endpoint = endpoint;
    this.#scope = `repository:${repository}:pull`;
    this.#credentials = credentials;
    this.#home = new Authorizer(http, { at: endpoint.base, endpoint, credentials, scope: this.#scope });
  }

  /** The Authorization header for a hop, or null. */
  header({ url, isHome }: Hop): string | null {
    return (isHome ? this.#home : this.#guests.get(url.origin))?.header ?? null;
  }

  /** What was shown with a request, in words for an error: never a secret. */
  words({ shown, isHome }: Response): string {
    const user = this.#credentials.kind === 'basic' ? `as ${JSON.stringify(this.#credentials.username)}` : null;
    if (shown === null) return 'without credentials';
    if (!isHome || this.#credentials.kind === 'none') return "with anybody's token";
    return user ?? 'with the token of the pull request';
  }

  /**
   * Learns from a 401, so that it is worth asking again. `words`: what that says.
   * @throws Fault Unauthenticated if there is nothing better to offer.
   */
  async learn(response: Response, words: Promise<string>, signal: AbortSignal): Promise<void> {
    const { host } = this.#endpoint.base;
    if (response.isHome) {
      if (await this.#home.learn(response, signal)) return;
      throw new Fault('Unauthenticated', `${host} wants other credentials${await words}`);
    }
    if (await this.#guest(response.url).learn(response, signal)) return;
    const to = `${response.url.host}, which wants credentials${await words}`;
    const why = `${host} redirects to ${to}; those of ${host} are not shown there`;
    throw new Fault('Unauthenticated', `${why}; if they are meant for it, make it the server in hosts.toml`);
  }

  #guest({ origin }: URL): Authorizer {
    const known = this.#guests.get(origin);
    if (known) return known;
    const [oldest] = this.#guests.keys();
    if (this.#guests.size >= mostGuests) this.#guests.delete(oldest!);
    const guarded = { at: new URL(origin), endpoint: null, credentials: none, scope: this.#scope };
    const guest = new Authorizer(this.#http, guarded);
    this.#guests.set(origin, guest);
    return guest;
  }
}
