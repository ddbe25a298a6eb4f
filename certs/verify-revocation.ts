/**
 * Which certificates a set of revocation lists names (RFC 5280 section 5). During a handshake OpenSSL asks the lists and
 * checks their signatures and dates; this is for connections that are open already when a list arrives.
 */
import type { X509Certificate } from 'node:crypto';
import { DerReader, INTEGER, SEQUENCE } from './verify-der.ts';

/** The explicit `[0]` that holds a certificate's version. */
const VERSION = 0xa0;
const UTC_TIME = 0x17;
const GENERALIZED_TIME = 0x18;

export class Revocations {
  /** Issuer and serial number as they stand in DER, hex. */
  private readonly named = new Set<string>();

  /** Each list in PEM, as OpenSSL has parsed it already. Throws RangeError for what is no list. */
  constructor(lists: readonly string[]) {
    for (const list of lists) this.add(Buffer.from(list.replaceAll(/-----[^-]+-----/g, ''), 'base64'));
  }

  names(certificate: X509Certificate): boolean {
    return this.named.size > 0 && this.named.has(keyOf(certificate));
  }

  /** Does this name a certificate that `other` does not? */
  exceeds(other: Revocations): boolean {
    return !this.named.isSubsetOf(other.named);
  }

  private add(der: Uint8Array): void {
    const list = new DerReader(der).enter(SEQUENCE).enter(SEQUENCE);
    let algorithm = list.next();
    if (algorithm.tag === INTEGER) algorithm = list.next();
    if (algorithm.tag !== SEQUENCE) throw new RangeError('a revocation list without an algorithm');
    const issuer = hex(list.raw());
    while (!list.done()) {
      const field = list.next();
      if (field.tag === UTC_TIME || field.tag === GENERALIZED_TIME) continue;
      // The extensions follow, where the list names nobody.
      if (field.tag !== SEQUENCE) return;
      while (!field.content.done()) {
        const serial = field.content.enter(SEQUENCE).enter(INTEGER);
        this.named.add(`${issuer} ${hex(serial.rest())}`);
      }
    }
  }
}

function keyOf(certificate: X509Certificate): string {
  const tbs = new DerReader(certificate.raw).enter(SEQUENCE).enter(SEQUENCE);
  let serial = tbs.next();
  if (serial.tag === VERSION) serial = tbs.next();
  tbs.next();
  return `${hex(tbs.raw())} ${hex(serial.content.rest())}`;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
