/** Where a test connection must be captured on its way to, by what is to be captured and which addresses the pod has. */
import { Cidr, formatIp, parseIp } from '../../shared/address.ts';
import type { Redirect } from './options.ts';
import { DNS_PORT } from './rules.ts';

export interface Target {
  readonly family: 4 | 6;
  readonly host: string;
  readonly port: number;
}

/** Addresses for documentation (RFC 5737, RFC 3849): nobody has them, and a default route leads there. */
const NOWHERE: Readonly<Record<4 | 6, string>> = { 4: '192.0.2.1', 6: '2001:db8::1' };
/** Nothing listens there by custom; those that follow it are tried where it is left alone. */
const FIRST_PORT = 15_002;

/**
 * The addresses worth trying of one family, best first; none where nothing of it is captured. `own` are the pod's
 * addresses: their neighbours have a route where there is no default one.
 */
export function targetsOf(redirect: Redirect, family: 4 | 6, own: readonly string[]): Target[] {
  const { includeOutboundIPRanges: include, excludeOutboundIPRanges: exclude } = redirect;
  const reachable = [NOWHERE[family], ...own.map(neighbour)].filter((host) => !within(host, exclude));
  const at = (hosts: readonly string[], port: number): Target[] => hosts.map((host) => ({ family, host, port }));
  if (include === '*') return at(reachable, freePort(redirect));
  const included = include.filter((range) => sameFamily(range, family)).map(firstOf);
  const ranged = included.filter((host) => !within(host, exclude) && !own.includes(host));
  const port = redirect.includeOutboundPorts.find((each) => !leftAlone(redirect, each));
  return [...at(ranged, freePort(redirect)), ...(port === undefined ? [] : at(reachable, port))];
}

function freePort(redirect: Redirect): number {
  let port = FIRST_PORT;
  while (leftAlone(redirect, port)) port++;
  return port;
}

function leftAlone({ excludeOutboundPorts }: Redirect, port: number): boolean {
  return port === DNS_PORT || excludeOutboundPorts.includes(port);
}

function sameFamily(text: string, family: 4 | 6): boolean {
  return text.includes(':') === (family === 6);
}

function within(host: string, ranges: readonly string[]): boolean {
  const bytes = parseIp(host);
  return bytes !== null && ranges.some((range) => Cidr.parse(range)?.contains(bytes) === true);
}

/** The next address or the one before: in the same network unless that is of one address. */
function neighbour(address: string): string {
  return changed(address, (last) => last ^ 1);
}

/** The first address of a block that is no network address. */
function firstOf(range: string): string {
  const [address, bits] = range.split('/') as [string, string];
  const whole = address.includes(':') ? 128 : 32;
  return Number(bits) >= whole - 1 ? address : changed(address, (last) => last | 1);
}

function changed(address: string, change: (last: number) => number): string {
  const bytes = Uint8Array.from(parseIp(address) ?? []);
  const at = bytes.length - 1;
  bytes[at] = change(bytes[at] ?? 0);
  return formatIp(bytes);
}
