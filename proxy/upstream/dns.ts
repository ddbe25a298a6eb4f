/** Asks DNS for a name as the host is set up to: its servers, then whatever else it knows names by (its hosts file). */
import { lookup, NODATA, NOTFOUND, Resolver } from 'node:dns/promises';
import { canonicalIp } from '../../shared/address.ts';
import type { AskName, NameAnswer } from './names.ts';

/** Milliseconds for one server, and how often each is tried. */
const TIMEOUT_MS = 2_000;
const TRIES = 2;

/**
 * IPv6 addresses only of names that have no others: a pod may have no way to them. `servers` (`address:port`) instead of
 * those of the host.
 */
export function dnsQuestions(servers?: readonly string[]): AskName {
  const resolver = new Resolver({ timeout: TIMEOUT_MS, tries: TRIES });
  if (servers !== undefined) resolver.setServers(servers);
  // One at a time: each holds one of the four threads that this process reads its files with.
  let host: Promise<readonly NameAnswer[]> = Promise.resolve([]);
  return async (name) => {
    const v4 = await unlessAbsent(resolver.resolve4(name, { ttl: true }));
    const found = v4.length > 0 ? v4 : await unlessAbsent(resolver.resolve6(name, { ttl: true }));
    if (found.length > 0) return found.map(({ address, ttl }) => answer(address, ttl));
    const asked = host.catch(() => []).then(() => askHost(name));
    host = asked;
    return asked;
  };
}

async function askHost(name: string): Promise<NameAnswer[]> {
  const known = await lookup(name, { all: true, order: 'ipv4first' });
  const family = known[0]?.family;
  return known.filter((each) => each.family === family).map(({ address }) => answer(address, 0));
}

/** A server that says "there is none" has answered; one that cannot be reached has not. */
async function unlessAbsent<T>(records: Promise<T[]>): Promise<T[]> {
  try {
    return await records;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === NOTFOUND || code === NODATA) return [];
    throw error;
  }
}

function answer(address: string, ttlSeconds: number): NameAnswer {
  return { address: canonicalIp(address) ?? address, ttlSeconds };
}
