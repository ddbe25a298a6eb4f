/** What the tests of rotation share: an identity taken into use, and load that counts every failure. */

import type { Identity } from '../../certs/identity.ts';
import { openClient, openTlsClient } from '../support/client.ts';
import { type LoadReport, openLoop } from '../support/load.ts';
import type { Weft } from '../support/weft.ts';
import { get, logLine, type TinyMesh } from './mesh.ts';

/** Resolves when the sidecar has this very identity in use. */
export async function inUse(weft: Weft, identity: Identity): Promise<void> {
  await logLine(weft, (line) => line.msg === 'certificate in use' && line['serial'] === identity.serialNumber);
}

/** Gives a sidecar a new identity by its folder; resolves when it is in use. */
export async function rotate(mesh: TinyMesh, weft: Weft, account: string, identity: Identity): Promise<void> {
  mesh.certify(account, identity);
  await inUse(weft, identity);
}

/** TLS options of a peer of the mesh, which looks at no name of the other side. */
export interface PeerOptions {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  readonly checkServerIdentity: () => undefined;
  readonly ALPNProtocols: string[];
}

export function asPeer({ certificateChain, privateKey, trustBundle }: Identity): PeerOptions {
  return {
    cert: certificateChain,
    key: privateKey,
    ca: trustBundle,
    checkServerIdentity: () => undefined,
    ALPNProtocols: ['istio-http/1.1'],
  };
}

export interface Traffic {
  /** Through the pair over kept-alive connections, so many a second by the clock. */
  readonly rate: number;
  readonly caller: Weft;
  readonly callee: Weft;
  /** Who calls the callee directly, with a handshake for every request. */
  readonly friend: () => Identity;
}

export interface TrafficReport {
  readonly kept: LoadReport;
  /** Fresh connections to the caller, each with a mesh connection of its own behind it. */
  readonly tunnels: number;
  /** Fresh mesh connections to the callee. */
  readonly handshakes: number;
  readonly seconds: number;
}

/** Runs until `work` is done. A fresh connection that fails rejects; of the kept ones failures are in the report. */
export async function underLoad(traffic: Traffic, work: () => Promise<void>): Promise<TrafficReport> {
  const { rate, caller, callee, friend } = traffic;
  const over = new AbortController();
  const startedAt = performance.now();
  const kept = openLoop({
    port: caller.ports.outbound,
    headers: { host: 'callee' },
    connections: 64,
    rate,
    durationMs: 120_000,
    signal: over.signal,
  });
  const tunnels = repeat(over.signal, async () => {
    using client = await openClient(caller.ports.outbound);
    await expectStatus(client.exchange('CONNECT raw:80 HTTP/1.1\r\nHost: raw:80\r\n\r\n', 'CONNECT'));
    await expectStatus(client.exchange(get('raw')));
  });
  const handshakes = repeat(over.signal, async () => {
    using client = await openTlsClient(callee.ports.inbound, asPeer(friend()));
    await expectStatus(client.exchange(get('callee')));
  });
  let seconds = 0;
  try {
    await Promise.race([work(), failureOf(tunnels), failureOf(handshakes)]);
  } finally {
    seconds = (performance.now() - startedAt) / 1000;
    over.abort();
  }
  return { kept: await kept, tunnels: await tunnels, handshakes: await handshakes, seconds };
}

async function repeat(signal: AbortSignal, once: () => Promise<void>): Promise<number> {
  let count = 0;
  for (; !signal.aborted; count++) await once();
  return count;
}

/** Never resolves: only a rejection ends the wait. */
async function failureOf(work: Promise<unknown>): Promise<never> {
  await work;
  return new Promise<never>(() => {});
}

async function expectStatus(answer: Promise<{ readonly status: number }>): Promise<void> {
  const { status } = await answer;
  if (status !== 200) throw new Error(`status ${status}`);
}
