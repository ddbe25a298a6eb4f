/** Where requests and opaque bytes go: outbound by address, authority and policy; inbound to the own application. */
import type { HostPort } from '../../shared/address.ts';
import { FAILURES, type Failure } from '../../shared/errors.ts';
import type { Destination, LinkedSnapshot } from '../config/link.ts';

/** One per direction and data thread. */
export interface Resolver {
  /** `authority` is canonical, empty for bytes that name none; `original` as the caller's connection has it. */
  destination(snapshot: LinkedSnapshot, authority: string, original: HostPort | null): Destination | Failure;
}

export const OUTBOUND: Resolver = {
  destination: (snapshot, authority, original) =>
    original === null ? snapshot.find(authority) : snapshot.findRedirected(original, authority),
};

/** How the application is reached at one of its own addresses. */
export type Deliver = (original: HostPort, snapshot: LinkedSnapshot) => Destination;

/**
 * The own application, whatever the authority: a redirected connection goes on to where it was going, which must be an
 * address of this host; others go to `application`, null without `--app`.
 */
export class ToApplication implements Resolver {
  private readonly application: Destination | null;
  private readonly isLocal: (host: string) => boolean;
  private readonly deliver: Deliver;
  // What was asked last: most applications serve on one port.
  private original: HostPort | null = null;
  private snapshot: LinkedSnapshot | null = null;
  private delivery: Destination | null = null;

  constructor(application: Destination | null, isLocal: (host: string) => boolean, deliver: Deliver) {
    this.application = application;
    this.isLocal = isLocal;
    this.deliver = deliver;
  }

  destination(snapshot: LinkedSnapshot, _authority: string, original: HostPort | null): Destination | Failure {
    if (original === null) return this.application ?? FAILURES.noApplication;
    if (this.delivery !== null && this.snapshot === snapshot && isSame(original, this.original)) return this.delivery;
    if (!this.isLocal(original.host)) return FAILURES.notLocal;
    this.original = original;
    this.snapshot = snapshot;
    this.delivery = this.deliver(original, snapshot);
    return this.delivery;
  }
}

function isSame(a: HostPort, b: HostPort | null): boolean {
  return b !== null && a.port === b.port && a.host === b.host;
}
