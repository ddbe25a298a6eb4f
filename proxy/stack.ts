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
import type { Arrival } from './net/arrival.ts';
import type { MeshAccepts, MeshPeer } from './net/mesh-tls.ts';
import { Transport, type TransportOwner } from './net/transport.ts';
import { asksForHello, denialOf, modeOf, opaqueTarget } from './session/admission.ts';
import { type Caller, plainAddress } from './session/caller.ts';
import { type Detected, OPAQUE } from './session/detect.ts';
import { H2Session } from './session/h2.ts';
import { HttpSession } from './session/http.ts';
import { OpaqueConnection } from './session/opaque.ts';
import { OpaqueDial } from './session/opaque-dial.ts';
import type { Room } from './session/room.ts';
import { HELLO_SILENCE_MS, SILENCE_MS, type Sniffed, sniff } from './session/sniff.ts';

/** ALPN tokens of a mesh peer's ClientHello; on a PERMISSIVE port any other TLS is the application's own. */
const MESH_ALPN = 'istio';
const OPAQUE_PROTOCOLS: ReadonlySet<AppProtocol> = new Set(['tcp', 'tls', 'https']);
const H2_ALPN: ReadonlySet<string> = new Set(['istio-h2', 'h2']);
const NOTHING = Buffer.alloc(0);
const CONNECT = 'CONNECT ';

/** What becomes of an accepted socket; `original` is where it was going if it was redirected. */
export type Serve = (socket: Socket, original: HostPort | null) => void;

/** A connection to the own application: mutual TLS by the mode in force, then HTTP or opaque bytes. */
export function inbound(room: Room): Serve {
  return (socket, original) => {
    const { snapshot } = room;
    if (snapshot === null) {
      refuse(room, socket, FAILURES.notReady, '');
      return;
    }
    const arrival = arrivalOf(socket, original);
    const mode = modeOf(room, snapshot, original);
    if (mode === 'DISABLE') {
      detectProtocol(room, snapshot, socket, arrival, null, SILENCE_MS);
      return;
    }
    // Clear text may be meant, but a ClientHello may as well be late.
    const mayGreet = mode === 'PERMISSIVE' && mayGoOpaque(declaredAt(room, snapshot, original));
    sniff(room, socket, arrival, {
      silenceMs: mayGreet ? HELLO_SILENCE_MS : null,
      mayForward: true,
      dial: (from) => greeterFor(room, from, null),
      decided: (sniffed) => unwrap(room, socket, sniffed),
    });
  };
}

/** A connection from the own application, to be carried to whatever Service it names. */
export function outbound(room: Room): Serve {
  return (socket, original) => {
    const { snapshot } = room;
    if (snapshot === null) refuse(room, socket, FAILURES.notReady, '');
    else detectProtocol(room, snapshot, socket, arrivalOf(socket, original), null, SILENCE_MS);
  };
}

/** What the mesh's TLS server does with inbound peers that it has verified, and with those it has not. */
export function meshPeers(room: Room): MeshAccepts {
  return {
    onPeer(socket, peer, arrival) {
      const { snapshot } = room;
      room.handshakes.delete(arrival);
      if (snapshot === null) {
        refuse(room, socket, FAILURES.notReady, '');
        return;
      }
      if (!room.io.trusts(socket, peer)) {
        refuse(room, socket, FAILURES.peerUntrusted, 'trust_changed: its CA was removed during the handshake');
        return;
      }
      room.lastBusyAt = room.io.clock.now();
      if (peer.alpn !== '' && peer.alpn !== MESH_ALPN) {
        const protocol = H2_ALPN.has(peer.alpn) ? 'h2' : 'h1';
        startSession(room, socket, sniffedAs({ protocol }, arrival), peer);
      } else {
        // Who selects `istio` has found no HTTP, or waited for it, on its own side.
        detectProtocol(room, snapshot, socket, arrival, peer, peer.alpn === MESH_ALPN ? 0 : SILENCE_MS);
      }
    },
    onRefused: (failure, detail, address) =>
      room.story.refusedConnection('inbound', failure, detail, plainAddress(address)),
  };
}

/** What the port that a connection is going to says of it; `unknown` where it leads nowhere before it names something. */
type Declared = 'bytes' | 'http' | 'nothing' | 'unknown';

function declaredAt(room: Room, snapshot: LinkedSnapshot, original: HostPort | null): Declared {
  const target = room.resolver.destination(snapshot, '', original);
  if ('word' in target) return 'unknown';
  const { protocol } = target.cluster.spec;
  if (protocol === 'auto') return 'nothing';
  return OPAQUE_PROTOCOLS.has(protocol) ? 'bytes' : 'http';
}

function mayGoOpaque(declared: Declared): boolean {
  return declared === 'bytes' || declared === 'nothing';
}

/** What was declared counts for more than what was seen: declared HTTP is never opaque, its parser judges it. */
function asDeclared(declared: Declared, detected: Detected): Detected {
  if (declared === 'bytes') return detected.protocol === 'tls' ? detected : OPAQUE;
  return declared === 'http' && detected.protocol !== 'h2' ? { protocol: 'h1' } : detected;
}

/** Finds out what a stream in clear speaks, unless its port declares bytes, which all go one way. */
function detectProtocol(
  room: Room,
  snapshot: LinkedSnapshot,
  socket: Socket,
  arrival: Arrival,
  peer: MeshPeer | null,
  silenceMs: number,
): void {
  const declared = declaredAt(room, snapshot, arrival.original);
  if (declared === 'bytes' && !isReadFirst(room, snapshot, arrival.original)) {
    startSession(room, socket, sniffedAs(OPAQUE, arrival), peer);
    return;
  }
  sniff(room, socket, arrival, {
    silenceMs: mayGoOpaque(declared) ? silenceMs : null,
    mayForward: peer === null,
    dial: (from) => greeterFor(room, from, peer),
    decided: (sniffed) => startSession(room, socket, sniffed, peer),
  });
}

function sniffedAs(detected: Detected, arrival: Arrival): Sniffed {
  return { first: NOTHING, detected, arrival, dial: null, ended: false };
}

/** The first bytes of an inbound connection have come: the mesh's TLS, or what may do without it. */
function unwrap(room: Room, socket: Socket, sniffed: Sniffed): void {
  const { detected, arrival, dial, first } = sniffed;
  const mode = room.snapshot === null ? 'STRICT' : modeOf(room, room.snapshot, arrival.original);
  if (detected.protocol === 'tls' && isMesh(detected.alpn, mode)) {
    dial?.cancel();
    handshake(room, socket, arrival, first);
  } else if (mode === 'STRICT') {
    dial?.cancel();
    refuse(room, socket, FAILURES.plaintextRefused, 'the first bytes are no TLS');
  } else {
    startSession(room, socket, sniffed, null);
  }
}

function isReadFirst(room: Room, snapshot: LinkedSnapshot, original: HostPort | null): boolean {
  const target = room.resolver.destination(snapshot, '', original);
  return !('word' in target) && asksForHello(target);
}

/** Whom a caller that says nothing may be waiting for, if it may speak to it. */
function greeterFor(room: Room, arrival: Arrival, peer: MeshPeer | null): OpaqueDial | Failure {
  const { snapshot } = room;
  if (snapshot === null) return FAILURES.notReady;
  const denial = denialOf(room, snapshot, callerOf(room, snapshot, arrival, peer));
  return denial?.failure ?? dialFor(room, snapshot, arrival, null);
}

/** `serverName` of the ClientHello that its bytes begin with; null: they are no TLS, or not there yet. */
function dialFor(
  room: Room,
  snapshot: LinkedSnapshot,
  arrival: Arrival,
  serverName: string | null,
): OpaqueDial | Failure {
  const target = room.resolver.destination(snapshot, '', arrival.original);
  const routed = 'word' in target ? target : opaqueTarget(room, target, serverName);
  if ('word' in routed) return routed;
  const dial = new OpaqueDial(room.io, routed, arrival.sourceAddress);
  dial.passesTls = serverName !== null;
  return dial;
}

/** The connection for the bytes that have come: one that was made for a greeting, unless it is not for such bytes. */
function dialOf(room: Room, snapshot: LinkedSnapshot, { dial, detected, arrival }: Sniffed): OpaqueDial | Failure {
  const serverName = detected.protocol === 'tls' ? detected.serverName : null;
  if (dial !== null && (serverName === null || dial.target.cluster.spec.backendTls === null)) return dial;
  dial?.cancel();
  return dialFor(room, snapshot, arrival, serverName);
}

function handshake(room: Room, socket: Socket, arrival: Arrival, first: Buffer): void {
  const { mesh } = room.io;
  if (mesh === null) {
    refuse(room, socket, FAILURES.notReady, 'no certificate is in force');
    return;
  }
  room.handshakes.set(arrival, socket);
  socket.once('close', () => room.handshakes.delete(arrival));
  socket.unshift(first);
  mesh.handshake(socket, arrival);
}

function startSession(room: Room, socket: Socket | TLSSocket, sniffed: Sniffed, peer: MeshPeer | null): void {
  const { snapshot } = room;
  const { first, arrival } = sniffed;
  if (snapshot === null) {
    sniffed.dial?.cancel();
    refuse(room, socket, FAILURES.notReady, '');
    return;
  }
  const caller = callerOf(room, snapshot, arrival, peer);
  const declared = declaredAt(room, snapshot, arrival.original);
  const detected = isForProxy(room, sniffed) ? OPAQUE : asDeclared(declared, sniffed.detected);
  const transport = new Transport(socket, peer !== null, room.io.outbox, NOBODY);
  if (detected.protocol === 'h1' || detected.protocol === 'h2') {
    sniffed.dial?.cancel();
    if (detected.protocol === 'h1') new HttpSession(room, caller, transport);
    else new H2Session(room, caller, transport);
  } else {
    const denial = denialOf(room, snapshot, caller);
    if (denial !== null) {
      sniffed.dial?.cancel();
      refuse(room, socket, denial.failure, denial.detail);
      return;
    }
    const dial = dialOf(room, snapshot, sniffed);
    if ('word' in dial) {
      const explicit = room.direction === 'outbound' && arrival.original === null;
      refuse(room, socket, explicit ? FAILURES.unknownProtocol : dial, `the first bytes are ${detected.protocol}`);
      return;
    }
    new OpaqueConnection(room, caller, transport, '', dial, { onOpen() {}, onRefused: () => transport.reset() });
  }
  if (peer !== null) room.io.track(transport, peer);
  transport.adopt(first);
  if (sniffed.ended) transport.turn(() => transport.owner.onEof());
}

/** A redirected CONNECT was on its way to a proxy of the application's choice: to that one's ears, not to ours. */
function isForProxy({ direction }: Room, { first, arrival }: Sniffed): boolean {
  return (
    direction === 'outbound' && arrival.original !== null && first.toString('latin1', 0, CONNECT.length) === CONNECT
  );
}

function arrivalOf(socket: Socket, original: HostPort | null): Arrival {
  return { sourceAddress: plainAddress(socket.remoteAddress), sourcePort: socket.remotePort ?? 0, original };
}

function callerOf(room: Room, snapshot: LinkedSnapshot, arrival: Arrival, peer: MeshPeer | null): Caller {
  const { sourceAddress, sourcePort, original } = arrival;
  return {
    direction: room.direction,
    principal: peer === null ? '' : peer.spiffeId,
    certificateHash: peer === null ? '' : peer.certificateHash,
    sourceAddress,
    sourcePort,
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
