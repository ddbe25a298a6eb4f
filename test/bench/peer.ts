/** What a proxy must offer to be measured: each lives in a file of its own under `peers/`. */
import type { Program } from '../support/process.ts';
import type { Site } from './site.ts';

/** A proxy, or a pair of them, up and answering. Whoever deployed it stops it. */
export interface Deployment {
  /** Port on 127.0.0.1 that the load goes to. */
  readonly port: number;
  /** `Host` that requests must carry. */
  readonly host: string;
  /** What opens an opaque tunnel before the first byte (a CONNECT head); empty where nothing does. */
  readonly preamble: string;
  /** Every process whose cost counts. */
  readonly pids: readonly number[];
  stop(): Promise<void>;
}

export type Kind = 'hop' | 'pair' | 'callee' | 'grpcHop' | 'grpcPair' | 'tunnel' | 'tunnelPair';

/** A peer without one of the kinds takes no part in the scenarios that need it. */
export interface Peer {
  readonly name: string;
  /** Its code is compiled as it runs: what it costs shows only after a long load. */
  readonly compilesUnderLoad: boolean;
  /** Why it cannot take part; null if it can. */
  missing(): string | null;
  /** client → proxy → origin, plain HTTP. */
  hop?(site: Site): Promise<Deployment>;
  /** client → proxy → mutual TLS → proxy → origin. */
  pair?(site: Site): Promise<Deployment>;
  /** The second half of a pair alone: mutual TLS → proxy → origin. */
  callee?(site: Site): Promise<Deployment>;
  /** client → proxy → the site's gRPC origin, HTTP/2 in clear text on both sides. */
  grpcHop?(site: Site): Promise<Deployment>;
  /** client → proxy → mutual TLS → proxy → the site's gRPC origin, HTTP/2 all the way. */
  grpcPair?(site: Site): Promise<Deployment>;
  /** client → proxy → the site's stream server, opaque bytes. */
  tunnel?(site: Site): Promise<Deployment>;
  /** client → proxy → mutual TLS → proxy → the site's stream server, opaque bytes. */
  tunnelPair?(site: Site): Promise<Deployment>;
}

/** A deployment of one proxy that needs nothing said before the first byte. */
export function deploymentOf(program: Program, port: number): Deployment {
  return {
    port,
    host: 'backend',
    preamble: '',
    pids: [program.pid],
    async stop() {
      await program.kill();
    },
  };
}

/** Caller and callee as one, entered at the caller. */
export function pairOf(caller: Deployment, callee: Deployment): Deployment {
  return {
    ...caller,
    pids: [...caller.pids, ...callee.pids],
    async stop() {
      await Promise.all([caller.stop(), callee.stop()]);
    },
  };
}
