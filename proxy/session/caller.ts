/** Who opened a downstream connection, as far as it is verified; fixed for the connection's life. */
import { isIPv4 } from 'node:net';
import type { HostPort } from '../../shared/address.ts';
import type { Direction } from '../telemetry/record.ts';

export interface Caller {
  readonly direction: Direction;
  /** Verified SPIFFE ID, empty without mutual TLS. */
  readonly principal: string;
  /** SHA-256 of the verified certificate, hex; empty without. */
  readonly certificateHash: string;
  /** Address without port; IPv4 in its own form on dual-stack listeners too. */
  readonly sourceAddress: string;
  readonly sourcePort: number;
  /** Its forwarding headers are believed (CONTRACT, "What a caller sees"). */
  readonly trusted: boolean;
  readonly encrypted: boolean;
  /** Where a redirected connection was going; null for one that was opened to the listener itself. */
  readonly original: HostPort | null;
}

const MAPPED = '::ffff:';

/** `::ffff:10.0.0.1`, as dual-stack sockets say it, is 10.0.0.1. */
export function plainAddress(address: string | undefined): string {
  if (address === undefined) return '';
  const tail = address.startsWith(MAPPED) ? address.slice(MAPPED.length) : '';
  return isIPv4(tail) ? tail : address;
}
