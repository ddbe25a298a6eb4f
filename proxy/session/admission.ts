/** Who may come in, and where the bytes of those go that may: asked once per connection, or per request. */
import { formatHostPort, type HostPort } from '../../shared/address.ts';
import { FAILURES, type Failure } from '../../shared/errors.ts';
import type { Destination, LinkedSnapshot } from '../config/link.ts';
import type { MtlsMode } from '../config/snapshot.ts';
import type { RequestHead } from '../http/message.ts';
import { UNKNOWN_SERVICE } from '../telemetry/record.ts';
import type { Caller } from './caller.ts';
import type { Room } from './room.ts';

/** A destination, or why there is none. */
export interface Refused {
  readonly failure: Failure;
  readonly detail: string;
}

const NOWHERE: HostPort = { host: '', port: 0 };

const PLAINTEXT: Refused = { failure: FAILURES.plaintextRefused, detail: 'the connection is older than this policy' };

/** What who calls the own application must speak (PeerAuthentication); `original` as in Caller. */
export function modeOf(room: Room, snapshot: LinkedSnapshot, original: HostPort | null): MtlsMode {
  const { inbound } = snapshot.snapshot;
  return inbound.portModes[calledAddress(room, original).port] ?? inbound.mode;
}

function calledAddress(room: Room, original: HostPort | null): HostPort {
  return original ?? room.application ?? NOWHERE;
}

/**
 * Why this caller may not speak to the own application (PeerAuthentication, AuthorizationPolicy); null if it may. What
 * goes out is judged at its far end.
 */
export function denialOf(room: Room, snapshot: LinkedSnapshot, caller: Caller): Refused | null {
  if (caller.direction === 'outbound') return null;
  if (!caller.encrypted && modeOf(room, snapshot, caller.original) === 'STRICT') return PLAINTEXT;
  const { authorization } = snapshot;
  if (authorization === null) return null;
  const verdict = authorization.judge(caller, calledAddress(room, caller.original));
  return verdict.admitted ? null : { failure: FAILURES.denied, detail: verdict.why };
}

/** Where a request goes. Who is not let in learns nothing of what is there. */
export function destinationOf(
  room: Room,
  snapshot: LinkedSnapshot,
  caller: Caller,
  authority: string,
): Destination | Refused {
  const denial = denialOf(room, snapshot, caller);
  if (denial !== null) return denial;
  const destination = room.resolver.destination(snapshot, authority, caller.original);
  return 'word' in destination ? { failure: destination, detail: '' } : destination;
}

/**
 * HTTP/1.0 goes without Host, HTTP/1.1 and the hop between sidecars do not: who asked for nobody by name is taken to mean
 * what it was connected to (RFC 9112 section 3.3).
 */
export function nameHost(room: Room, head: RequestHead, { service }: Destination, original: HostPort | null): void {
  const address = calledAddress(room, original);
  head.authority = service === UNKNOWN_SERVICE ? formatHostPort(address.host, address.port) : service.host;
  head.fields.append('Host', head.authority);
}

/**
 * Does a target in absolute form go on as it came? Only what the application was sending to a proxy of its own choice,
 * unknown to the mesh: who sends it to our own listener means us.
 */
export function keepsAbsolute({ direction, original }: Caller, { service }: Destination): boolean {
  return direction === 'outbound' && original !== null && service === UNKNOWN_SERVICE;
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
