/** Where an accepted connection comes from and where it was going, as far as that can be told before its first byte of use. */
import type { HostPort } from '../../shared/address.ts';

export interface Arrival {
  /** Without port; IPv4 in its own form. The far end's, or what a trusted forwarder says of it (PROXY protocol). */
  readonly sourceAddress: string;
  readonly sourcePort: number;
  /** Where a redirected connection was going; null for one that was made to the listener itself. */
  readonly original: HostPort | null;
}
