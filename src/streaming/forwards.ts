import type { Duplex } from 'node:stream';
import { Fault } from '../base/fault.ts';
import type { ForwardRequest } from './requests.ts';

/** Connections into pods at once, each a descriptor and some 20 kB of the daemon's; and those of one client's connection. */
const mostOfAll = 4096;
const mostOfOne = 1024;

/** Counts what is forwarded: whoever may forward a port could else take every descriptor that the daemon may have. */
export class Forwards {
  readonly #most: number;
  #open = 0;

  constructor(most = mostOfAll) {
    this.#most = most;
  }

  /** The request of one client; its `connect` throws Fault ResourceExhausted where there are too many. */
  counted(request: ForwardRequest, most = mostOfOne): ForwardRequest {
    let own = 0;
    const count = (by: number) => {
      own += by;
      this.#open += by;
    };
    const connect = async (port: number): Promise<Duplex> => {
      if (own >= most) throw tooMany(`this client has ${own} connections`);
      if (this.#open >= this.#most) throw tooMany(`${this.#open} connections are forwarded`);
      count(1);
      try {
        const connection = await request.connect(port);
        connection.once('close', () => count(-1));
        return connection;
      } catch (error) {
        count(-1);
        throw error;
      }
    };
    return { ...request, connect };
  }
}

const tooMany = (what: string) => new Fault('ResourceExhausted', `${what}: end some of them`);
