/**
 * Whether a request to the admin port really means this machine. A browser sends the name its page came from: if an
 * attacker points that name at 127.0.0.1 (DNS rebinding), only the Host and Origin headers tell.
 */
import { isIP } from 'node:net';

/** A loopback address, also mapped into IPv6. */
export function isLoopback(address: string): boolean {
  const plain = unmapped(address);
  return plain === '::1' || (isIP(plain) === 4 && plain.startsWith('127.'));
}

/** `host` (with or without port) names loopback, or is the very address the connection came to. */
export function isOwnHost(host: string, localAddress: string): boolean {
  const name = withoutPort(host.toLowerCase());
  return name === 'localhost' || isLoopback(name) || (isIP(name) !== 0 && name === unmapped(localAddress));
}

/** The same for `Origin: SCHEME://HOST[:PORT]`; `null` is nobody's. */
export function isOwnOrigin(origin: string, localAddress: string): boolean {
  const url = URL.parse(origin);
  return url !== null && isOwnHost(url.host, localAddress);
}

function withoutPort(host: string): string {
  if (host.startsWith('[')) return host.slice(1, host.indexOf(']'));
  const colon = host.lastIndexOf(':');
  return colon < 0 ? host : host.slice(0, colon);
}

function unmapped(address: string): string {
  return address.toLowerCase().replace(/^::ffff:(?=\d+\.)/, '');
}
