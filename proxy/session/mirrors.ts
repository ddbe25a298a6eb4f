/**
 * Copies of a request to further clusters (RequestMirror): sent through their ordinary pools and limits, answers read by
 * nobody. A copy that is in any way in trouble is dropped; nothing of it reaches the request or its caller.
 */

import { FAILURES } from '../../shared/errors.ts';
import type { Backend, Mirror, Route } from '../config/link.ts';
import { Fields, RequestHead } from '../http/message.ts';
import type { Caller } from './caller.ts';
import { Forward } from './forward.ts';
import type { AttemptRules, ForwardHost } from './forward-host.ts';
import type { Room } from './room.ts';

/** A copy ends by then, whatever its upstream does. */
const MIRROR_TIMEOUT_MS = 15_000;

/**
 * null where neither the route nor the backend that was chosen mirrors, the dice say no for every mirror, or the request
 * is no message that can be copied.
 */
export function startMirrors(
  room: Room,
  route: Route,
  backend: Backend | null,
  head: RequestHead,
  caller: Caller,
): Mirrors | null {
  const ofBackend = backend === null ? null : backend.mirrors;
  if (route.mirrors === null && ofBackend === null) return null;
  if (head.upgrade !== null || head.method === 'CONNECT') return null;
  const all = [...(route.mirrors ?? NONE), ...(ofBackend ?? NONE)];
  const chosen = all.filter(({ share }) => share >= 1 || room.io.random.float() < share);
  return chosen.length === 0 ? null : new Mirrors(room, route, chosen, head, caller);
}

const NONE: readonly Mirror[] = [];

export class Mirrors {
  private readonly copies: Copy[];

  constructor(room: Room, { retryPolicy }: Route, mirrors: readonly Mirror[], head: RequestHead, caller: Caller) {
    const rules = { attemptTimeoutMs: MIRROR_TIMEOUT_MS, retries: 0, retryPolicy };
    this.copies = mirrors.map((mirror) => new Copy(room, rules, mirror, twin(head), caller.sourceAddress));
  }

  sendBytes(bytes: Buffer, start: number, end: number): void {
    for (const copy of this.copies) copy.sendBytes(bytes, start, end);
  }

  sendEnd(trailers: Fields | null): void {
    for (const copy of this.copies) copy.sendEnd(trailers);
  }

  /** The request is over; a copy of half a request is no use to anybody. */
  callerDone(whole: boolean): void {
    if (!whole) for (const copy of this.copies) copy.drop();
  }
}

class Copy implements ForwardHost {
  private forward: Forward | null;

  constructor(room: Room, rules: AttemptRules, { cluster }: Mirror, head: RequestHead, sourceAddress: string) {
    const forward = new Forward(room, this, cluster, head, rules);
    if (cluster.hash !== null) forward.hash = cluster.hash.of(head, sourceAddress);
    this.forward = forward;
    if (forward.start() !== null) this.forward = null;
  }

  sendBytes(bytes: Buffer, start: number, end: number): void {
    // It cannot keep up with the request: rather no copy than one that holds memory or the caller.
    if (this.forward?.sendBytes(bytes, start, end) === true) this.drop();
  }

  sendEnd(trailers: Fields | null): void {
    this.forward?.sendEnd(trailers);
  }

  drop(): void {
    const { forward } = this;
    this.forward = null;
    forward?.cancel(FAILURES.clientGone);
  }

  attemptLines(): string {
    return '';
  }

  onAttemptEnd(): void {}

  onInterim(): void {}

  onHead(): void {}

  onBytes(): void {}

  onEnd(): void {
    this.forward = null;
  }

  onFailed(): void {
    this.forward = null;
  }

  onCongested(): void {
    this.drop();
  }

  onWritable(): void {}
}

/** Policies of the backend may still change the request's own head. */
function twin(head: RequestHead): RequestHead {
  const { method, scheme, authority, path, length, version, close, acceptsTrailers } = head;
  const fields = head.fields.copy();
  const copy = new RequestHead(
    method,
    scheme,
    authority,
    path,
    fields,
    length,
    version,
    close,
    false,
    acceptsTrailers,
    null,
  );
  copy.origin = head.origin;
  copy.trailersMayFollow = head.trailersMayFollow;
  return copy;
}
