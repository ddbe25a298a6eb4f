/** The policy folders of the bench's sidecars: one Service `backend` with one endpoint, and routes to it. */
import { document, endpointSlice, httpRoute, service } from '../support/policy.ts';

/** Rules that one route of either kind may hold (Gateway API). */
const RULES_PER_ROUTE = 16;
const GRPC_RULES = 10;
const BACKEND_REFS = [{ name: 'backend', port: 80 }];

type Annotations = Readonly<Record<string, string>>;

/** Path of request `index` of a bench with routes. */
export function routePath(index: number): string {
  return `/route-${index}`;
}

/** One Service `backend` whose one endpoint is `port`, with `routes` rules beside the one for `/`. */
export function backendPolicy(port: number, routes: number, annotations: Annotations): string[] {
  const prefixes = ['/', ...Array.from({ length: routes }, (_, index) => routePath(index))];
  const rules = prefixes.map((value) => ({
    matches: [{ path: { type: 'PathPrefix', value } }],
    backendRefs: BACKEND_REFS,
  }));
  const documents = [
    service({ name: 'backend', ports: [{ port: 80, targetPort: port }], annotations }),
    endpointSlice({ service: 'backend', ports: [{ port }], endpoints: ['127.0.0.1'] }),
  ];
  for (let from = 0; from < rules.length; from += RULES_PER_ROUTE) {
    const some = rules.slice(from, from + RULES_PER_ROUTE);
    documents.push(httpRoute({ name: `routes-${from}`, parent: 'backend', rules: some }));
  }
  return documents;
}

/** The same for gRPC: a GRPCRoute with a rule for each of some methods, and one for all others. */
export function grpcPolicy(port: number, annotations: Annotations): string[] {
  const methods = Array.from({ length: GRPC_RULES }, (_, index) => ({
    service: `bench.Other${index}`,
    method: 'Unary',
  }));
  const rules = [
    ...methods.map((method) => ({ matches: [{ method }], backendRefs: BACKEND_REFS })),
    { backendRefs: BACKEND_REFS },
  ];
  return [
    service({ name: 'backend', ports: [{ port: 80, targetPort: port, appProtocol: 'grpc' }], annotations }),
    endpointSlice({ service: 'backend', ports: [{ port }], endpoints: ['127.0.0.1'] }),
    document({
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'GRPCRoute',
      metadata: { name: 'methods' },
      spec: { parentRefs: [{ group: '', kind: 'Service', name: 'backend' }], rules },
    }),
  ];
}
