/** A policy folder of size, written as people write it: Services, their slices, and a route document per route. */

export interface BigPolicy {
  readonly services: number;
  /** One document each, dealt out over the Services. */
  readonly routes: number;
  /** Stands in every route, so that another word is a change of all of them. */
  readonly version?: number;
  /** Of one endpoint of the first Service, so that another number is a change of one document. */
  readonly address?: number;
}

/** The documents of Services `service-0`, `service-1`, … in namespace default. */
export function bigPolicy({ services, routes, version = 1, address = 1 }: BigPolicy): string[] {
  const each = <T>(count: number, make: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i));
  return [
    ...each(services, service),
    ...each(services, (i) => endpoints(i, i === 0 ? address : 1)),
    ...each(routes, (i) => route(i, i % services, (i + 1) % services, version)),
  ];
}

function service(i: number): string {
  return `apiVersion: v1
kind: Service
metadata:
  name: service-${i}
  labels:
    app: service-${i}
spec:
  selector:
    app: service-${i}
  ports:
    - name: http
      port: 80
      targetPort: 8080
`;
}

function endpoints(i: number, address: number): string {
  const one = (host: number): string => `  - addresses: ["10.${host}.${i >> 8}.${i & 255}"]
    conditions:
      ready: true
    zone: eu-central-1a
`;
  return `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: service-${i}-abc
  labels:
    kubernetes.io/service-name: service-${i}
addressType: IPv4
ports:
  - name: http
    port: 8080
    protocol: TCP
endpoints:
${one(address)}${one(101)}${one(102)}`;
}

function route(i: number, to: number, canary: number, version: number): string {
  return `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: route-${i}
spec:
  parentRefs:
    - group: ""
      kind: Service
      name: service-${to}
      port: 80
  rules:
    - matches:
        - path:
            type: PathPrefix
            value: /v${version}/items-${i}
          headers:
            - name: x-canary
              value: "yes"
      filters:
        - type: RequestHeaderModifier
          requestHeaderModifier:
            set:
              - name: x-route
                value: route-${i}
      backendRefs:
        - name: service-${to}
          port: 80
          weight: 90
        - name: service-${canary}
          port: 80
          weight: 10
      timeouts:
        request: 10s
`;
}
