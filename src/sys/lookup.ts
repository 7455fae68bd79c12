import { isIP } from 'node:net';
import { Fault, messageOf } from '../base/fault.ts';
import { loadAddon } from './addon.ts';

type LookupAddon = { lookup(name: string): Promise<string[]> };

const native = loadAddon<LookupAddon>();
/** Each is a thread; a name whose servers do not answer holds one for some 10 to 30 s (resolv.conf(5), timeout and attempts). */
const mostAtOnce = 64;
const underWay = new Map<string, Promise<readonly string[]>>();

/**
 * The addresses of a name as the host's resolver gives them (files, DNS and whatever nsswitch.conf(5) names), the best
 * first (RFC 6724). Slow names hold up nobody but who asks for them; equal ones are asked for once at a time.
 * @throws Fault Unavailable with the resolver's own words.
 */
export async function lookup(name: string): Promise<readonly string[]> {
  if (isIP(name)) return [name];
  const same = underWay.get(name);
  if (same) return same;
  if (underWay.size >= mostAtOnce) {
    const some = [...underWay.keys()].slice(0, 3).join(', ');
    throw new Fault('Unavailable', `Cannot look up ${name}: ${mostAtOnce} names are being looked up (${some}, ...)`);
  }
  const work = lookupNow(name).finally(() => underWay.delete(name));
  underWay.set(name, work);
  return work;
}

async function lookupNow(name: string): Promise<readonly string[]> {
  try {
    return await native.lookup(name);
  } catch (error) {
    throw new Fault('Unavailable', `Cannot look up ${name}: ${messageOf(error)}`, { cause: error });
  }
}
