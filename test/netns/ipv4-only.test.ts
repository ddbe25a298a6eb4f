/** A pod without IPv6, as many clusters make them. */
import { afterAll, beforeEach, expect, test } from 'vitest';
import { PodNetwork, requirePods } from '../support/pods.ts';
import { serviceOf } from './documents.ts';

const TEST_MS = 120_000;
const SERVICE = '10.96.0.10';

let network: PodNetwork | null = null;

beforeEach(requirePods);

afterAll(() => network?.[Symbol.asyncDispose]());

test('weft init and the sidecar do with IPv4 what they do with both', { timeout: TEST_MS }, async () => {
  network = await PodNetwork.create();
  const caller = await network.pod('caller');
  const server = await network.pod('server');
  const ports = [{ name: 'http', port: 80, targetPort: 8080 }];
  network.write(serviceOf({ name: 'shop', clusterIPs: [SERVICE], ports, pods: [server], ipv4Only: true }));
  for (const pod of [caller, server]) {
    await pod.shell('for where in all default lo eth0; do sysctl -qw net.ipv6.conf.$where.disable_ipv6=1; done');
    expect(await pod.redirect()).toBe('weft init: the redirect is in place (nft), seen to capture 192.0.2.1:15002');
  }
  await Promise.all([caller.startWeft(), server.startWeft()]);
  await server.do('serve', { kind: 'http', port: 8080, host: '0.0.0.0' });
  const seen = await caller.seen(SERVICE, 80);
  expect([seen.pod, seen.remoteAddress, seen.localAddress]).toEqual(['server', '127.0.0.6', server.ipv4]);
  expect(seen.headers['x-forwarded-client-cert']).toContain('/sa/caller');
});
