/**
 * What every connection of one data thread shares: its clock and deadlines, the write buffer, randomness, and the
 * identity in force. Made once by worker.ts and handed down; nothing in it is global.
 */
import type { TLSSocket } from 'node:tls';
import type { TrustSettings } from '../../certs/verify.ts';
import type { Clock } from '../../shared/clock.ts';
import { DEFAULT_HTTP2_WINDOWS, type Http2Windows } from '../../shared/http2-windows.ts';
import type { Random } from '../../shared/random.ts';
import { Deadlines } from './deadline.ts';
import { FreedMemory } from './freed-memory.ts';
import type { MeshPeer, MeshTls } from './mesh-tls.ts';
import { MeshTrust } from './mesh-trust.ts';
import { Outbox } from './outbox.ts';
import { Overload } from './overload.ts';
import type { Transport } from './transport.ts';
import { Turns } from './turns.ts';

/** What is under way when its peer loses our trust may finish in this time. */
const UNTRUSTED_GRACE_MS = 5_000;

export class IoThread {
  readonly clock: Clock;
  readonly random: Random;
  readonly deadlines: Deadlines;
  readonly outbox: Outbox;
  readonly turns: Turns;
  /** Verified connections, inbound and outbound: those whose peer a new identity does not trust are ended. */
  readonly verified: Set<Transport> = new Set();
  /** Connections to callers whose last answer is on its way. */
  readonly lingering: Set<Transport> = new Set();
  /** null until the first certificate arrives; set by `useIdentity`. */
  mesh: MeshTls | null = null;
  trust: TrustSettings = { trustDomain: 'cluster.local', aliases: [] };
  /** Tells this sidecar's own outbound listeners: what is sent there would come back for ever. Set once by worker.ts. */
  isOwnOutbound: (address: string, port: number) => boolean = () => false;
  /** Of connections that begin from now on. Set once by worker.ts. */
  http2Windows: Http2Windows = DEFAULT_HTTP2_WINDOWS;
  readonly overload: Overload;
  private meshTrust: MeshTrust | null = null;
  private readonly freedMemory: FreedMemory;

  /** `maxConnections`: accepted ones, of both directions together. */
  constructor(clock: Clock, random: Random, maxConnections: number = Number.POSITIVE_INFINITY) {
    this.overload = new Overload(clock, maxConnections);
    this.clock = clock;
    this.random = random;
    this.deadlines = new Deadlines(clock);
    this.outbox = new Outbox(clock);
    this.turns = new Turns(clock, this.outbox);
    this.freedMemory = new FreedMemory(this.deadlines);
  }

  /** New handshakes use this identity from now on; connections live on unless their peer is trusted no more. */
  useIdentity(mesh: MeshTls): void {
    const before = this.meshTrust;
    const after = new MeshTrust(mesh.identity);
    this.mesh = mesh;
    this.meshTrust = after;
    if (before === null || !after.narrows(before)) return;
    for (const transport of this.verified) {
      if (!after.admits(transport.socket as TLSSocket)) this.part(transport);
    }
  }

  /** Counts a connection whose peer was verified until it closes. Its owner must be the one that will keep it. */
  track(transport: Transport, peer: MeshPeer): void {
    this.verified.add(transport);
    this.freedMemory.changed();
    transport.socket.once('close', () => {
      this.verified.delete(transport);
      this.freedMemory.changed();
    });
    if (!this.trusts(transport.socket as TLSSocket, peer)) this.part(transport);
  }

  /** Is the peer of a finished handshake still one to talk to? The identity may be another one than when it began. */
  trusts(socket: TLSSocket, peer: MeshPeer): boolean {
    return peer.bundleHash === this.mesh?.identity.bundleHash || this.meshTrust?.admits(socket) === true;
  }

  private part(transport: Transport): void {
    transport.turn(() => transport.owner.goAway?.());
    this.clock.after(UNTRUSTED_GRACE_MS, () => transport.destroy());
  }
}
