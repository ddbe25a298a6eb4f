/** Who may come in, and where the bytes of those go that may: asked once per connection, or per request. */
import type { HostPort } from '../../shared/address.ts';
import { FAILURES, type Failure } from '../../shared/errors.ts';
import type { Destination, LinkedSnapshot } from '../config/link.ts';
import type { Caller } from './caller.ts';
import type { Room } from './room.ts';

/** A destination, or why there is none. */
export interface Refused {
  readonly failure: Failure;
  readonly detail: string;
}

const NOWHERE: HostPort = { host: '', port: 0 };

/**
 * Why this caller may not speak to the own application (AuthorizationPolicy); null if it may. What goes out is judged at
 * its far end.
 */
export function denialOf(room: Room, snapshot: LinkedSnapshot, caller: Caller): string | null {
  const { authorization } = snapshot;
  if (authorization === null || caller.direction === 'outbound') return null;
  const verdict = authorization.judge(caller, caller.original ?? room.application ?? NOWHERE);
  return verdict.admitted ? null : verdict.why;
}

/** Where a request goes. Who is not let in learns nothing of what is there. */
export function destinationOf(
  room: Room,
  snapshot: LinkedSnapshot,
  caller: Caller,
  authority: string,
): Destination | Refused {
  const denial = denialOf(room, snapshot, caller);
  if (denial !== null) return { failure: FAILURES.denied, detail: denial };
  const destination = room.resolver.destination(snapshot, authority, caller.original);
  return 'word' in destination ? { failure: destination, detail: '' } : destination;
}

/** Must the first bytes of a stream have been seen before it is known where they go, or in what? */
export function asksForHello({ connections, cluster }: Destination): boolean {
  return connections?.readsServerName === true || cluster.spec.backendTls !== null;
}

/**
 * Where opaque bytes to a destination go, by its TLSRoutes or TCPRoute. `serverName` of the application's own ClientHello;
 * null where they are no TLS.
 */
export function opaqueTarget(room: Room, target: Destination, serverName: string | null): Destination | Failure {
  const { connections } = target;
  if (connections === null) return target;
  const cluster = connections.choose(serverName, room.io.random.float());
  return 'word' in cluster ? cluster : { ...target, cluster };
}
