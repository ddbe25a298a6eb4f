/** The registry of policy kinds: a new kind is one file and one line here. */
import { authorizationPolicy } from './authorization-policy.ts';
import { backendTlsPolicy } from './backend-tls-policy.ts';
import { configMap } from './config-map.ts';
import { tcpRoute, tlsRoute } from './connection-route.ts';
import { endpointSlice } from './endpoint-slice.ts';
import { grpcRoute } from './grpc-route.ts';
import { httpRoute } from './http-route.ts';
import type { Envelope, Kind } from './kind.ts';
import { mesh } from './mesh.ts';
import { peerAuthentication } from './peer-authentication.ts';
import { service } from './service.ts';
import { telemetry } from './telemetry.ts';
import { trafficPolicy } from './traffic-policy.ts';

/** Kinds that people mount and weft does not act on yet: refused by name, since skipping them would change what is allowed. */
export const NOT_YET: readonly string[] = ['RequestAuthentication'];

export const KINDS: readonly Kind<Envelope>[] = [
  service,
  endpointSlice,
  httpRoute,
  grpcRoute,
  tlsRoute,
  tcpRoute,
  backendTlsPolicy,
  configMap,
  peerAuthentication,
  authorizationPolicy,
  telemetry,
  trafficPolicy,
  mesh,
];
