/** Bringing proxies up for a scenario, seeing that they really proxy, and taking them down again. */
import { request } from 'node:http';
import type { Subject } from './compare.ts';
import { BODY_BYTES } from './origin.ts';
import type { Deployment, Kind, Peer } from './peer.ts';
import type { Site } from './site.ts';
import { runWrk } from './wrk.ts';

/** V8 has compiled what it will after so many requests; on a busy machine the seconds are what ends it. */
const WARM_UP_REQUESTS = 60_000;
const WARM_UP_SECONDS = 8;

/** Deploys every peer that knows this kind, runs `use`, and stops them whatever happens. */
export async function withDeployments<T>(
  site: Site,
  peers: readonly Peer[],
  kind: Kind,
  use: (subjects: readonly Subject[]) => Promise<T>,
): Promise<T> {
  const subjects: Subject[] = [];
  try {
    for (const peer of peers) {
      const deployment = await peer[kind]?.(site);
      if (deployment === undefined) continue;
      subjects.push({ name: peer.name, deployment });
      if (kind === 'hop' || kind === 'pair') await prepare(site, peer.name, deployment);
    }
    return await use(subjects);
  } finally {
    await Promise.all(subjects.map(({ deployment }) => deployment.stop()));
  }
}

/** Sees that it proxies, then loads it until a compiler that learns from load has learnt. */
async function prepare(site: Site, name: string, deployment: Deployment): Promise<void> {
  await checkAnswers(name, deployment);
  const { port, host } = deployment;
  let requests = 0;
  for (let second = 0; second < WARM_UP_SECONDS && requests < WARM_UP_REQUESTS; second += 1) {
    requests += await runWrk({ port, host, connections: 64, seconds: 1, paths: ['/1k'], folder: site.folder });
  }
}

/** Rejects unless every path of the origin comes through with status 200 and its whole body. */
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
