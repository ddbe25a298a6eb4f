/**
 * Making one connection to an endpoint: plain, or TLS with the far side's identity checked before a byte of it is
 * believed. Answers once, by `onConnected` or `onDialFailed`; after `cancel` not at all.
 */
import { connect as connectTcp, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { codeOf } from '../../shared/error-code.ts';
import { FAILURES, type Failure } from '../../shared/errors.ts';
import { Deadline } from '../net/deadline.ts';
import type { IoThread } from '../net/io-thread.ts';
import { detailOf, type MeshPeer } from '../net/mesh-tls.ts';
import { readBuffer } from '../net/raw-reads.ts';
import { Transport, type TransportOwner } from '../net/transport.ts';
import type { Endpoint, SessionTicket } from './endpoint.ts';
import { connectSecure, type SecureDial } from './secure-dial.ts';

const LOOPBACK = '127.0.0.1';

export interface DialListener {
  /** The new transport's owner is still the dial: the listener must take it over at once. `peer` is null when plain. */
  onConnected(transport: Transport, peer: MeshPeer | null): void;
  onDialFailed(failure: Failure, detail: string): void;
}

export class Dial implements TransportOwner {
  private readonly io: IoThread;
  private readonly endpoint: Endpoint;
  private readonly secure: SecureDial | null;
  private readonly transport: Transport;
  private readonly deadline: Deadline;
  /** What this dial tries to resume; the endpoint's may be another one by the time of the answer. */
  private ticket: SessionTicket | null = null;
  private listener: DialListener | null;

  constructor(
    io: IoThread,
    endpoint: Endpoint,
    secure: SecureDial | null,
    timeoutMs: number,
    listener: DialListener,
    localAddress?: string,
  ) {
    this.io = io;
    this.endpoint = endpoint;
    this.secure = secure;
    this.listener = listener;
    this.deadline = new Deadline(() => this.fail(FAILURES.connectTimeout, `no connection within ${timeoutMs} ms`));
    const onread = { buffer: readBuffer, callback: Transport.reader(() => this.transport) };
    const where = {
      host: endpoint.address,
      port: endpoint.port,
      noDelay: true,
      allowHalfOpen: true,
      onread,
      ...(localAddress === undefined ? {} : { localAddress }),
    };
    const socket = secure === null ? connectTcp(where) : this.handshake(secure, where);
    this.transport = new Transport(socket, secure !== null, io.outbox, this);
    socket.once(secure === null ? 'connect' : 'secureConnect', () => this.connected(socket));
    io.deadlines.set(this.deadline, timeoutMs);
  }

  cancel(): void {
    this.listener = null;
    this.deadline.clear();
    this.transport.destroy();
  }

  onBytes(): void {
    this.fail(FAILURES.upstreamMalformed, 'bytes came before the handshake was done');
  }

  onEof(): void {
    this.fail(this.secure === null ? FAILURES.connectFailed : FAILURES.upstreamTls, 'closed during the handshake');
  }

  onClosed(error: Error | null): void {
    if (error === null) this.fail(FAILURES.connectFailed, 'closed while connecting');
    else this.fail(failureOf(error, this.secure !== null), detailOf(error));
  }

  onCongested(): void {}

  onWritable(): void {}

  private handshake(secure: SecureDial, where: object): Socket {
    const { endpoint } = this;
    if (endpoint.ticket !== null && !isUsable(endpoint.ticket, secure, this.io.clock.wall())) endpoint.ticket = null;
    this.ticket = endpoint.ticket;
    return connectSecure(secure, where, this.ticket?.ticket ?? null);
  }

  private connected(socket: Socket): void {
    if (this.listener === null) return;
    const { secure } = this;
    if (secure === null) {
      if (this.leadsBack(socket)) this.fail(FAILURES.loopDetected, 'its address is that of our own outbound listener');
      else this.succeed(null);
      return;
    }
    const peer = this.identify(socket as TLSSocket, secure);
    if (peer === null) return;
    this.succeed(peer);
    if (secure.ofMesh) this.io.track(this.transport, peer);
  }

  /** A name, or 0.0.0.0, shows only now where it leads; where both ends have one address, they are this host. */
  private leadsBack({ remoteAddress = '', remotePort = 0, localAddress }: Socket): boolean {
    return this.io.isOwnOutbound(remoteAddress === localAddress ? LOOPBACK : remoteAddress, remotePort);
  }

  private identify(socket: TLSSocket, secure: SecureDial): MeshPeer | null {
    const { endpoint } = this;
    const judged = secure.identify(socket, socket.isSessionReused() ? this.ticket : null);
    if (!judged.ok) {
      endpoint.ticket = null;
      this.fail(judged.error.failure, judged.error.detail);
      return null;
    }
    const { trustHash: bundleHash, ownFingerprint } = secure;
    const { spiffeId, notAfter } = judged.value;
    socket.on('session', (ticket: Buffer) => {
      endpoint.ticket = { ticket, spiffeId, bundleHash, ownFingerprint, notAfter };
    });
    return judged.value;
  }

  private succeed(peer: MeshPeer | null): void {
    const { listener, transport } = this;
    this.listener = null;
    this.deadline.clear();
    transport.turn(() => listener?.onConnected(transport, peer));
  }

  private fail(failure: Failure, detail: string): void {
    const { listener } = this;
    if (listener === null) return;
    this.listener = null;
    this.deadline.clear();
    this.transport.destroy();
    this.transport.turn(() => listener.onDialFailed(failure, detail));
  }
}

/** A ticket serves for what both ends then were: nothing of it is verified again. */
function isUsable(ticket: SessionTicket, { trustHash, ownFingerprint }: SecureDial, now: number): boolean {
  return ticket.bundleHash === trustHash && ticket.ownFingerprint === ownFingerprint && ticket.notAfter > now;
}

function failureOf(error: Error, encrypted: boolean): Failure {
  switch (codeOf(error)) {
    case 'ECONNREFUSED':
      return FAILURES.connectRefused;
    case 'ETIMEDOUT':
      return FAILURES.connectTimeout;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EAI_FAIL':
    case 'EAI_NODATA':
      return FAILURES.dnsError;
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'EADDRNOTAVAIL':
    case 'EMFILE':
    case 'EINVAL':
      return FAILURES.connectFailed;
    default:
      return encrypted ? FAILURES.upstreamTls : FAILURES.connectFailed;
  }
}
