import type { RequestLabels, TcpLabels } from '../../../proxy/telemetry/metrics.ts';
import type { AttemptRecord, ConnectionRecord, Party, RequestRecord } from '../../../proxy/telemetry/record.ts';
import { FAILURES } from '../../../shared/errors.ts';

export function party(name: string): Party {
  return {
    workload: `${name}-v1`,
    namespace: 'shop',
    app: name,
    version: 'v1',
    principal: `spiffe://cluster.local/ns/shop/sa/${name}`,
    cluster: 'Kubernetes',
  };
}

export const tcpLabels: TcpLabels = {
  reporter: 'source',
  source: party('storefront'),
  destination: party('catalog'),
  service: { host: 'catalog.shop.svc.cluster.local', name: 'catalog', namespace: 'shop' },
  security: 'unknown',
};

export const requestLabels: RequestLabels = { ...tcpLabels, protocol: 'http' };

export const requestRecord: RequestRecord = {
  direction: 'inbound',
  startedAt: 1_700_000_000_123.75,
  durationMs: 12.345_678,
  upstreamMs: 10.5,
  method: 'GET',
  scheme: 'http',
  authority: 'catalog.shop:8080',
  path: '/items?page=2',
  version: 11,
  status: 200,
  grpcStatus: null,
  failure: null,
  waitFlag: '',
  detail: '',
  requestBytes: 0,
  responseBytes: 1024,
  requestId: '11111111-2222-4333-8444-555555555555',
  traceId: '0af7651916cd43dd8448eb211c80319c',
  route: 'shop/catalog/0',
  cluster: 'shop/catalog:8080',
  upstream: '10.0.0.7:9090',
  attempts: 1,
  downstream: '10.0.0.5:40112',
  downstreamPrincipal: 'spiffe://cluster.local/ns/shop/sa/storefront',
  upstreamPrincipal: '',
  userAgent: 'curl/8',
};

export const attemptRecord: AttemptRecord = {
  startedAt: 1_700_000_000_200,
  durationMs: 5,
  resend: 1,
  status: 0,
  failure: FAILURES.connectRefused,
  upstream: '[fd00::7]:9090',
  upstreamPrincipal: 'spiffe://cluster.local/ns/shop/sa/catalog',
};

export const connectionRecord: ConnectionRecord = {
  direction: 'outbound',
  startedAt: 1_700_000_000_000,
  durationMs: 1000,
  failure: FAILURES.connectRefused,
  detail: 'ECONNREFUSED',
  receivedBytes: 10,
  sentBytes: 20,
  authority: 'db.shop:5432',
  cluster: 'shop/db:5432',
  upstream: '10.0.0.9:5432',
  downstream: '127.0.0.1:5555',
  downstreamPrincipal: '',
  upstreamPrincipal: 'spiffe://cluster.local/ns/shop/sa/db',
};
