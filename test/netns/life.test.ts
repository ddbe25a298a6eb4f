/** The life of a pod: nobody notices its sidecar's start, its restart costs no half answer, and its stop nothing at all. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { mayHavePods, type Pod, PodNetwork, requirePods } from '../support/pods.ts';
import { serviceOf } from './documents.ts';

const START_MS = 120_000;
const TEST_MS = 120_000;
const SERVICE = '10.96.0.10';
const SECRET = 'do-not-read-this-on-the-wire';
const WHERE = { host: SERVICE, port: 80 };
/** What a caller may see while there is no sidecar: a connection that is refused or ends, or an answer that says so. */
const CLEAN = /^(?:ECONNREFUSED|ECONNRESET|EPIPE|socket hang up|status 50[234])$/;

let network: PodNetwork;
let caller: Pod;
let first: Pod;
let second: Pod;

beforeEach(requirePods);

beforeAll(async () => {
  if (!(await mayHavePods())) return;
  network = await PodNetwork.create();
  caller = await network.pod('caller');
  first = await network.pod('first');
  second = await network.pod('second');
  publish(first, second);
  await Promise.all(network.pods.map((pod) => pod.redirect()));
  await Promise.all(network.pods.map((pod) => pod.startWeft()));
  await Promise.all([first, second].map((pod) => pod.do('serve', { kind: 'http', port: 8080 })));
  await first.do('serve', { kind: 'udp', port: 7002 });
}, START_MS);

afterAll(() => network?.[Symbol.asyncDispose]());

function publish(...pods: Pod[]): void {
  const ports = [{ name: 'http', port: 80, targetPort: 8080 }];
  network.write(serviceOf({ name: 'shop', clusterIPs: [SERVICE], ports, pods }));
}

async function served(pod: Pod, requests: number): Promise<void> {
  const before = await pod.metric('istio_requests_total');
  await eventually(
    'it serves',
    async () => (await pod.metric('istio_requests_total')) >= before + requests || undefined,
  );
}

/** The ends of connections cross the wire too. */
async function nobodyCalls(pod: Pod): Promise<void> {
  await eventually(
    `nobody is connected to ${pod.name}`,
    async () => (await pod.metric('weft_downstream_connections')) === 0 || undefined,
  );
}

test('the first request of an application that starts after its sidecar is served', { timeout: TEST_MS }, async () => {
  for (let i = 0; i < 3; i++) {
    await caller.killWeft();
    caller.stopApp();
    await caller.startWeft();
    await caller.startApp();
    expect((await caller.do('get', WHERE)).status).toBe(200);
  }
});

test.each([
  ["the caller's", () => caller],
  ["the server's", () => first],
])(
  '%s sidecar is killed and started again under load: no half answer, and all is well after',
  { timeout: TEST_MS },
  async (_whose, podOf) => {
    const pod = podOf();
    const load = caller.do('load', { ...WHERE, connections: 8 });
    await served(pod, 50);
    await pod.killWeft();
    await pod.startWeft();
    await served(pod, 50);
    await caller.do('stopLoad');
    const { sent, failures } = await load;
    expect(sent).toBeGreaterThan(100);
    expect(failures.filter(([kind]) => !CLEAN.test(kind))).toEqual([]);
    const after = await caller.do('load', { ...WHERE, connections: 8, requests: 200 });
    expect(after.failures).toEqual([]);
  },
);

test('without its sidecar a pod sends nothing in clear text', { timeout: TEST_MS }, async () => {
  await caller.killWeft();
  const headers = { 'x-secret': SECRET };
  const calls = async (): Promise<void> => {
    await expect(caller.do('get', { ...WHERE, headers })).rejects.toThrow('ECONNREFUSED');
    await expect(caller.do('get', { host: first.ipv4, port: 8080, headers })).rejects.toThrow('ECONNREFUSED');
    // Ends the capture.
    await caller.do('udp', { host: first.ipv4, port: 7002, send: 'over' });
  };
  await Promise.all([first, second].map(nobodyCalls));
  const packets = await network.capture(calls, (seen) => seen.some(({ protocol }) => protocol === 'udp'));
  expect(packets.filter(({ protocol }) => protocol === 'tcp')).toEqual([]);
  await caller.startWeft();
  expect((await caller.do('get', { ...WHERE, headers })).status).toBe(200);
});

test('a pod that stops under load fails no request', { timeout: TEST_MS }, async () => {
  const load = caller.do('load', { ...WHERE, connections: 8 });
  await served(second, 100);
  // As a cluster does it: the pod is asked to end while the others still learn of it.
  const ended = second.weft?.exit;
  second.weft?.signal('SIGTERM');
  publish(first);
  expect((await ended)?.code).toBe(0);
  second.stopApp();
  await served(first, 100);
  await caller.do('stopLoad');
  const { sent, failures } = await load;
  expect(sent).toBeGreaterThan(200);
  expect(failures).toEqual([]);
});
