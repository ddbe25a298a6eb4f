import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type AccessLog, openAccessLog } from '../../../proxy/telemetry/access-log.ts';
import { ManualClock } from '../../../shared/clock.ts';
import { FAILURES } from '../../../shared/errors.ts';
import { connectionRecord, requestRecord } from './fixtures.ts';

function open(format: 'json' | 'text'): { log: AccessLog; clock: ManualClock; posted: string[] } {
  const clock = new ManualClock();
  const posted: string[] = [];
  return { log: openAccessLog(format, clock, (lines) => posted.push(Buffer.from(lines).toString())), clock, posted };
}

describe('the JSON access log', () => {
  test('tells a request in one line', () => {
    const { log, posted } = open('json');
    log.request({ ...requestRecord, status: 503, failure: FAILURES.noReadyEndpoint, detail: 'of 3' });
    log.flush();
    expect(posted.length).toBe(1);
    expect(posted[0]?.endsWith('}\n')).toBe(true);
    expect(JSON.parse(posted[0] ?? '')).toEqual({
      level: 'info',
      time: '2023-11-14T22:13:20.123Z',
      direction: 'inbound',
      method: 'GET',
      authority: 'catalog.shop:8080',
      path: '/items?page=2',
      protocol: 'HTTP/1.1',
      status: 503,
      word: 'no_ready_endpoint',
      flag: 'UH',
      detail: 'of 3',
      request_bytes: 0,
      response_bytes: 1024,
      duration_ms: 12.346,
      upstream_ms: 10.5,
      route: 'shop/catalog/0',
      cluster: 'shop/catalog:8080',
      upstream: '10.0.0.7:9090',
      downstream: '10.0.0.5:40112',
      downstream_principal: 'spiffe://cluster.local/ns/shop/sa/storefront',
      upstream_principal: '',
      request_id: '11111111-2222-4333-8444-555555555555',
      trace_id: '0af7651916cd43dd8448eb211c80319c',
      attempts: 1,
      user_agent: 'curl/8',
    });
  });

  test('tells the code of an RPC, and of other requests none', () => {
    const { log, posted } = open('json');
    for (const grpcStatus of [14, -1, null]) log.request({ ...requestRecord, grpcStatus });
    log.flush();
    const lines = posted.join('').trim().split('\n');
    const codes = lines.map((line) => (JSON.parse(line) as { grpc_status?: number }).grpc_status);
    expect(codes).toEqual([14, -1, undefined]);
  });

  test('tells a connection in one line', () => {
    const { log, posted } = open('json');
    log.connection(connectionRecord);
    log.flush();
    expect(JSON.parse(posted.join(''))).toMatchObject({
      protocol: 'TCP',
      word: 'connect_refused',
      flag: 'UF',
      detail: 'ECONNREFUSED',
      received_bytes: 10,
      sent_bytes: 20,
      upstream_principal: 'spiffe://cluster.local/ns/shop/sa/db',
    });
  });

  test('parses and gives back whatever a caller wrote, with no control character in the line', () => {
    const { log, posted } = open('json');
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), latin1(), (any, bytes) => {
        posted.length = 0;
        log.request({ ...requestRecord, path: `/${bytes}`, method: any, userAgent: any, authority: bytes });
        log.flush();
        const line = posted.join('');
        expect(line).toMatch(/^[ -~]+\n$/);
        expect(JSON.parse(line)).toMatchObject({ path: `/${bytes}`, method: any, user_agent: any, authority: bytes });
      }),
      { seed: 5, numRuns: 100 },
    );
  }, 60_000);

  test('never shows credentials of a query', () => {
    const { log, posted } = open('json');
    log.request({ ...requestRecord, path: '/a?x=1&access_token=CANARY' });
    log.flush();
    expect(posted.join('')).not.toContain('CANARY');
  });
});

describe('the text access log', () => {
  test('has the layout of Envoy', () => {
    const { log, posted } = open('text');
    log.request(requestRecord);
    log.flush();
    expect(posted.join('')).toBe(
      '[2023-11-14T22:13:20.123Z] "GET /items?page=2 HTTP/1.1" 200 - - "-" 0 1024 12.346 10.500 "10.0.0.5:40112" "curl/8" ' +
        '"11111111-2222-4333-8444-555555555555" "catalog.shop:8080" "10.0.0.7:9090" inbound|shop/catalog:8080 ' +
        '"shop/catalog/0" 1 "spiffe://cluster.local/ns/shop/sa/storefront" "-" 0af7651916cd43dd8448eb211c80319c\n',
    );
  });

  test('has as many quoted parts in every line, whatever a caller wrote', () => {
    const { log, posted } = open('text');
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), latin1(), (any, bytes) => {
        posted.length = 0;
        log.request({ ...requestRecord, path: `/${bytes}`, userAgent: any, authority: bytes, detail: any });
        log.connection({ ...connectionRecord, authority: bytes, detail: any });
        log.flush();
        expect(posted.join('')).toMatch(/^[\x20-\x7e]+\n[\x20-\x7e]+\n$/);
        for (const line of posted.join('').trimEnd().split('\n')) expect(line.split('"').length).toBe(21);
      }),
      { seed: 6, numRuns: 100 },
    );
  }, 60_000);
});

describe('a batch of lines', () => {
  test('goes a tenth of a second after its first line', () => {
    const { log, clock, posted } = open('text');
    log.request(requestRecord);
    clock.advance(60);
    log.request(requestRecord);
    expect(posted).toEqual([]);
    clock.advance(40);
    expect(posted.length).toBe(1);
    expect(posted[0]?.split('\n').length).toBe(3);
    clock.advance(1000);
    expect(posted.length).toBe(1);
  });

  test('goes at once when it is large, and no line is lost or doubled', () => {
    const { log, clock, posted } = open('json');
    for (let at = 0; at < 4000; at++) log.request({ ...requestRecord, attempts: at });
    expect(posted.length).toBeGreaterThan(1);
    clock.advance(100);
    const lines = posted.join('').trimEnd().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as { attempts: number }).attempts)).toEqual([...Array(4000).keys()]);
    for (const batch of posted) expect(batch.length).toBeLessThanOrEqual(1024 * 1024);
  });

  test('is written into the memory of one that was given back, and into no other memory', () => {
    const given: Uint8Array<ArrayBuffer>[] = [];
    const log = openAccessLog('json', new ManualClock(), (lines) => given.push(lines));
    const fill = (): void => {
      for (const before = given.length; given.length === before; ) log.request(requestRecord);
    };
    fill();
    const [first] = given as [Uint8Array<ArrayBuffer>];
    fill();
    expect(given[1]?.buffer).not.toBe(first.buffer);
    log.reuse(first.buffer);
    log.reuse(new ArrayBuffer(100));
    fill();
    fill();
    expect(given[3]?.buffer).toBe(first.buffer);
  });

  test('is not posted when it is empty', () => {
    const { log, posted } = open('text');
    log.flush();
    expect(posted).toEqual([]);
  });
});

function latin1(): fc.Arbitrary<string> {
  return fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes).toString('latin1'));
}
