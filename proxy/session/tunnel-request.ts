/**
 * CONNECT: a 2xx when the upstream is there, opaque bytes after it; a refusal as for any request otherwise. One that was on
 * its way to a proxy of the application's choice goes there, behind other requests on its connection, too.
 */
import { FAILURES, type Failure } from '../../shared/errors.ts';
import type { Destination, LinkedSnapshot } from '../config/link.ts';
import { requestHead, responseHead } from '../http/h1-writer.ts';
import type { RequestHead } from '../http/message.ts';
import type { Transport } from '../net/transport.ts';
import { asksForHello, denialOf, opaqueTarget, type Refused } from './admission.ts';
import type { Caller } from './caller.ts';
import { Lingering } from './linger.ts';
import { OpaqueConnection } from './opaque.ts';
import { OpaqueDial } from './opaque-dial.ts';
import { refusal } from './reply.ts';
import type { Room } from './room.ts';
import { TunnelHello } from './tunnel-hello.ts';

const ESTABLISHED = 'HTTP/1.1 200 Connection Established\r\n\r\n';
/** To the own application a caller's sidecar brings the bytes of a tunnel, not the request for it. */
const NO_TUNNEL = 'CONNECT is served by the outbound listener alone (a proxy behind the inbound one needs a tcp port)';

/** Takes the transport over; its parser must not be fed any more. */
export function openTunnel(
  room: Room,
  snapshot: LinkedSnapshot,
  caller: Caller,
  transport: Transport,
  head: RequestHead,
): void {
  const refuse = (failure: Failure, detail: string): void => refuseTunnel(room, transport, head, failure, detail);
  const isForProxy = caller.direction === 'outbound' && caller.original !== null;
  const target = targetOf(room, snapshot, caller, isForProxy ? '' : head.authority);
  if ('failure' in target) {
    room.story.refused(target.failure);
    refuse(target.failure, target.detail);
    return;
  }
  if (asksForHello(target) && !isForProxy) {
    openFirst(room, caller, transport, head.authority, target);
    return;
  }
  const routed = opaqueTarget(room, target, null);
  if ('word' in routed) {
    room.story.refused(routed);
    refuse(routed, '');
    return;
  }
  const dial = new OpaqueDial(room.io, routed, caller.sourceAddress);
  const onOpen = (): void => {
    if (!isForProxy) transport.text(ESTABLISHED);
  };
  new OpaqueConnection(room, caller, transport, head.authority, dial, { onOpen, onRefused: refuse });
  if (!isForProxy) return;
  const asked = Buffer.from(requestHead(head, 0, ''), 'latin1');
  transport.owner.onBytes(asked, 0, asked.length);
}

function targetOf(room: Room, snapshot: LinkedSnapshot, caller: Caller, authority: string): Destination | Refused {
  const denial = denialOf(room, snapshot, caller);
  if (denial !== null) return denial;
  if (caller.direction === 'inbound') return { failure: FAILURES.noRoute, detail: NO_TUNNEL };
  const target = room.resolver.destination(snapshot, authority, authority === '' ? caller.original : null);
  return 'word' in target ? { failure: target, detail: '' } : target;
}

/** Where it goes depends on its first bytes, which come only when the caller believes that there is a tunnel. */
function openFirst(room: Room, caller: Caller, transport: Transport, authority: string, target: Destination): void {
  transport.text(ESTABLISHED);
  new TunnelHello(room, transport, (serverName) => {
    const routed = opaqueTarget(room, target, serverName);
    if ('word' in routed) {
      const asked = serverName === null ? 'no ClientHello came' : `its ClientHello asks for "${serverName}"`;
      room.story.refusedConnection(caller.direction, routed, `${authority}: ${asked}`, caller.sourceAddress);
      transport.destroy();
      return;
    }
    const dial = new OpaqueDial(room.io, routed, caller.sourceAddress);
    dial.passesTls = serverName !== null;
    const onRefused = (): void => transport.destroy();
    new OpaqueConnection(room, caller, transport, authority, dial, { onOpen() {}, onRefused });
  });
}

function refuseTunnel(room: Room, transport: Transport, head: RequestHead, failure: Failure, detail: string): void {
  const reply = refusal(failure, detail);
  const framing = { version: head.version, close: true, keepAlive10: false, requestMethod: head.method };
  transport.text(responseHead(reply.head, reply.body.length, framing));
  transport.bytes(reply.body, 0, reply.body.length);
  new Lingering(room.io, transport);
}
