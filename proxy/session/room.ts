/**
 * What all sessions of one direction share on a data thread: how policy is found, where stories go, whether the end is
 * near. Made by stack.ts; sessions count themselves in and out, so that a drain knows when nothing is open.
 */
import type { HostPort } from '../../shared/address.ts';
import type { LinkedSnapshot } from '../config/link.ts';
import type { Draining } from '../net/drain.ts';
import type { IoThread } from '../net/io-thread.ts';
import { type Direction, UNKNOWN_SERVICE } from '../telemetry/record.ts';
import { ReplayMemory } from './replay.ts';
import type { Resolver } from './resolve.ts';
import type { Counted, Story } from './story.ts';

export interface Closable {
  /** The sidecar ends: a caller that waits for an answer gets one, what has begun is cut so that nobody takes it for whole. */
  destroy(): void;
  /** A drain has begun: tell the caller where its protocol can. */
  goAway?(): void;
}

/** What outlives a change of policy without asking it again. */
export interface Judged {
  /** This policy is in force now: ends what it does not allow. */
  judgeAgain(snapshot: LinkedSnapshot): void;
}

export interface Reporting extends Closable, Judged {
  /** Tells the metrics what has passed since it did so last. */
  report(): void;
}

export class Room implements Draining {
  readonly io: IoThread;
  readonly direction: Direction;
  readonly story: Story;
  readonly resolver: Resolver;
  /** The snapshot in force; null until the first one. */
  snapshot: LinkedSnapshot | null = null;
  /** Where inbound traffic goes that was sent to the listener itself; null: nowhere. */
  application: HostPort | null = null;
  draining = false;
  readonly replayMemory: ReplayMemory = new ReplayMemory();
  openRequests = 0;
  /** Connections whose protocol is not known yet, and those that speak HTTP or opaque bytes. */
  readonly sniffing: Set<Closable> = new Set<Closable>();
  /** Whose TLS is not done yet. */
  readonly handshakes: Map<object, Closable> = new Map<object, Closable>();
  readonly sessions: Set<Closable> = new Set<Closable>();
  readonly tunnels: Set<Reporting> = new Set<Reporting>();
  /** Requests that were answered with 101: their sessions are tunnels now. */
  readonly upgraded: Set<Judged> = new Set<Judged>();
  /** What requests are counted for whose destination is not known. */
  readonly unplaced: Counted = { service: UNKNOWN_SERVICE, series: new Map() };
  /** Monotonic time at which a connection was last accepted or a request last ended. */
  lastBusyAt: number;

  constructor(io: IoThread, direction: Direction, story: Story, resolver: Resolver) {
    this.io = io;
    this.direction = direction;
    this.story = story;
    this.resolver = resolver;
    this.lastBusyAt = io.clock.now();
  }

  get open(): number {
    return this.sniffing.size + this.handshakes.size + this.sessions.size + this.tunnels.size;
  }

  get busy(): number {
    return this.openRequests + this.tunnels.size;
  }

  /** Answers end their connections from now on, callers are told where their protocol can (CONTRACT, "Drain"). */
  drain(): void {
    this.draining = true;
    for (const session of this.sessions) session.goAway?.();
  }

  /** A snapshot was swapped in: what is opaque carries no requests that it could judge. */
  judgeTunnels(snapshot: LinkedSnapshot): void {
    for (const tunnel of this.tunnels) tunnel.judgeAgain(snapshot);
    for (const exchange of this.upgraded) exchange.judgeAgain(snapshot);
  }

  /** The metrics are about to be read. */
  report(): void {
    for (const tunnel of this.tunnels) tunnel.report();
  }

  /** Ends everything; the last answers are still on their way afterwards. */
  destroyAll(): void {
    this.draining = true;
    const all = [...this.sniffing, ...this.handshakes.values(), ...this.sessions, ...this.tunnels];
    for (const open of all) open.destroy();
  }
}
