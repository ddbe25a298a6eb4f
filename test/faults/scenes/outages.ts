/** Services that are slow, gone, or die in the middle of an answer; callers that leave in the middle of a request. */
import { createServer } from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { get, plain, post, TinyMesh } from '../../integration/mesh.ts';
import { slow, startBackend, startRawBackend, text } from '../../support/backend.ts';
import { openClient } from '../../support/client.ts';
import { closedLoop, quantile } from '../../support/load.ts';
import { trafficPolicy } from '../../support/policy.ts';
import { Callers, listed, type Outcome, SERVICE, setStage } from './stage.ts';

/** All three end, come back after a while, and the service must be whole again within two seconds. */
export async function allDown(downMs: number): Promise<Outcome> {
  await using stage = await setStage();
  const before = new Callers(stage.weft, 'GET', 4, 0);
  await before.run(200);
  await Promise.all(stage.victims.map((victim) => victim.end('SIGKILL')));
  // The first ones find out.
  await new Callers(stage.weft, 'GET', 4, 0).run(50);
  const down = await closedLoop({
    port: stage.weft.ports.outbound,
    headers: { host: SERVICE },
    connections: 4,
    signal: AbortSignal.timeout(downMs),
    check: () => null,
  });
  const perFailure = (downMs * 4) / Math.max(1, down.sent);
  await Promise.all(stage.victims.map((victim) => victim.revive()));
  const backAt = performance.now();
  const probing = new Callers(stage.weft, 'GET', 1, 5);
  const load = probing.run();
  while (probing.latencies.length < 20 && performance.now() - backAt < 5_000) await pause(5);
  const backMs = Math.round(performance.now() - backAt);
  probing.stop();
  await load;
  const after = new Callers(stage.weft, 'GET', 4, 0);
  await after.run(200);
  const figures = {
    'requests while down': down.sent,
    'ms each while down': perFailure.toFixed(1),
    'back after ms': backMs,
  };
  const problems = [
    ...(down.succeeded > 0 ? [`${down.succeeded} answers came from nowhere`] : []),
    ...(perFailure > 50 ? [`a refusal took ${perFailure.toFixed(1)} ms`] : []),
    ...(backMs > 2_000 ? [`only after ${backMs} ms requests were served again`] : []),
    ...(after.failed > 0 ? [`after the return: ${listed(after.failures)}`] : []),
  ];
  return { name: 'all down and back', figures, problems };
}

/**
 * One of three answers two seconds late; attempts have 250 ms. When it is out, the Service must be as quick as one that has
 * only the other two, asked at the same time so that both meet the same machine, several times over.
 */
export async function slowEndpoint(seconds: number): Promise<Outcome> {
  await using mesh = new TinyMesh();
  const quick = [mesh.own(await startBackend(text('quick'))), mesh.own(await startBackend(text('quick')))];
  const late = mesh.own(await startBackend(slow(2_000, text('late'))));
  const weft = await mesh.start({ account: 'caller' });
  await mesh.apply(weft, 'caller', [
    ...plain({ name: SERVICE, endpoints: [...quick.map(({ port }) => port), late.port] }),
    ...plain({ name: 'quick', endpoints: quick.map(({ port }) => port) }),
    trafficPolicy(SERVICE, {
      retry: { perRetry: { timeout: '250ms' } },
      healthCheck: { passive: { baseEjectionTime: '60s', maxEjectionTime: '60s' } },
    }),
  ]);
  const startedAt = performance.now();
  const ejected = { at: 0 };
  void weft.program
    .waitForLine((line) => line.includes('"endpoint ejection"') || undefined, seconds * 1_000)
    .then(
      () => {
        ejected.at = performance.now();
      },
      () => {},
    );
  const warm = new Callers(weft, 'GET', 4, 2);
  const load = warm.run();
  while (ejected.at === 0 && performance.now() - startedAt < seconds * 1_000) await pause(20);
  warm.stop();
  await load;
  const ejectedMs = Math.round(ejected.at - startedAt);
  const ratios: number[] = [];
  const failures = [...warm.failures];
  for (let round = 0; round < ROUNDS; round++) {
    const [without, others] = [new Callers(weft, 'GET', 2, 1), new Callers(weft, 'GET', 2, 1, 'quick')];
    await Promise.all([without.run(ROUND_REQUESTS), others.run(ROUND_REQUESTS)]);
    failures.push(...without.failures, ...others.failures);
    ratios.push(p99Of(without) / p99Of(others));
  }
  const ratio = quantile(
    ratios.toSorted((a, b) => a - b),
    0.5,
  );
  const figures = { 'ejected after ms': ejectedMs, 'p99 to that of the others': ratio.toFixed(2), requests: warm.sent };
  const problems = [
    ...(ejected.at === 0 ? [`not ejected within ${seconds} s`] : []),
    ...(failures.length > 0 ? [`failed: ${listed(new Map(failures))}`] : []),
    ...(ratio > 1.2 ? [`p99 is ${ratio.toFixed(2)} times that of the others`] : []),
  ];
  return { name: 'slow endpoint', figures, problems };
}

/** Of which the median counts. */
const ROUNDS = 7;
const ROUND_REQUESTS = 600;

function p99Of({ latencies }: Callers): number {
  return quantile(
    latencies.toSorted((a, b) => a - b),
    0.99,
  );
}

/** An answer that ends too early must never look whole. */
export async function midBodyDeaths(each: number): Promise<Outcome> {
  await using mesh = new TinyMesh();
  const cutHead = (framing: string) => (socket: Socket) => {
    socket.write(`HTTP/1.1 200 OK\r\n${framing}\r\n\r\n`, () => setImmediate(() => socket.destroy()));
  };
  const length = mesh.own(await startRawBackend(cutHead('Content-Length: 1000\r\n\r\npart')));
  const chunks = mesh.own(await startRawBackend(cutHead('Transfer-Encoding: chunked\r\n\r\n4\r\npart')));
  const h2 = createServer((_request, response) => {
    response.writeHead(200);
    response.write('part', () => response.stream.session?.destroy());
  });
  await new Promise<void>((resolve) => h2.listen(0, '127.0.0.1', resolve));
  mesh.own({ [Symbol.asyncDispose]: () => new Promise<void>((resolve) => h2.close(() => resolve())) });
  const weft = await mesh.start({ account: 'caller' });
  await mesh.apply(weft, 'caller', [
    ...plain({ name: 'length', endpoints: [length.port] }),
    ...plain({ name: 'chunks', endpoints: [chunks.port] }),
    ...plain({ name: 'h2', endpoints: [(h2.address() as AddressInfo).port], appProtocol: 'kubernetes.io/h2c' }),
  ]);
  const figures: Record<string, number> = {};
  const problems: string[] = [];
  for (const host of ['length', 'chunks', 'h2']) {
    const report = await closedLoop({ port: weft.ports.outbound, headers: { host }, connections: 2, requests: each });
    figures[`${host} seen as whole`] = report.succeeded;
    if (report.succeeded > 0) problems.push(`${report.succeeded} cut answers of ${host} looked whole`);
  }
  return { name: 'death in mid-body', figures: { 'answers each': each, ...figures }, problems };
}

/** Callers of the phases before have left by thousands before they were accepted: who waits for an answer stands behind them. */
const QUEUE_MS = 60_000;

/** Callers leave at every phase; whatever was open for them must close. */
export async function clientAborts(each: number): Promise<Outcome> {
  await using mesh = new TinyMesh();
  const never = mesh.own(await startBackend(slow(60_000, text('late'))));
  const stuck = mesh.own(
    await startRawBackend((socket) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart')),
  );
  const weft = await mesh.start({ account: 'caller' });
  await mesh.apply(weft, 'caller', [
    ...plain({ name: 'never', endpoints: [never.port] }),
    ...plain({ name: 'stuck', endpoints: [stuck.port] }),
  ]);
  const phases: Readonly<Record<string, readonly [request: string, until: string]>> = {
    'in the head': ['GET / HTTP/1.1\r\nHost: nev', ''],
    'in the body': [post('never', 'x'.repeat(50)).slice(0, -20), ''],
    'waiting for the answer': [get('never'), ''],
    'in the answer': [get('stuck'), 'part'],
  };
  for (const [request, until] of Object.values(phases)) {
    const abort = async (): Promise<void> => {
      const client = await openClient(weft.ports.outbound);
      await client.write(request);
      if (until !== '') await client.until(() => (client.text.includes(until) ? true : undefined), QUEUE_MS);
      client.reset();
    };
    for (let left = each; left > 0; left -= 20) await Promise.all(Array.from({ length: Math.min(20, left) }, abort));
  }
  const abortedAt = performance.now();
  const open = async (): Promise<number> =>
    (await weft.metric('weft_active_requests')) + (await weft.metric('weft_downstream_connections'));
  while ((await open()) > 0 && performance.now() - abortedAt < 5_000) await pause(20);
  const settledMs = Math.round(performance.now() - abortedAt);
  const left = await open();
  const figures = { aborts: each * Object.keys(phases).length, 'left open': left, 'settled after ms': settledMs };
  const problems = [
    ...(left > 0 ? [`${left} requests or connections stayed open`] : []),
    ...(settledMs > 1_000 ? [`what was left took ${settledMs} ms to close`] : []),
  ];
  return { name: 'client aborts', figures, problems };
}
