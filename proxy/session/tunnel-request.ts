/** CONNECT: a 2xx when the upstream is there, opaque bytes after it; a refusal as for any request otherwise. */
import { FAILURES, type Failure } from '../../shared/errors.ts';
import type { LinkedSnapshot } from '../config/link.ts';
import { responseHead } from '../http/h1-writer.ts';
import type { RequestHead } from '../http/message.ts';
import type { Transport } from '../net/transport.ts';
import type { Caller } from './caller.ts';
import { Lingering } from './linger.ts';
import { OpaqueConnection } from './opaque.ts';
import { refusal } from './reply.ts';
import type { Room } from './room.ts';

const ESTABLISHED = 'HTTP/1.1 200 Connection Established\r\n\r\n';

/** Takes the transport over; its parser must not be fed any more. */
export function openTunnel(
  room: Room,
  snapshot: LinkedSnapshot,
  caller: Caller,
  transport: Transport,
  head: RequestHead,
): void {
  const refuse = (failure: Failure, detail: string): void => {
    const reply = refusal(failure, detail);
    const framing = { version: head.version, close: true, keepAlive10: false, requestMethod: head.method };
    transport.text(responseHead(reply.head, reply.body.length, framing));
    transport.bytes(reply.body, 0, reply.body.length);
    new Lingering(room.io, transport);
  };
  const target =
    caller.direction === 'inbound' ? FAILURES.noRoute : room.resolver.destination(snapshot, head.authority, null);
  if ('word' in target) {
    room.story.refused(target);
    refuse(target, '');
    return;
  }
  new OpaqueConnection(room, caller, transport, head.authority, target, {
    onOpen: () => transport.text(ESTABLISHED),
    onRefused: refuse,
  });
}
