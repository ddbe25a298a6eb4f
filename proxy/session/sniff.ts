/**
 * What a fresh connection speaks: reads just enough of it, with ordinary `data` events, and stops the flow.
 *
 * A caller that says nothing may be one that waits for a greeting (MySQL, SMTP, SSH). Where it is known whom such bytes
 * would go to, that server is dialled after a moment, and its words decide if they come first; they wait until then. So
 * does the caller's own word, which may still be HTTP. A PROXY protocol header of a trusted forwarder is taken off.
 */
import type { Socket } from 'node:net';
import { FAILURES, type Failure } from '../../shared/errors.ts';
import type { Arrival } from '../net/arrival.ts';
import { Deadline } from '../net/deadline.ts';
import { resetSocket } from '../net/reset-tls.ts';
import type { TurnEnd } from '../net/turns.ts';
import { type Detected, detect, detectServer, MAX_DETECT_BYTES, OPAQUE } from './detect.ts';
import type { OpaqueDial, OpaqueDialEvents } from './opaque-dial.ts';
import { HEAD_TIMEOUT_MS, KEEP_ALIVE_MS } from './phases.ts';
import { readProxyHeader } from './proxy-header.ts';
import type { Closable, Room } from './room.ts';

/** A caller that means to speak first has done so by then, if this thread is not late itself. */
export const SILENCE_MS = 2;
/** The same where a ClientHello of the mesh may be on its way, whose handshake a greeting in clear text would end. */
export const HELLO_SILENCE_MS = 5;
/** Nobody who means to greet takes longer (mail servers hold callers up for half a minute); HTTP servers hold out. */
const GREETING_MS = 45_000;
/** After a dial that failed: a request that is on its way gets its 502, others see the connection closed. */
const LAST_WORD_MS = 1_000;

/** What was found out. The socket is stopped. */
export interface Sniffed {
  /** Everything that was read and belongs to the stream. */
  readonly first: Buffer;
  readonly detected: Detected;
  readonly arrival: Arrival;
  /** A connection that was made for it; whoever gets this uses or cancels it. */
  readonly dial: OpaqueDial | null;
  /** The caller has ended its side. */
  readonly ended: boolean;
}

export interface SniffPlan {
  /** Milliseconds without a byte after which `dial` is asked for; null: never, as long as it may take. */
  readonly silenceMs: number | null;
  /** PROXY headers are read; a peer is who its certificate says, whatever bytes it passes on. */
  readonly mayForward: boolean;
  /** The server that opaque bytes would go to, not started; or why there is none. */
  dial(arrival: Arrival): OpaqueDial | Failure;
  decided(sniffed: Sniffed): void;
}

export function sniff(room: Room, socket: Socket, arrival: Arrival, plan: SniffPlan): void {
  new Sniff(room, socket, arrival, plan).start();
}

const NOTHING = Buffer.alloc(0);

class Sniff implements Closable, TurnEnd, OpaqueDialEvents {
  private readonly room: Room;
  private readonly socket: Socket;
  private readonly plan: SniffPlan;
  private readonly deadline: Deadline;
  private arrival: Arrival;
  private seen: Buffer = NOTHING;
  private isForwarded = false;
  private isDecided = false;
  private dial: OpaqueDial | null = null;
  /** What to do when the time is up. */
  private onTime: () => void = () => {};
  private readonly onData = (chunk: Buffer): void => this.read(chunk);
  private readonly onEnd = (): void => this.ended();
  private readonly onError = (): void => this.cut();
  private readonly onClose = (): void => this.abandon();

  constructor(room: Room, socket: Socket, arrival: Arrival, plan: SniffPlan) {
    this.room = room;
    this.socket = socket;
    this.arrival = arrival;
    this.plan = plan;
    this.deadline = new Deadline(() => this.onTime());
  }

  start(): void {
    const { room, socket } = this;
    room.sniffing.add(this);
    socket.on('data', this.onData).on('end', this.onEnd).on('error', this.onError).on('close', this.onClose);
    this.awaitFirst();
    socket.resume();
  }

  destroy(): void {
    this.socket.destroy();
  }

  /** What had arrived when the silence was over has been read by now, however late this thread is. */
  onTurnEnd(): void {
    if (this.isDecided || this.seen.length > 0 || this.dial !== null || this.socket.destroyed) return;
    const dial = this.plan.dial(this.arrival);
    if ('word' in dial) {
      this.within(KEEP_ALIVE_MS, () => this.destroy());
      return;
    }
    this.dial = dial;
    this.within(GREETING_MS, () => this.noGreeting());
    dial.events = this;
    dial.start();
  }

  // What the server says that was dialled meanwhile

  onConnected(): void {}

  onWords(words: Buffer): void {
    if (this.seen.length > 0) return;
    const kind = detectServer(words);
    if (kind === 'opaque') this.decide(OPAQUE);
    else if (kind === 'http') this.withoutDial();
  }

  onUpstreamEnd(): void {
    // Without us the caller would see it now; one that has begun to speak is heard out first.
    if (this.seen.length === 0) this.decide(OPAQUE);
  }

  onRefused(failure: Failure, detail: string): void {
    this.dial = null;
    if (this.seen.length === 0) this.within(LAST_WORD_MS, () => this.unserved(failure, detail));
  }

  // What the caller says

  private read(chunk: Buffer): void {
    const bytes = this.seen.length === 0 ? chunk : Buffer.concat([this.seen, chunk]);
    const detected = detect(bytes);
    if (detected.protocol === 'proxy') {
      if (this.room.direction === 'outbound') this.decideWith(bytes, OPAQUE);
      else this.readForwarded(bytes);
    } else if (detected.protocol !== 'more') {
      this.decideWith(bytes, detected);
    } else if (bytes.length >= MAX_DETECT_BYTES) {
      this.decideWith(bytes, OPAQUE);
    } else {
      this.awaitMore(bytes);
    }
  }

  private readForwarded(bytes: Buffer): void {
    const { arrival, room } = this;
    if (!this.plan.mayForward) {
      this.refuse(FAILURES.proxyProtocolRefused, 'a mesh peer is who its certificate says');
    } else if (this.isForwarded) {
      this.refuse(FAILURES.proxyProtocolMalformed, 'a second header');
    } else if (room.snapshot?.trustsForwarder(arrival.sourceAddress) !== true) {
      this.refuse(FAILURES.proxyProtocolRefused, 'not a trusted forwarder');
    } else {
      const header = readProxyHeader(bytes);
      if (header.state === 'more') this.awaitMore(bytes);
      else if (header.state === 'malformed') this.refuse(FAILURES.proxyProtocolMalformed, header.detail);
      else this.goOnFor(header.source, bytes.subarray(header.length));
    }
  }

  /** The header is off: what follows is the stream of another caller. */
  private goOnFor(source: { readonly address: string; readonly port: number } | null, rest: Buffer): void {
    const { arrival } = this;
    // A connection that was made for the forwarder itself may be one that its caller must not have.
    this.dial?.cancel();
    this.dial = null;
    this.isForwarded = true;
    this.seen = NOTHING;
    if (source !== null)
      this.arrival = { sourceAddress: source.address, sourcePort: source.port, original: arrival.original };
    if (rest.length > 0) this.read(rest);
    else this.awaitFirst();
  }

  private ended(): void {
    // It has said all it has to say, and that is no request; its server may still have something to say.
    if (this.plan.silenceMs === null) this.destroy();
    else if (detect(this.seen).protocol === 'proxy') this.refuse(FAILURES.proxyProtocolMalformed, 'cut off');
    else this.decide(OPAQUE, true);
  }

  private decideWith(bytes: Buffer, detected: Detected): void {
    this.seen = bytes;
    this.decide(detected);
  }

  private decide(detected: Detected, ended = false): void {
    const { socket, arrival, seen: first } = this;
    const { protocol } = detected;
    // HTTP goes the way of HTTP: over its routes, its policies and its pools.
    if (protocol === 'h1' || protocol === 'h2') this.dial?.cancel();
    const dial = protocol === 'h1' || protocol === 'h2' ? null : this.dial;
    this.leave();
    this.dial = null;
    socket.pause();
    this.plan.decided({ first, detected, arrival, dial, ended });
  }

  private leave(): void {
    const { socket } = this;
    this.isDecided = true;
    this.deadline.clear();
    this.room.sniffing.delete(this);
    socket.off('data', this.onData).off('end', this.onEnd).off('error', this.onError).off('close', this.onClose);
  }

  private cut(): void {
    this.dial?.abort();
    this.dial = null;
    this.destroy();
  }

  private abandon(): void {
    this.dial?.cancel();
    this.dial = null;
    this.leave();
  }

  // Time

  private awaitFirst(): void {
    const { silenceMs } = this.plan;
    if (silenceMs === null) this.within(KEEP_ALIVE_MS, () => this.destroy());
    else if (silenceMs === 0) this.room.io.turns.add(this);
    else this.within(silenceMs, () => this.room.io.turns.add(this));
  }

  private awaitMore(bytes: Buffer): void {
    if (this.seen.length === 0) {
      const late = (): void => this.refuse(FAILURES.headTimeout, 'the first bytes do not tell a protocol');
      this.within(HEAD_TIMEOUT_MS, late);
    }
    this.seen = bytes;
  }

  private noGreeting(): void {
    // It has said something, but too little to tell what.
    if (this.dial?.hasSpoken === true) this.decide(OPAQUE);
    else this.withoutDial();
  }

  /** It is the caller's turn to speak, if it takes the rest of the hour. */
  private withoutDial(): void {
    this.dial?.cancel();
    this.dial = null;
    this.within(KEEP_ALIVE_MS - GREETING_MS, () => this.destroy());
  }

  private within(ms: number, onTime: () => void): void {
    this.onTime = onTime;
    this.room.io.deadlines.set(this.deadline, ms);
  }

  /** Without us it would have been refused; an orderly end would look like an empty answer. */
  private unserved(failure: Failure, detail: string): void {
    this.tellRefusal(failure, detail);
    resetSocket(this.socket);
  }

  private refuse(failure: Failure, detail: string): void {
    this.tellRefusal(failure, detail);
    this.destroy();
  }

  private tellRefusal(failure: Failure, detail: string): void {
    const { room, arrival } = this;
    room.story.refusedConnection(room.direction, failure, detail, arrival.sourceAddress);
  }
}
