import { describe, expect, test } from 'vitest';
import { TraceContext } from '../../../proxy/telemetry/propagation.ts';
import { REDACTED, redactedJson, redactQuery } from '../../../proxy/telemetry/redact.ts';
import { clientSpan, serverSpan } from '../../../proxy/telemetry/span.ts';
import { FAILURES, type Failure } from '../../../shared/errors.ts';
import { attemptRecord, requestRecord } from './fixtures.ts';

const context = new TraceContext(
  '0af7651916cd43dd8448eb211c80319c',
  'b7ad6b7169203331',
  '1111111111111111',
  true,
  'a=1',
);

describe('the span of a request that came in', () => {
  test('follows the semantic conventions for HTTP servers', () => {
    expect(serverSpan(requestRecord, context)).toEqual({
      traceId: context.traceId,
      spanId: context.spanId,
      parentSpanId: context.parentSpanId,
      traceState: 'a=1',
      kind: 'SERVER',
      name: 'GET',
      startedAt: requestRecord.startedAt,
      endedAt: requestRecord.startedAt + requestRecord.durationMs,
      error: '',
      attributes: {
        'http.request.method': 'GET',
        'http.response.status_code': 200,
        'http.request.body.size': 0,
        'http.response.body.size': 1024,
        'url.scheme': 'http',
        'url.path': '/items',
        'url.query': 'page=2',
        'server.address': 'catalog.shop',
        'server.port': 8080,
        'client.address': '10.0.0.5',
        'network.peer.address': '10.0.0.5',
        'network.peer.port': 40112,
        'network.protocol.name': 'http',
        'network.protocol.version': '1.1',
        'user_agent.original': 'curl/8',
        'weft.route': 'shop/catalog/0',
        'weft.request_id': requestRecord.requestId,
        'weft.peer.principal': requestRecord.downstreamPrincipal,
      },
    });
  });

  test('is an error for what the server did wrong, not for what the caller did', () => {
    const denied = serverSpan({ ...requestRecord, status: 403, failure: FAILURES.denied }, context);
    expect([denied.error, denied.attributes['error.type']]).toEqual(['', undefined]);
    const empty = serverSpan({ ...requestRecord, status: 503, failure: FAILURES.noReadyEndpoint }, context);
    expect([empty.error, empty.attributes['error.type']]).toEqual(['no_ready_endpoint', 'no_ready_endpoint']);
    expect(serverSpan({ ...requestRecord, status: 500 }, context).error).toBe('500');
  });

  test('of an RPC tells its code, by which it is an error though the status of HTTP is none', () => {
    const ended = (grpcStatus: number, failure: Failure | null = null): unknown[] => {
      const { error, attributes } = serverSpan({ ...requestRecord, grpcStatus, failure }, context);
      return [error, attributes['error.type'], attributes['rpc.grpc.status_code'], attributes['rpc.system']];
    };
    expect(ended(13)).toEqual(['13', '13', 13, 'grpc']);
    expect(ended(4, FAILURES.requestTimeout)).toEqual(['request_timeout', 'request_timeout', 4, 'grpc']);
    expect(ended(5)).toEqual(['', undefined, 5, 'grpc']);
    expect(ended(-1)).toEqual(['', undefined, undefined, 'grpc']);
  });

  test('is an error when the caller was gone before any answer, and has no status then', () => {
    const gone = serverSpan({ ...requestRecord, status: 0, failure: FAILURES.clientGone }, context);
    expect(gone.error).toBe('client_gone');
    expect(gone.attributes).not.toHaveProperty('http.response.status_code');
  });

  test('takes no name from the caller', () => {
    const odd = serverSpan({ ...requestRecord, method: 'BREW' }, context);
    expect(odd.name).toBe('HTTP');
    expect(odd.attributes).toMatchObject({ 'http.request.method': '_OTHER', 'http.request.method_original': 'BREW' });
  });

  test('reads addresses with and without a port, in both families', () => {
    const addresses = (authority: string, downstream: string): unknown[] => {
      const { attributes } = serverSpan({ ...requestRecord, authority, downstream }, context);
      return [attributes['server.address'], attributes['server.port'], attributes['client.address']];
    };
    expect(addresses('catalog', '[fd00::1]:80')).toEqual(['catalog', undefined, 'fd00::1']);
    expect(addresses('[fd00::2]', 'fd00::1')).toEqual(['fd00::2', undefined, 'fd00::1']);
    expect(addresses('[fd00::2]:8080', '')).toEqual(['fd00::2', 8080, undefined]);
  });
});

describe('the span of an attempt', () => {
  test('follows the semantic conventions for HTTP clients', () => {
    const span = clientSpan({ ...requestRecord, direction: 'outbound' }, attemptRecord, context);
    expect(span).toMatchObject({
      kind: 'CLIENT',
      name: 'GET',
      startedAt: attemptRecord.startedAt,
      error: 'connect_refused',
    });
    expect(span.endedAt).toBe(attemptRecord.startedAt + 5);
    expect(span.attributes).toEqual({
      'http.request.method': 'GET',
      'http.request.resend_count': 1,
      'url.scheme': 'http',
      'url.full': 'http://catalog.shop:8080/items?page=2',
      'server.address': 'catalog.shop',
      'server.port': 8080,
      'network.peer.address': 'fd00::7',
      'network.peer.port': 9090,
      'network.protocol.name': 'http',
      'network.protocol.version': '1.1',
      'error.type': 'connect_refused',
      'weft.route': 'shop/catalog/0',
      'weft.request_id': requestRecord.requestId,
      'weft.cluster': 'shop/catalog:8080',
      'weft.peer.principal': attemptRecord.upstreamPrincipal,
    });
  });

  test('is an error from 400 on', () => {
    expect(clientSpan(requestRecord, { ...attemptRecord, failure: null, status: 404 }, context).error).toBe('404');
    expect(clientSpan(requestRecord, { ...attemptRecord, failure: null, status: 302 }, context).error).toBe('');
  });
});

describe('redaction', () => {
  test('takes credentials out of a query and leaves the rest as it was', () => {
    expect(redactQuery('/a?page=2&access_token=CANARY&x=1')).toBe(`/a?page=2&access_token=${REDACTED}&x=1`);
    expect(redactQuery('/a?API_KEY=CANARY')).toBe(`/a?API_KEY=${REDACTED}`);
    expect(redactQuery('/token=abc/b')).toBe('/token=abc/b');
    expect(redactQuery('/a?monkey=1&keyboard=2')).toBe('/a?monkey=1&keyboard=2');
  });

  test('keeps credentials out of spans', () => {
    const record = { ...requestRecord, path: '/a?sig=CANARY' };
    const spans = JSON.stringify([serverSpan(record, context), clientSpan(record, attemptRecord, context)]);
    expect(spans).not.toContain('CANARY');
  });

  test('leaves files, counts and durations of a dump readable', () => {
    const dump = { caTokenFile: '/var/run/token', maxTokens: 5, name: 'session', spiffeId: 'spiffe://a/b' };
    expect(JSON.parse(redactedJson(dump))).toEqual(dump);
  });
});
