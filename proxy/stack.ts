/**
 * The way of a byte through a data thread, read top to bottom: what happens to a connection that comes in from the mesh
 * (`inbound`) and to one that the application opens (`outbound`).
 *
 *   accept → sniff → tls → session (http | opaque) → route lookup → policies → balancer → pool → upstream socket
 */
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { HostPort } from '../shared/address.ts';
import { FAILURES, type Failure } from '../shared/errors.ts';
import type { LinkedSnapshot } from './config/link.ts';
import type { AppProtocol, MtlsMode } from './config/snapshot.ts';
import type { MeshAccepts, MeshPeer } from './net/mesh-tls.ts';
import { Transport, type TransportOwner } from './net/transport.ts';
import { type Caller, plainAddress } from './session/caller.ts';
import type { Detected } from './session/detect.ts';
import { H2Session } from './session/h2.ts';
import { HttpSession } from './session/http.ts';
import { OpaqueConnection } from './session/opaque.ts';
import type { Room } from './session/room.ts';
import { sniff } from './session/sniff.ts';

/** ALPN tokens of a mesh peer's ClientHello; on a PERMISSIVE port any other TLS is the application's own. */
const MESH_ALPN = 'istio';
const OPAQUE_PROTOCOLS: ReadonlySet<AppProtocol> = new Set(['tcp', 'tls', 'https']);
const H2_ALPN: ReadonlySet<string> = new Set(['istio-h2', 'h2']);

/** What becomes of an accepted socket; `original` is where it was going if it was redirected. */
export type Serve = (socket: Socket, original: HostPort | null) => void;

/** A connection to the own application: mutual TLS by the mode in force, then HTTP or opaque bytes. */
export function inbound(room: Room, appPort: number): Serve {
  return (socket, original) =>
    sniff(room, socket, (first, detected) => {
      const { snapshot } = room;
      if (snapshot === null) {
        refuse(room, socket, FAILURES.notReady, '');
      } else if (detected.protocol === 'tls' && isMesh(detected.alpn, modeOf(snapshot, original?.port ?? appPort))) {
        handshake(room, socket, first);
      } else if (modeOf(snapshot, original?.port ?? appPort) === 'STRICT') {
        refuse(room, socket, FAILURES.plaintextRefused, 'the first bytes are no TLS');
      } else {
        session(room, snapshot, callerOf(room, snapshot, socket, null, original), socket, first, detected);
      }
    });
}

/** A connection from the own application, to be carried to whatever Service it names. */
export function outbound(room: Room): Serve {
  return (socket, original) =>
    sniff(room, socket, (first, detected) => {
      const { snapshot } = room;
      if (snapshot === null) refuse(room, socket, FAILURES.notReady, '');
      else session(room, snapshot, callerOf(room, snapshot, socket, null, original), socket, first, detected);
    });
}

/** What the mesh's TLS server does with inbound peers that it has verified, and with those it has not. */
export function meshPeers(room: Room): MeshAccepts {
  return {
    onPeer(socket, peer) {
      const { snapshot } = room;
      if (snapshot === null) {
        refuse(room, socket, FAILURES.notReady, '');
        return;
      }
      if (!room.io.trusts(socket, peer)) {
        refuse(room, socket, FAILURES.peerUntrusted, 'trust_changed: its CA was removed during the handshake');
        return;
      }
      room.lastBusyAt = room.io.clock.now();
      const caller = callerOf(room, snapshot, socket, peer, null);
      if (peer.alpn !== '' && peer.alpn !== MESH_ALPN) {
        const protocol = H2_ALPN.has(peer.alpn) ? 'h2' : 'h1';
        session(room, snapshot, caller, socket, null, { protocol }, peer);
      } else if (declaresBytes(room, snapshot, caller.original)) {
        session(room, snapshot, caller, socket, null, { protocol: 'opaque' }, peer);
      } else {
        sniff(room, socket, (first, detected) => session(room, snapshot, caller, socket, first, detected, peer));
      }
    },
    onRefused: (failure, detail, address) =>
      room.story.refusedConnection('inbound', failure, detail, plainAddress(address)),
  };
}

/** A port of bytes is not sniffed: its server may be the one to speak first (SMTP, MySQL). */
function declaresBytes(room: Room, snapshot: LinkedSnapshot, original: HostPort | null): boolean {
  const target = room.resolver.destination(snapshot, '', original);
  return !('word' in target) && OPAQUE_PROTOCOLS.has(target.cluster.spec.protocol);
}

function handshake(room: Room, socket: Socket, first: Buffer): void {
  const { mesh } = room.io;
  if (mesh === null) {
    refuse(room, socket, FAILURES.notReady, 'no certificate is in force');
    return;
  }
  socket.unshift(first);
  mesh.handshake(socket);
}

function session(
  room: Room,
  snapshot: LinkedSnapshot,
  caller: Caller,
  socket: Socket | TLSSocket,
  first: Buffer | null,
  detected: Detected,
  peer: MeshPeer | null = null,
): void {
  const transport = new Transport(socket, peer !== null, room.io.outbox, NOBODY);
  if (detected.protocol === 'h1') {
    new HttpSession(room, caller, transport);
  } else if (detected.protocol === 'h2') {
    new H2Session(room, caller, transport);
  } else {
    const target = room.resolver.destination(snapshot, '', caller.original);
    if ('word' in target) {
      const why = room.direction === 'outbound' ? FAILURES.unknownProtocol : target;
      refuse(room, socket, why, `the first bytes are ${detected.protocol}`);
      return;
    }
    new OpaqueConnection(room, caller, transport, '', target, {
      onOpen() {},
      onRefused: () => transport.destroy(),
    });
  }
  if (peer !== null) room.io.track(transport, peer);
  transport.adopt(first);
}

function callerOf(
  room: Room,
  snapshot: LinkedSnapshot,
  socket: Socket,
  peer: MeshPeer | null,
  original: HostPort | null,
): Caller {
  const sourceAddress = plainAddress(socket.remoteAddress);
  return {
    direction: room.direction,
    principal: peer === null ? '' : peer.spiffeId,
    certificateHash: peer === null ? '' : peer.certificateHash,
    sourceAddress,
    sourcePort: socket.remotePort ?? 0,
    trusted: room.direction === 'outbound' || peer !== null || snapshot.trustsForwarder(sourceAddress),
    encrypted: peer !== null,
    original,
  };
}

/** STRICT: every ClientHello is the mesh's. PERMISSIVE: those that offer an `istio…` token. DISABLE: none. */
function isMesh(alpn: readonly string[], mode: MtlsMode): boolean {
  if (mode === 'PERMISSIVE') return alpn.some((token) => token.startsWith(MESH_ALPN));
  return mode === 'STRICT';
}

function modeOf(snapshot: LinkedSnapshot, appPort: number): MtlsMode {
  const { inbound: spec } = snapshot.snapshot;
  return spec.portModes[appPort] ?? spec.mode;
}

function refuse(room: Room, socket: Socket, failure: Failure, detail: string): void {
  socket.on('error', () => socket.destroy());
  room.story.refusedConnection(room.direction, failure, detail, plainAddress(socket.remoteAddress));
  socket.destroy();
}

/** Between the making of a transport and its session nothing is read. */
const NOBODY: TransportOwner = {
  onBytes() {},
  onEof() {},
  onClosed() {},
  onCongested() {},
  onWritable() {},
};
