/**
 * The PROXY protocol, versions 1 and 2 (haproxy.org/download/3.0/doc/proxy-protocol.txt): how a load balancer in front
 * says whose connection it passes on. Pure: the bytes so far in, what they say out. Nothing is repaired; whose header is
 * believed is for the caller to decide.
 */
import { canonicalIp, formatIp } from '../../shared/address.ts';

/** Who opened the connection that a forwarder passes on. */
export interface ProxySource {
  readonly address: string;
  readonly port: number;
}

export type ProxyHeader =
  | { readonly state: 'more' }
  | { readonly state: 'malformed'; readonly detail: string }
  /** `length` bytes; `source` is null where the forwarder speaks for itself, or does not know. */
  | { readonly state: 'whole'; readonly length: number; readonly source: ProxySource | null };

const MORE: ProxyHeader = Object.freeze({ state: 'more' });

const TEXT_SIGNATURE = Buffer.from('PROXY ', 'latin1');
const BINARY_SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
/** Section 2.1: the longest line of version 1, its CRLF included. */
const MAX_LINE = 107;
/** Of version 2 behind its 16 fixed bytes. A balancer's own notes (TLVs) take a few hundred bytes, a certificate 2 KB. */
const MAX_BODY = 4096;
const FIXED_BYTES = 16;
const TLV_CRC32C = 0x03;

/** Which version the first bytes announce; `none` as soon as they can announce neither. */
export function proxySignature(bytes: Buffer): 'v1' | 'v2' | 'more' | 'none' {
  if (bytes.length === 0) return 'more';
  const isText = bytes[0] === TEXT_SIGNATURE[0];
  const signature = isText ? TEXT_SIGNATURE : BINARY_SIGNATURE;
  const known = Math.min(bytes.length, signature.length);
  if (bytes.compare(signature, 0, known, 0, known) !== 0) return 'none';
  if (known < signature.length) return 'more';
  return isText ? 'v1' : 'v2';
}

/** The header at the start of `bytes`; there may be more behind it. */
export function readProxyHeader(bytes: Buffer): ProxyHeader {
  const signature = proxySignature(bytes);
  if (signature === 'v1') return readLine(bytes);
  if (signature === 'v2') return readBinary(bytes);
  return signature === 'more' ? MORE : malformed('no signature');
}

function malformed(detail: string): ProxyHeader {
  return { state: 'malformed', detail };
}

// Version 1

function readLine(bytes: Buffer): ProxyHeader {
  const text = bytes.toString('latin1', 0, MAX_LINE);
  const end = text.indexOf('\r\n');
  if (end < 0) return bytes.length >= MAX_LINE ? malformed('v1: no CRLF within 107 bytes') : MORE;
  const length = end + 2;
  const [, family, ...words] = text.slice(0, end).split(' ');
  // What follows it is for nobody (section 2.1).
  if (family === 'UNKNOWN') return { state: 'whole', length, source: null };
  if (family !== 'TCP4' && family !== 'TCP6') return malformed('v1: the family is none of TCP4, TCP6 and UNKNOWN');
  const [source = '', destination = '', port = '', destinationPort = ''] = words;
  const address = canonical(source, family);
  if (words.length !== 4 || address === null || canonical(destination, family) === null) {
    return malformed('v1: bad addresses');
  }
  if (!isPort(port) || !isPort(destinationPort)) return malformed('v1: bad ports');
  return { state: 'whole', length, source: { address, port: Number(port) } };
}

/** IPv4 that is mapped into IPv6 is IPv4, as everywhere. */
function canonical(text: string, family: 'TCP4' | 'TCP6'): string | null {
  return text.includes(':') === (family === 'TCP6') ? canonicalIp(text) : null;
}

function isPort(text: string): boolean {
  return /^(?:0|[1-9][0-9]{0,4})$/.test(text) && Number(text) <= 65_535;
}

// Version 2

/** Bytes of both addresses and both ports, by family and transport; those without any tell nothing to a TCP proxy. */
const ADDRESS_BYTES: ReadonlyMap<number, number> = new Map([
  [0x00, 0],
  [0x11, 12],
  [0x21, 36],
]);

function readBinary(bytes: Buffer): ProxyHeader {
  if (bytes.length < FIXED_BYTES) return MORE;
  const command = bytes[12] as number;
  const family = bytes[13] as number;
  const body = bytes.readUInt16BE(14);
  if (command !== 0x20 && command !== 0x21) return malformed('v2: neither LOCAL nor PROXY of version 2');
  if (body > MAX_BODY) return malformed(`v2: longer than ${MAX_BODY} bytes`);
  const length = FIXED_BYTES + body;
  if (bytes.length < length) return MORE;
  const header = bytes.subarray(0, length);
  if (command === 0x20) return { state: 'whole', length, source: null };
  const addresses = ADDRESS_BYTES.get(family);
  if (addresses === undefined) return malformed('v2: the family is not TCP over IPv4 or IPv6');
  if (body < addresses) return malformed('v2: too short for its addresses');
  const fault = checkNotes(header, FIXED_BYTES + addresses);
  if (fault !== null) return malformed(fault);
  return { state: 'whole', length, source: addresses === 0 ? null : sourceOf(header, addresses) };
}

function sourceOf(header: Buffer, addresses: number): ProxySource | null {
  if (addresses === 12) return { address: formatIp(header.subarray(16, 20)), port: header.readUInt16BE(24) };
  const address = canonical(formatIp(header.subarray(16, 32)), 'TCP6');
  return address === null ? null : { address, port: header.readUInt16BE(48) };
}

/** Type, length, value, one after the other to the end (section 2.2); a checksum among them must be right. */
function checkNotes(header: Buffer, start: number): string | null {
  for (let at = start; at < header.length; ) {
    if (at + 3 > header.length) return 'v2: a cut TLV';
    const end = at + 3 + header.readUInt16BE(at + 1);
    if (end > header.length) return 'v2: a TLV beyond the end';
    if (header[at] === TLV_CRC32C && (end - at !== 7 || header.readUInt32BE(at + 3) !== checksum(header, at + 3))) {
      return 'v2: its checksum is wrong';
    }
    at = end;
  }
  return null;
}

/** CRC-32C over the header with the checksum's own four bytes, at `field`, as zeros (section 2.2.4). */
function checksum(header: Buffer, field: number): number {
  let crc = 0xffff_ffff;
  for (let i = 0; i < header.length; i++) {
    crc ^= i >= field && i < field + 4 ? 0 : (header[i] as number);
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f6_3b78 : 0);
  }
  return ~crc >>> 0;
}
