/**
 * Spans as OpenTelemetry's semantic conventions for HTTP name them (opentelemetry.io, "Semantic conventions for HTTP
 * spans", stable): SERVER for what came in, CLIENT for each attempt that went out. Made for sampled requests only.
 */
import type { TraceContext } from './propagation.ts';
import type { AttemptRecord, RequestRecord, SpanRecord } from './record.ts';
import { redactQuery } from './redact.ts';

type Attributes = Record<string, string | number | boolean>;

/** Methods that may stand in a span name; any other would let callers invent names. */
const KNOWN_METHODS: ReadonlySet<string> = new Set(
  'CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT QUERY TRACE'.split(' '),
);

/** Codes of gRPC by which a server's span is an error ("Semantic conventions for gRPC"): UNKNOWN, DEADLINE_EXCEEDED and so on. */
const SERVER_ERRORS: ReadonlySet<number> = new Set([2, 4, 12, 13, 14, 15]);

/** The span of a request that came in. Its status is an error from 500 on: what the caller did wrong is not ours. */
export function serverSpan(record: RequestRecord, context: TraceContext): SpanRecord {
  const attributes = requestAttributes(record);
  const query = record.path.indexOf('?');
  attributes['url.path'] = query < 0 ? record.path : record.path.slice(0, query);
  if (query >= 0) attributes['url.query'] = redactQuery(record.path).slice(query + 1);
  const client = splitAddress(record.downstream);
  putText(attributes, 'client.address', client.host);
  putPeer(attributes, client);
  putText(attributes, 'user_agent.original', record.userAgent);
  attributes['http.request.body.size'] = record.requestBytes;
  attributes['http.response.body.size'] = record.responseBytes;
  putText(attributes, 'weft.peer.principal', record.downstreamPrincipal);
  const { grpcStatus } = record;
  if (grpcStatus !== null && grpcStatus >= 0) attributes['rpc.grpc.status_code'] = grpcStatus;
  const error =
    grpcStatus !== null && SERVER_ERRORS.has(grpcStatus)
      ? (record.failure?.word ?? String(grpcStatus))
      : errorType(record.status, record.failure?.word, 500);
  putOutcome(attributes, record.status, error);
  return span('SERVER', context, record.method, record.startedAt, record.durationMs, error, attributes);
}

/** The span of one attempt; an error from 400 on. */
export function clientSpan(record: RequestRecord, attempt: AttemptRecord, context: TraceContext): SpanRecord {
  const attributes = requestAttributes(record);
  attributes['url.full'] = `${record.scheme}://${record.authority}${redactQuery(record.path)}`;
  putPeer(attributes, splitAddress(attempt.upstream));
  if (attempt.resend > 0) attributes['http.request.resend_count'] = attempt.resend;
  putText(attributes, 'weft.cluster', record.cluster);
  putText(attributes, 'weft.peer.principal', attempt.upstreamPrincipal);
  const error = errorType(attempt.status, attempt.failure?.word, 400);
  putOutcome(attributes, attempt.status, error);
  return span('CLIENT', context, record.method, attempt.startedAt, attempt.durationMs, error, attributes);
}

function requestAttributes(record: RequestRecord): Attributes {
  const known = KNOWN_METHODS.has(record.method);
  const attributes: Attributes = {
    'http.request.method': known ? record.method : '_OTHER',
    'url.scheme': record.scheme,
    'network.protocol.name': 'http',
    'network.protocol.version': record.version === 20 ? '2' : record.version === 10 ? '1.0' : '1.1',
  };
  if (!known) attributes['http.request.method_original'] = record.method;
  if (record.grpcStatus !== null) attributes['rpc.system'] = 'grpc';
  const server = splitAddress(record.authority);
  putText(attributes, 'server.address', server.host);
  if (server.port > 0) attributes['server.port'] = server.port;
  putText(attributes, 'weft.route', record.route);
  putText(attributes, 'weft.request_id', record.requestId);
  return attributes;
}

function span(
  kind: SpanRecord['kind'],
  context: TraceContext,
  method: string,
  startedAt: number,
  durationMs: number,
  error: string,
  attributes: Attributes,
): SpanRecord {
  return {
    traceId: context.traceId,
    spanId: context.spanId,
    parentSpanId: context.parentSpanId,
    traceState: context.state,
    kind,
    name: KNOWN_METHODS.has(method) ? method : 'HTTP',
    startedAt,
    endedAt: startedAt + durationMs,
    error,
    attributes,
  };
}

/** weft's word where there is one, else the status where it counts as an error; empty for none. */
function errorType(status: number, word: string | undefined, threshold: number): string {
  if (status !== 0 && status < threshold) return '';
  if (word !== undefined) return word;
  return status >= threshold ? String(status) : '';
}

function putOutcome(attributes: Attributes, status: number, error: string): void {
  if (status > 0) attributes['http.response.status_code'] = status;
  if (error !== '') attributes['error.type'] = error;
}

function putPeer(attributes: Attributes, peer: { host: string; port: number }): void {
  putText(attributes, 'network.peer.address', peer.host);
  if (peer.port > 0) attributes['network.peer.port'] = peer.port;
}

function putText(attributes: Attributes, name: string, value: string): void {
  if (value !== '') attributes[name] = value;
}

/** `host`, `host:port`, `[v6]:port` or a bare `v6`; port 0 without. */
function splitAddress(text: string): { host: string; port: number } {
  const colon = text.lastIndexOf(':');
  const bracketed = text.startsWith('[');
  const hasPort = bracketed ? text[colon - 1] === ']' : colon >= 0 && text.indexOf(':') === colon;
  const host = hasPort ? text.slice(0, colon) : text;
  return { host: bracketed ? host.slice(1, -1) : host, port: hasPort ? Number(text.slice(colon + 1)) : 0 };
}
