/**
 * IP addresses, ports and address blocks as text. One spelling per address: IPv4 dotted, IPv6 as in RFC 5952, an
 * IPv4-mapped IPv6 address as its IPv4 address; only then may addresses be compared as strings.
 */

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** `HOST:PORT` or `[IPV6]:PORT`, port 0 to 65535; the host canonical if it is an address. Null for any other text. */
export function parseHostPort(text: string): HostPort | null {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]/\s@]+)):([0-9]{1,5})$/.exec(text);
  if (match === null) return null;
  const port = Number(match[3]);
  if (port > 65_535) return null;
  if (match[1] !== undefined) {
    const host = match[1].includes(':') ? canonicalIp(match[1]) : null;
    return host === null ? null : { host, port };
  }
  const name = match[2] as string;
  if (!/^[0-9.]+$/.test(name)) return { host: name, port };
  const host = canonicalIp(name);
  return host === null ? null : { host, port };
}

export function formatHostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The one spelling of an IP address; null if the text is none (zone identifiers are none). */
export function canonicalIp(text: string): string | null {
  const bytes = parseIp(text);
  return bytes === null ? null : formatIp(bytes);
}

/** 4 or 16 bytes; an IPv4-mapped IPv6 address gives 4. Leading zeros in IPv4 parts are refused: they mean octal to some. */
export function parseIp(text: string): Uint8Array | null {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text);
}

function parseIpv4(text: string): Uint8Array | null {
  const parts = text.split('.');
  if (parts.length !== 4) return null;
  const bytes = new Uint8Array(4);
  for (const [i, part] of parts.entries()) {
    if (!/^(?:0|[1-9][0-9]{0,2})$/.test(part) || Number(part) > 255) return null;
    bytes[i] = Number(part);
  }
  return bytes;
}

function parseIpv6(text: string): Uint8Array | null {
  const halves = text.split('::');
  if (halves.length > 2) return null;
  const head = parseGroups(halves[0] as string, halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1] as string, true) : [];
  if (head === null || tail === null) return null;
  const missing = 16 - head.length - tail.length;
  if (halves.length === 2 ? missing < 2 : missing !== 0) return null;
  const bytes = Uint8Array.from([...head, ...new Array<number>(missing).fill(0), ...tail]);
  return isMapped(bytes) ? bytes.subarray(12) : bytes;
}

/** The bytes of colon-separated groups; the last may be dotted IPv4 where `last` says that the address ends here. */
function parseGroups(text: string, last: boolean): number[] | null {
  const bytes: number[] = [];
  if (text === '') return bytes;
  const groups = text.split(':');
  for (const [i, group] of groups.entries()) {
    if (last && i === groups.length - 1 && group.includes('.')) {
      const dotted = parseIpv4(group);
      if (dotted === null) return null;
      bytes.push(...dotted);
    } else {
      if (!/^[0-9A-Fa-f]{1,4}$/.test(group)) return null;
      const value = Number.parseInt(group, 16);
      bytes.push(value >> 8, value & 0xff);
    }
  }
  return bytes.length > 16 ? null : bytes;
}

function isMapped(bytes: Uint8Array): boolean {
  return bytes[10] === 0xff && bytes[11] === 0xff && bytes.subarray(0, 10).every((byte) => byte === 0);
}

/** Of 4 or 16 bytes; 16 that hold a mapped address are for the caller to tell (`parseIp` does). */
export function formatIp(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups: string[] = [];
  for (let i = 0; i < 16; i += 2) groups.push((((bytes[i] as number) << 8) | (bytes[i + 1] as number)).toString(16));
  const gap = longestZeroRun(groups);
  if (gap.length < 2) return groups.join(':');
  return `${groups.slice(0, gap.start).join(':')}::${groups.slice(gap.start + gap.length).join(':')}`;
}

function longestZeroRun(groups: readonly string[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let start = 0;
  for (let i = 0; i <= groups.length; i++) {
    if (groups[i] === '0') continue;
    if (i - start > best.length) best = { start, length: i - start };
    start = i + 1;
  }
  return best;
}

/** One block of addresses, e.g. `10.0.0.0/8`; a bare address is a block of one. */
export class Cidr {
  readonly network: Uint8Array;
  readonly prefix: number;

  private constructor(network: Uint8Array, prefix: number) {
    this.network = network;
    this.prefix = prefix;
  }

  static parse(text: string): Cidr | null {
    const [address, length, ...rest] = text.split('/');
    const network = parseIp(address as string);
    if (network === null || rest.length > 0) return null;
    const bits = network.length * 8;
    if (length === undefined) return new Cidr(network, bits);
    if (!/^[0-9]{1,3}$/.test(length)) return null;
    // A mapped block such as ::ffff:10.0.0.0/104 counts its bits from the IPv6 start.
    const prefix = Number(length) - ((address as string).includes(':') && bits === 32 ? 96 : 0);
    return prefix >= 0 && prefix <= bits ? new Cidr(network, prefix) : null;
  }

  contains(address: Uint8Array): boolean {
    if (address.length !== this.network.length) return false;
    const whole = this.prefix >> 3;
    for (let i = 0; i < whole; i++) if (address[i] !== this.network[i]) return false;
    const rest = this.prefix & 7;
    if (rest === 0) return true;
    const mask = 0xff & (0xff << (8 - rest));
    return ((address[whole] as number) & mask) === ((this.network[whole] as number) & mask);
  }
}
