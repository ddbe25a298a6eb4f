/**
 * Which routes judge the calls to a Service port, by GAMMA's rules: those of the Service's own namespace (producer routes)
 * for every caller, those of the caller's namespace (consumer routes) instead of them for its own calls; of one type.
 */
import type { ConnectionRoute } from '../model/connection-route.ts';
import type { HttpRoute } from '../model/http-route.ts';
import type { ParentRef } from '../model/parent-ref.ts';
import type { Service, ServicePort } from '../model/service.ts';
import type { Catalog, Entry } from './catalog.ts';
import { carriesHttp, carriesOpaque, protocolOf } from './protocol.ts';

export type AnyRoute = HttpRoute | ConnectionRoute;

/** One type of route per port: the first of these that is attached leaves no place for the others. */
const KINDS = ['GRPCRoute', 'HTTPRoute', 'TLSRoute', 'TCPRoute'] as const;
export type RouteKind = (typeof KINDS)[number];

/** Headless and ExternalName Services have no frontend of their own to route (GEP-1324). */
export function canBeParent({ value: { spec } }: Entry<Service>): boolean {
  return !spec.headless && spec.type !== 'ExternalName';
}

/** The types of route that can act on a port with this protocol, best first. */
export function routeKindsOf(port: ServicePort): readonly RouteKind[] {
  const protocol = protocolOf(port);
  return KINDS.filter((kind) => (isHttpKind(kind) ? carriesHttp(protocol) : carriesOpaque(protocol)));
}

export class Parents {
  /** Routes with at least one parent reference to the Service of this key, in order of `namespace/name`. */
  private readonly byService = new Map<string, Entry<AnyRoute>[]>();

  constructor({ routes, connectionRoutes }: Catalog) {
    for (const route of [...routes, ...connectionRoutes]) {
      for (const key of new Set(route.value.spec.parentRefs.filter(isService).map((ref) => parentKey(ref, route)))) {
        const others = this.byService.get(key);
        if (others === undefined) this.byService.set(key, [route]);
        else others.push(route);
      }
    }
  }

  /** The routes that judge calls from a namespace to a Service port, all of one kind, in order of `namespace/name`. */
  inForce(service: Entry<Service>, port: ServicePort, callerNamespace: string): readonly Entry<AnyRoute>[] {
    const named = this.byService.get(service.key);
    if (named === undefined || !canBeParent(service)) return [];
    const kinds: readonly string[] = routeKindsOf(port);
    const attached = named.filter(
      (route) =>
        kinds.includes(route.value.kind) &&
        route.value.spec.parentRefs.some(
          (ref) => isService(ref) && parentKey(ref, route) === service.key && namesPort(ref, port),
        ),
    );
    const consumers = attached.filter(({ namespace }) => namespace === callerNamespace);
    const ruling =
      consumers.length > 0 ? consumers : attached.filter(({ namespace }) => namespace === service.namespace);
    const kind = kinds.find((each) => ruling.some(({ value }) => value.kind === each));
    return ruling.filter(({ value }) => value.kind === kind);
  }
}

function isHttpKind(kind: string): boolean {
  return kind === 'HTTPRoute' || kind === 'GRPCRoute';
}

export function isHttpRoute(route: Entry<AnyRoute>): route is Entry<HttpRoute> {
  return isHttpKind(route.value.kind);
}

export function isConnectionRoute(route: Entry<AnyRoute>): route is Entry<ConnectionRoute> {
  return !isHttpKind(route.value.kind);
}

export function isService(ref: ParentRef): boolean {
  return ref.kind === 'Service';
}

/** `namespace/name` of the Service that a reference of this route names. */
export function parentKey(ref: ParentRef, route: Entry<AnyRoute>): string {
  return `${ref.namespace ?? route.namespace}/${ref.name}`;
}

/** A parent reference may name a port by number, by name (sectionName), by both, or mean every port. */
export function namesPort(ref: ParentRef, port: ServicePort): boolean {
  return (
    (ref.port === undefined || ref.port === port.port) &&
    (ref.sectionName === undefined || ref.sectionName === port.name)
  );
}
