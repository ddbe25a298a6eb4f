/**
 * Making one connection to an endpoint: plain, or mutual TLS with the far side's identity checked before a byte of it
 * is believed. Answers once, by `onConnected` or `onDialFailed`; after `cancel` not at all.
 */
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { type Identity, parseSpiffeId } from '../../certs/identity.ts';
import { mayServe } from '../../certs/verify.ts';
import { FAILURES, type Failure } from '../../shared/errors.ts';
import { Deadline } from '../net/deadline.ts';
import type { IoThread } from '../net/io-thread.ts';
import { codeOf, detailOf, judge, type MeshPeer, type MeshTls } from '../net/mesh-tls.ts';
import { readBuffer } from '../net/raw-reads.ts';
import { Transport, type TransportOwner } from '../net/transport.ts';
import type { Endpoint, SessionTicket } from './endpoint.ts';

const LOOPBACK = '127.0.0.1';

export interface DialListener {
  /** The new transport's owner is still the dial: the listener must take it over at once. `peer` is null when plain. */
  onConnected(transport: Transport, peer: MeshPeer | null): void;
  onDialFailed(failure: Failure, detail: string): void;
}

/** How the mesh's TLS is to be spoken with a cluster's endpoints. */
export interface MeshDial {
  readonly tls: MeshTls;
  /** Name of the Service; tickets are bound to it. */
  readonly serverName: string;
  readonly alpn: readonly string[];
  /** Secure naming: whose certificate is good enough. */
  readonly namespace: string;
  readonly identities: readonly string[];
}

export class Dial implements TransportOwner {
  private readonly io: IoThread;
  private readonly endpoint: Endpoint;
  private readonly mesh: MeshDial | null;
  private readonly transport: Transport;
  private readonly deadline: Deadline;
  /** What this dial tries to resume; the endpoint's may be another one by the time of the answer. */
  private ticket: SessionTicket | null = null;
  private listener: DialListener | null;

  constructor(
    io: IoThread,
    endpoint: Endpoint,
    mesh: MeshDial | null,
    timeoutMs: number,
    listener: DialListener,
    localAddress?: string,
  ) {
    this.io = io;
    this.endpoint = endpoint;
    this.mesh = mesh;
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
    const socket = mesh === null ? connectTcp(where) : this.connectMesh(mesh, where);
    this.transport = new Transport(socket, mesh !== null, io.outbox, this);
    socket.once(mesh === null ? 'connect' : 'secureConnect', () => this.connected(socket));
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
    this.fail(this.mesh === null ? FAILURES.connectFailed : FAILURES.upstreamTls, 'closed during the handshake');
  }

  onClosed(error: Error | null): void {
    if (error === null) this.fail(FAILURES.connectFailed, 'closed while connecting');
    else this.fail(failureOf(error, this.mesh !== null), detailOf(error));
  }

  onCongested(): void {}

  onWritable(): void {}

  private connectMesh(mesh: MeshDial, where: object): Socket {
    const { endpoint } = this;
    const { identity } = mesh.tls;
    if (endpoint.ticket !== null && !isUsable(endpoint.ticket, identity, this.io.clock.wall())) endpoint.ticket = null;
    this.ticket = endpoint.ticket;
    const socket = connectTls({
      ...where,
      secureContext: mesh.tls.clientContext,
      servername: mesh.serverName,
      ALPNProtocols: [...mesh.alpn],
      // Judged in connected(), by the rules of the mesh instead of by DNS name.
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
      ...(this.ticket === null ? {} : { session: this.ticket.ticket }),
    });
    return socket;
  }

  private connected(socket: Socket): void {
    if (this.listener === null) return;
    if (this.mesh === null) {
      if (this.leadsBack(socket)) this.fail(FAILURES.loopDetected, 'its address is that of our own outbound listener');
      else this.succeed(null);
      return;
    }
    const peer = this.identify(socket as TLSSocket, this.mesh);
    if (peer === null) return;
    this.succeed(peer);
    this.io.track(this.transport, peer);
  }

  /** A name, or 0.0.0.0, shows only now where it leads; where both ends have one address, they are this host. */
  private leadsBack({ remoteAddress = '', remotePort = 0, localAddress }: Socket): boolean {
    return this.io.isOwnOutbound(remoteAddress === localAddress ? LOOPBACK : remoteAddress, remotePort);
  }

  private identify(socket: TLSSocket, mesh: MeshDial): MeshPeer | null {
    const { endpoint } = this;
    let peer: MeshPeer;
    if (socket.isSessionReused() && this.ticket !== null) {
      // A resumed client has no certificate to look at: what counts is what was verified when the ticket was made.
      const { spiffeId, notAfter, bundleHash } = this.ticket;
      peer = { spiffeId, certificateHash: '', notAfter, bundleHash, alpn: socket.alpnProtocol || '' };
    } else {
      const judged = judge(socket, mesh.tls.identity.bundleHash, this.io.trust, 'server');
      if (!judged.ok) {
        this.fail(judged.error.failure, judged.error.detail);
        return null;
      }
      peer = judged.value;
    }
    const id = parseSpiffeId(peer.spiffeId);
    const allowed = { namespace: mesh.namespace, identities: mesh.identities, ...this.io.trust };
    if (id === null || !mayServe(id, allowed)) {
      endpoint.ticket = null;
      this.fail(FAILURES.upstreamNotAllowed, `${peer.spiffeId} may not serve ${mesh.serverName}`);
      return null;
    }
    const { fingerprint: ownFingerprint } = mesh.tls.identity;
    const { spiffeId, notAfter, bundleHash } = peer;
    socket.on('session', (ticket: Buffer) => {
      endpoint.ticket = { ticket, spiffeId, bundleHash, ownFingerprint, notAfter };
    });
    return peer;
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
function isUsable(ticket: SessionTicket, own: Identity, now: number): boolean {
  return ticket.bundleHash === own.bundleHash && ticket.ownFingerprint === own.fingerprint && ticket.notAfter > now;
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
