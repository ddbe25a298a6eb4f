/** Bringing proxies up for a scenario, seeing that they really proxy, and taking them down again. */
import { request } from 'node:http';
import { H2Caller } from '../interop/http2-peers.ts';
import type { Load, Subject } from './compare.ts';
import { GRPC_METHOD, messageFrame } from './grpc-message.ts';
import { runH2load } from './h2load.ts';
import { BODY_BYTES } from './origin.ts';
import type { Deployment, Kind, Peer } from './peer.ts';
import type { Bench } from './scenario.ts';
import type { Site } from './site.ts';
import { warmUp } from './warm-up.ts';
import { runWrk } from './wrk.ts';

/** What passes through a deployment of some kind. */
interface Traffic {
  /** Rejects unless it comes through whole. */
  check(name: string, deployment: Deployment): Promise<void>;
  /** A second of it. */
  load(site: Site): Load;
}

const HTTP: Traffic = {
  check: checkAnswers,
  load:
    ({ folder }) =>
    ({ port, host }) =>
      runWrk({ port, host, connections: 64, seconds: 1, paths: ['/1k'], folder }),
};

const GRPC: Traffic = {
  check: checkCall,
  load:
    ({ folder }) =>
    ({ port, host }) =>
      runH2load({ port, host, connections: 16, streams: 4, seconds: 1, folder }),
};

const TRAFFIC: Readonly<Partial<Record<Kind, Traffic>>> = { hop: HTTP, pair: HTTP, grpcHop: GRPC, grpcPair: GRPC };

/** Deploys every peer that knows this kind, warms it up, runs `use`, and stops them whatever happens. */
export async function withDeployments<T>(
  { site, isQuick }: Pick<Bench, 'site' | 'isQuick'>,
  peers: readonly Peer[],
  kind: Kind,
  use: (subjects: readonly Subject[]) => Promise<T>,
): Promise<T> {
  const subjects: Subject[] = [];
  const traffic = TRAFFIC[kind];
  try {
    for (const peer of peers) {
      const { name, compilesUnderLoad } = peer;
      const deployment = await peer[kind]?.(site);
      if (deployment === undefined) continue;
      subjects.push({ name, deployment });
      if (traffic === undefined) continue;
      await traffic.check(name, deployment);
      await warmUp(name, deployment, traffic.load(site), { compilesUnderLoad, isQuick });
    }
    return await use(subjects);
  } finally {
    await Promise.all(subjects.map(({ deployment }) => deployment.stop()));
  }
}

/** Every path of the origin, with status 200 and its whole body. */
async function checkAnswers(name: string, deployment: Deployment): Promise<void> {
  for (const [path, bytes] of Object.entries({ ...BODY_BYTES, '/route-0': 1024 })) {
    const { status, body } = await get(deployment, path);
    const isRight = status === 200 && body.length === bytes && body.every((byte) => byte === 0x78);
    if (!isRight)
      throw new Error(
        `${name} answers ${path} with ${status} and ${body.length} bytes: ${body.toString('latin1', 0, 200)}`,
      );
  }
}

function get({ port, host }: Deployment, path: string): Promise<{ status: number; body: Buffer }> {
  return new Promise((resolve, reject) => {
    const call = request({ host: '127.0.0.1', port, path, headers: { host }, agent: false }, (answer) => {
      const parts: Buffer[] = [];
      answer.on('data', (part: Buffer) => parts.push(part));
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body: Buffer.concat(parts) }));
      answer.on('error', reject);
    });
    call.on('error', reject);
    call.end();
  });
}

/** A unary call: its message and, in the trailers, status OK. */
async function checkCall(name: string, { port, host }: Deployment): Promise<void> {
  using caller = new H2Caller(port);
  const head = { ':method': 'POST', ':authority': host, ':path': GRPC_METHOD };
  const fields = { 'content-type': 'application/grpc', te: 'trailers' };
  const answer = await caller.ask({ ...head, ...fields }, { body: messageFrame() });
  const { status, headers, body, trailers } = answer;
  if (status === 200 && trailers['grpc-status'] === '0' && body.equals(messageFrame())) return;
  throw new Error(`${name} answers a call with ${JSON.stringify({ status, headers, trailers, bytes: body.length })}`);
}
