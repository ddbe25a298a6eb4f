/** What a Service port says that it speaks. */
import type { ServicePort } from '../model/service.ts';
import type { AppProtocol } from '../snapshot.ts';

const BY_APP_PROTOCOL: Readonly<Record<string, AppProtocol>> = {
  http: 'http',
  http2: 'http2',
  grpc: 'grpc',
  https: 'https',
  tls: 'tls',
  tcp: 'tcp',
  'kubernetes.io/h2c': 'http2',
  'kubernetes.io/ws': 'http',
  'kubernetes.io/wss': 'https',
};

/** Prefixes of port names, up to the first "-", as Istio reads them; its database protocols are bytes to weft. */
const BY_NAME_PREFIX: ReadonlyMap<string, AppProtocol> = new Map([
  ['http', 'http'],
  ['http2', 'http2'],
  ['grpc', 'grpc'],
  ['https', 'https'],
  ['tls', 'tls'],
  ['tcp', 'tcp'],
  ['mongo', 'tcp'],
  ['mysql', 'tcp'],
  ['redis', 'tcp'],
]);

export function protocolOf(port: ServicePort): AppProtocol {
  if (port.appProtocol !== undefined) return BY_APP_PROTOCOL[port.appProtocol] ?? 'tcp';
  return BY_NAME_PREFIX.get(port.name.split('-', 1)[0] as string) ?? 'auto';
}

/** HTTP routes hang on ports that may carry HTTP; on others they have nothing to read. */
export function carriesHttp(protocol: AppProtocol): boolean {
  return protocol === 'auto' || protocol === 'http' || protocol === 'http2' || protocol === 'grpc';
}

/** Whether connections may pass unread; where HTTP is declared, its routes alone decide. */
export function carriesOpaque(protocol: AppProtocol): boolean {
  return protocol === 'auto' || !carriesHttp(protocol);
}
