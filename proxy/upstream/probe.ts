/**
 * One health check of one endpoint, by TCP, HTTP or gRPC, as the data path would call it: with our identity and the mesh's
 * TLS where the endpoint takes it, or in the endpoint's own. To a meshed endpoint a TCP check proves its sidecar alone.
 *
 * Control thread only: undici (25 MB) is imported by the first check that is more than a connection.
 */
import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import type { SecureContext, TLSSocket } from 'node:tls';
import type { Client } from 'undici';
import type { Identity } from '../../certs/identity.ts';
import type { TrustSettings } from '../../certs/verify.ts';
import { systemClock } from '../../shared/clock.ts';
import { isGrpcType } from '../http/message.ts';
import { meshContext } from '../net/mesh-context.ts';
import { detailOf } from '../net/mesh-tls.ts';
import { BackendTls } from './backend-tls.ts';
import { endpointKey } from './endpoint.ts';
import type { Probe } from './health.ts';
import { MeshDial } from './mesh-dial.ts';
import { connectSecure, type SecureDial } from './secure-dial.ts';
import type { ActiveCheckSpec, BackendTlsSpec, ClusterSpec, EndpointSpec } from './spec.ts';

/** A health answer is a word; more is not read. */
const MAX_ANSWER_BYTES = 65_536;
const MESH_ALPN = 'istio';
const HTTP_ALPN = ['istio-http/1.1', 'http/1.1'];
const GRPC_ALPN = ['h2'];
/** Who selects HTTP for a connection without a request has nothing to serve and nothing to log; `istio` would be a tunnel. */
const TCP_ALPN = ['istio-http/1.1', 'istio'];
const OK = 200;
const GRPC_PATH = '/grpc.health.v1.Health/Check';
/** `HealthCheckResponse.status` (field 1, varint) SERVING, in its gRPC frame. */
const SERVING = '00000000020801';

/** Whose name checks are made in; null while there is no certificate: meshed endpoints are not judged then. */
export interface ProbeIdentity {
  identity(): Identity | null;
  trust(): TrustSettings;
}

export function makeProbe(own: ProbeIdentity): Probe {
  const dialer = new Dialer(own);
  return async (cluster, endpoint, check) => {
    if (endpoint.meshTls && own.identity() === null) return null;
    const deadline = AbortSignal.timeout(check.timeoutMs);
    try {
      if (check.type === 'HTTP') return await probeHttp(dialer, cluster, endpoint, check, deadline);
      if (check.type === 'GRPC') return await probeGrpc(dialer, cluster, endpoint, check, deadline);
      // Not before the other side has all of the handshake.
      (await dialer.dial(cluster, endpoint, TCP_ALPN, deadline)).destroySoon();
      return null;
    } catch (error) {
      if (deadline.aborted) return `no answer within ${check.timeoutMs} ms`;
      return error instanceof Error ? detailOf(error) : String(error);
    }
  };
}

async function probeHttp(
  dialer: Dialer,
  cluster: ClusterSpec,
  endpoint: EndpointSpec,
  check: ActiveCheckSpec,
  signal: AbortSignal,
): Promise<string | null> {
  const dial = (): Promise<Socket> => dialer.dial(cluster, endpoint, HTTP_ALPN, signal);
  await using client = await clientOf(endpointKey(endpoint), false, dial);
  const { statusCode, body } = await client.request({
    method: check.method,
    path: check.path,
    headers: { host: hostOf(cluster, check), ...OWN_FIELDS },
    signal,
  });
  await body.dump({ limit: MAX_ANSWER_BYTES, signal });
  return check.expectedStatuses.includes(statusCode) ? null : `status ${statusCode}`;
}

function probeGrpc(
  dialer: Dialer,
  cluster: ClusterSpec,
  endpoint: EndpointSpec,
  check: ActiveCheckSpec,
  signal: AbortSignal,
): Promise<string | null> {
  const dial = (): Promise<Socket> => dialer.dial(cluster, endpoint, GRPC_ALPN, signal);
  return askGrpcHealth(dial, endpointKey(endpoint), hostOf(cluster, check), check.service, signal);
}

/**
 * The health of one gRPC service (grpc/grpc, doc/health-checking.md) over a connection that `dial` makes; `origin` is
 * HOST:PORT. Null if it serves, else why not. Rejects where the connection fails.
 */
export async function askGrpcHealth(
  dial: () => Promise<Socket>,
  origin: string,
  host: string,
  service: string,
  signal: AbortSignal,
): Promise<string | null> {
  await using client = await clientOf(origin, true, dial);
  const { statusCode, headers, body, trailers } = await client.request({
    method: 'POST',
    path: GRPC_PATH,
    headers: { host, 'content-type': 'application/grpc', te: 'trailers', ...OWN_FIELDS },
    body: checkRequest(service),
    signal,
  });
  const type = String(headers['content-type'] ?? '');
  if (statusCode !== OK || !isGrpcType(type)) {
    await body.dump({ limit: MAX_ANSWER_BYTES, signal });
    return `no answer of gRPC: status ${statusCode}, ${type === '' ? 'no content type' : type}`;
  }
  let answer = '';
  for await (const chunk of body as AsyncIterable<Buffer>) {
    answer += chunk.toString('hex');
    if (answer.length > MAX_ANSWER_BYTES) return 'the answer is no health answer';
  }
  const code = String(trailers['grpc-status'] ?? headers['grpc-status'] ?? 'missing');
  if (code !== '0') return `gRPC status ${code}`;
  return answer === SERVING ? null : 'not serving';
}

/** A client for one request over a connection of our own making. */
async function clientOf(
  origin: string,
  http2: boolean,
  dial: () => Promise<Socket>,
): Promise<AsyncDisposable & Pick<Client, 'request'>> {
  const { Client } = await import('undici');
  const client = new Client(`http://${origin}`, {
    allowH2: http2,
    connect: (_options, callback) => void handOver(dial, http2, callback),
  });
  return {
    request: (options: Parameters<Client['request']>[0]) => client.request(options),
    [Symbol.asyncDispose]: () => client.destroy(),
  };
}

async function handOver(
  dial: () => Promise<Socket>,
  http2: boolean,
  callback: (...found: [null, Socket] | [Error, null]) => void,
): Promise<void> {
  let socket: Socket;
  try {
    socket = await dial();
  } catch (error) {
    callback(error as Error, null);
    return;
  }
  // By this alone undici chooses the protocol: in plain text nobody has negotiated it.
  callback(null, http2 ? Object.assign(socket, { alpnProtocol: 'h2' }) : socket);
}

const OWN_FIELDS = { 'user-agent': 'weft-health-check' };

/** `HealthCheckRequest{service}` in its gRPC frame. */
function checkRequest(service: string): Buffer {
  const name = Buffer.from(service);
  // Names are bounded to 1024 bytes: two bytes hold any length as a varint.
  const field =
    name.length === 0
      ? []
      : [0x0a, ...(name.length < 128 ? [name.length] : [(name.length & 127) | 128, name.length >> 7])];
  const message = Buffer.concat([Buffer.from(field), name]);
  const frame = Buffer.alloc(5);
  frame.writeUInt32BE(message.length, 1);
  return Buffer.concat([frame, message]);
}

function hostOf({ service, namespace }: ClusterSpec, { hostname }: ActiveCheckSpec): string {
  return hostname === '' ? `${service}.${namespace}` : hostname;
}

class Dialer {
  private readonly own: ProbeIdentity;
  /** By policy: contexts and client certificates are not made for each check. */
  private readonly backends = new WeakMap<BackendTlsSpec, BackendTls>();
  private known: { readonly identity: Identity; readonly clientContext: SecureContext } | null = null;

  constructor(own: ProbeIdentity) {
    this.own = own;
  }

  /** A connected socket, its peer verified where TLS is spoken. Whoever asked destroys it. */
  async dial(
    cluster: ClusterSpec,
    endpoint: EndpointSpec,
    alpn: readonly string[],
    signal: AbortSignal,
  ): Promise<Socket> {
    const where = { host: endpoint.address, port: endpoint.port, noDelay: true };
    const secure = this.secureDial(cluster, endpoint, alpn);
    const socket = secure === null ? connectTcp(where) : connectSecure(secure, where, null);
    // What fails later is for whoever reads from it.
    socket.on('error', () => {});
    signal.addEventListener('abort', () => socket.destroy(new Error('out of time')), { once: true });
    await once(socket, secure === null ? 'connect' : 'secureConnect');
    const judged = secure?.identify(socket as TLSSocket, null);
    if (judged === undefined || judged.ok) return socket;
    socket.destroy();
    throw new Error(judged.error.detail);
  }

  /** Throws where TLS is to be spoken and cannot be. */
  private secureDial(cluster: ClusterSpec, endpoint: EndpointSpec, alpn: readonly string[]): SecureDial | null {
    const identity = endpoint.meshTls ? this.own.identity() : null;
    if (identity !== null) return new MeshDial(this.meshOf(identity), cluster, alpn, this.own.trust());
    if (cluster.backendTls === null) return null;
    const dial = this.backendOf(cluster.backendTls).dial(alpn.filter((token) => !token.startsWith(MESH_ALPN)));
    if ('failure' in dial) throw new Error(dial.detail);
    return dial;
  }

  private meshOf(identity: Identity): { readonly identity: Identity; readonly clientContext: SecureContext } {
    if (this.known?.identity !== identity) {
      this.known = { identity, clientContext: meshContext(identity) };
    }
    return this.known;
  }

  private backendOf(spec: BackendTlsSpec): BackendTls {
    const known = this.backends.get(spec);
    if (known !== undefined) return known;
    const backend = new BackendTls(spec, systemClock);
    this.backends.set(spec, backend);
    return backend;
  }
}
