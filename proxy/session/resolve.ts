/** Where requests and opaque bytes go: outbound by authority and policy, inbound to the own application. */
import type { HostPort } from '../../shared/address.ts';
import { FAILURES, type Failure } from '../../shared/errors.ts';
import type { Destination, LinkedSnapshot } from '../config/link.ts';

/** Stateless but for what it was made with: one per direction and data thread. */
export interface Resolver {
  /** `authority` is canonical, empty for bytes that name none; `original` as the caller's connection has it. */
  destination(snapshot: LinkedSnapshot, authority: string, original: HostPort | null): Destination | Failure;
}

export const OUTBOUND: Resolver = {
  destination: (snapshot, authority) => snapshot.find(authority),
};

/** The application is the one destination, whatever the authority; null without `--app`. */
export function toApplication(application: Destination | null): Resolver {
  return { destination: () => application ?? FAILURES.noApplication };
}
