import { expect, test } from 'vitest';
import { Endpoint, endpointKey, POOL_IDLE_MS } from '../../../proxy/upstream/endpoint.ts';
import type { EndpointSpec } from '../../../proxy/upstream/spec.ts';

const SPEC: EndpointSpec = { address: '10.0.0.1', port: 80, ready: true, weight: 1, zone: 'a', meshTls: true };

test.each([
  ['10.0.0.1', '10.0.0.1:80'],
  ['2001:db8::1', '[2001:db8::1]:80'],
  ['host.example', 'host.example:80'],
])('an endpoint at %s is named %s', (address, key) => {
  expect(endpointKey({ address, port: 80 })).toBe(key);
});

test('it is available while it is ready and not ejected', () => {
  const endpoint = new Endpoint(SPEC);
  const seen = [endpoint.available];
  endpoint.state = 'ejected';
  seen.push(endpoint.available);
  endpoint.state = 'probing';
  seen.push(endpoint.available);
  endpoint.update({ ...SPEC, ready: false });
  seen.push(endpoint.available);
  expect(seen).toEqual([true, false, true, false]);
});

test('a new snapshot changes what policy says and nothing that was learned', () => {
  const endpoint = new Endpoint(SPEC);
  Object.assign(endpoint, { active: 3, requests: 9, wanted: false });
  endpoint.learnIdle(1_000);
  endpoint.update({ ...SPEC, weight: 7, zone: 'b', meshTls: false });
  expect(endpoint).toMatchObject({
    weight: 7,
    zone: 'b',
    meshTls: false,
    active: 3,
    requests: 9,
    wanted: true,
    idleMs: 800,
  });
});

test('what it learns of idle times makes it give connections up before the far side does, never later', () => {
  const endpoint = new Endpoint(SPEC);
  expect(endpoint.idleMs).toBe(POOL_IDLE_MS);
  endpoint.learnIdle(60_000);
  expect(endpoint.idleMs).toBe(POOL_IDLE_MS);
  endpoint.learnIdle(2_000);
  expect(endpoint.idleMs).toBe(1_600);
  endpoint.learnIdle(3_000);
  expect(endpoint.idleMs).toBe(1_600);
});

test('an idle time of nothing does not make pooling useless for ever', () => {
  const endpoint = new Endpoint(SPEC);
  endpoint.learnIdle(0);
  expect(endpoint.idleMs).toBe(100);
});
