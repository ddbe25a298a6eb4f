/** What is legal but most likely wrong: warnings of `weft validate`, told only of a folder without errors. */

import type { Problem } from '../../shared/problem.ts';
import { formatDuration } from '../../shared/units.ts';
import { Catalog, compareText, type Entry, type Self } from '../config/compile/catalog.ts';
import {
  type AnyRoute,
  canBeParent,
  isConnectionRoute,
  isHttpRoute,
  isService,
  namesPort,
  Parents,
  parentKey,
  routeKindsOf,
} from '../config/compile/parents.ts';
import { hasLabels } from '../config/compile/peer-modes.ts';
import { rankMatches } from '../config/compile/routes.ts';
import type { DecodedDocument } from '../config/decode.ts';
import type { ConnectionRoute } from '../config/model/connection-route.ts';
import type { HttpFilter } from '../config/model/http-filter.ts';
import type { HttpRoute } from '../config/model/http-route.ts';
import type { Envelope } from '../config/model/kind.ts';
import type { ParentRef } from '../config/model/parent-ref.ts';
import type { Selector } from '../config/model/peer-authentication.ts';
import type { Service, ServicePort } from '../config/model/service.ts';
import type { TargetRef, TrafficPolicy } from '../config/model/traffic-policy.ts';
import type { Path } from '../config/place.ts';
import type { Snapshot } from '../config/snapshot.ts';
import { covers } from './cover.ts';
import { lintMatches } from './lint-matches.ts';
import { lintSecurity } from './lint-security.ts';
import { lintSlices } from './lint-slices.ts';

export function lint(documents: readonly DecodedDocument[], self: Self, snapshot: Snapshot): Problem[] {
  return new Linter(new Catalog(documents, self), snapshot).run();
}

class Linter {
  private readonly catalog: Catalog;
  private readonly snapshot: Snapshot;
  private readonly parents: Parents;
  private readonly warnings: Problem[] = [];

  constructor(catalog: Catalog, snapshot: Snapshot) {
    this.catalog = catalog;
    this.snapshot = snapshot;
    this.parents = new Parents(catalog);
  }

  run(): Problem[] {
    this.lintAddresses();
    for (const route of [...this.catalog.routes, ...this.catalog.connectionRoutes]) this.lintRoute(route);
    this.lintShadows();
    this.lintSharedPorts();
    this.lintTimeouts();
    for (const check of [lintSlices, lintMatches, lintSecurity]) this.warnings.push(...check(this.catalog));
    for (const policy of this.catalog.trafficPolicies) {
      this.lintTargets(policy);
      this.lintAttempts(policy);
      this.lintChecks(policy);
    }
    this.lintScopes(this.catalog.peerAuthentications);
    this.lintScopes(this.catalog.telemetries);
    return this.warnings;
  }

  private warn<T extends Envelope>(entry: Entry<T>, path: Path, message: string, advice = ''): void {
    this.warnings.push(entry.place.problem(path, message, advice, { severity: 'warning' }));
  }

  /** Two Services that claim one address and port: the first by name gets the traffic. */
  private lintAddresses(): void {
    const owners = new Map<string, Entry<Service>>();
    for (const service of this.catalog.services.values()) {
      for (const address of service.value.spec.clusterIPs) {
        for (const { port } of service.value.spec.ports) {
          const first = owners.get(`${address} ${port}`);
          if (first === undefined) owners.set(`${address} ${port}`, service);
          else this.warn(service, ['spec'], `claims ${address} port ${port}, which is Service ${first.key}'s`);
        }
      }
    }
  }

  private lintRoute(route: Entry<AnyRoute>): void {
    const { parentRefs, rules } = route.value.spec;
    const fate = isHttpRoute(route) ? 'gets 500' : 'is closed';
    if (parentRefs.length === 0) this.warn(route, ['spec'], 'hangs on no parent', 'parentRefs');
    for (const [i, ref] of parentRefs.entries()) {
      const wrong = isService(ref) ? this.wrongParent(route, ref) : null;
      if (wrong !== null) this.warn(route, ['spec', 'parentRefs', i], wrong);
    }
    for (const [i, { backendRefs }] of rules.entries()) {
      const path: Path = ['spec', 'rules', i, 'backendRefs'];
      if (backendRefs.length > 0 && backendRefs.every(({ weight }) => weight === 0)) {
        this.warn(route, path, `all weights are zero: every ${isHttpRoute(route) ? 'request' : 'connection'} ${fate}`);
      }
      for (const [j, ref] of backendRefs.entries()) {
        const key = `${ref.namespace ?? route.namespace}/${ref.name}`;
        const wrong = this.missing(key, ({ port }) => port === ref.port, `port ${ref.port}`);
        if (wrong !== null) this.warn(route, [...path, j], `${wrong}: its share ${fate}`);
      }
    }
    if (isHttpRoute(route)) this.lintMirrors(route);
  }

  private lintMirrors(route: Entry<HttpRoute>): void {
    for (const [i, { filters, backendRefs }] of route.value.spec.rules.entries()) {
      const path: Path = ['spec', 'rules', i];
      this.lintMirrorsOf(route, filters, [...path, 'filters']);
      for (const [j, backend] of backendRefs.entries()) {
        this.lintMirrorsOf(route, backend.filters, [...path, 'backendRefs', j, 'filters']);
      }
    }
  }

  private lintMirrorsOf(route: Entry<HttpRoute>, filters: readonly HttpFilter[], path: Path): void {
    for (const [i, filter] of filters.entries()) {
      if (filter.type !== 'RequestMirror') continue;
      const { namespace = route.namespace, name, port: asked } = filter.requestMirror.backendRef;
      const wrong = this.missing(`${namespace}/${name}`, ({ port }) => port === asked, `port ${asked}`);
      const place = [...path, i, 'requestMirror', 'backendRef'];
      if (wrong !== null) this.warn(route, place, `${wrong}: nothing is mirrored`);
    }
  }

  private wrongParent(route: Entry<AnyRoute>, ref: ParentRef): string | null {
    const key = parentKey(ref, route);
    const asked = [ref.sectionName, ref.port].filter((part) => part !== undefined).join(' ');
    const missing = this.missing(key, (port) => namesPort(ref, port), `port ${asked}`);
    const service = this.catalog.services.get(key);
    if (missing !== null || service === undefined) return missing;
    if (!canBeParent(service)) return `Service ${key} is headless or ExternalName and takes no routes`;
    const ports = service.value.spec.ports.filter((port) => namesPort(ref, port));
    const { kind } = route.value;
    if (!ports.some((port) => routeKindsOf(port).some((each) => each === kind))) {
      return `Service ${key} carries ${isHttpRoute(route) ? 'no HTTP' : 'only HTTP'} there: the route has no effect`;
    }
    const ruling = ports.flatMap((port) => this.parents.inForce(service, port, route.namespace));
    if (ruling.includes(route) || ruling.every((other) => other.value.kind === kind)) return null;
    const [{ value: first } = route] = ruling;
    return `Service ${key} has a ${first.kind} there, which leaves no place for ${kind}s`;
  }

  /** What does not exist of a Service and a port of it; null if both do. */
  private missing(key: string, fits: (port: ServicePort) => boolean, asked: string): string | null {
    const service = this.catalog.services.get(key);
    if (service === undefined) return `there is no Service ${key}`;
    return service.value.spec.ports.some(fits) ? null : `Service ${key} has no ${asked}`;
  }

  /** Matches that can never decide, because one before them takes all they would. */
  private lintShadows(): void {
    const callers = new Set(this.catalog.routes.map(({ namespace }) => namespace));
    const told = new Set<string>();
    for (const service of this.catalog.services.values()) {
      for (const port of service.value.spec.ports) {
        for (const caller of new Set([service.namespace, ...callers])) {
          this.lintOrder(rankMatches(this.parents.inForce(service, port, caller).filter(isHttpRoute)), told);
        }
      }
    }
  }

  private lintOrder(ranked: ReturnType<typeof rankMatches>, told: Set<string>): void {
    for (const [i, later] of ranked.entries()) {
      const before = ranked.slice(0, i).find(({ match }) => covers(match, later.match));
      const key = `${later.route.key} ${later.rule} ${later.index}`;
      if (before === undefined || told.has(key)) continue;
      told.add(key);
      const { name } = before.route.source(['spec', 'rules', before.rule]);
      const { file, line } = before.route.source(['spec', 'rules', before.rule, 'matches', before.index]);
      const message = `can never match: rule ${before.rule} of ${name} at ${file}:${line} takes all of it`;
      this.warn(later.route, ['spec', 'rules', later.rule, 'matches', later.index], message);
    }
  }

  /** Connection routes that another one leaves nothing to. */
  private lintSharedPorts(): void {
    for (const service of this.catalog.services.values()) {
      for (const port of service.value.spec.ports) {
        const routes = this.parents.inForce(service, port, service.namespace).filter(isConnectionRoute);
        const owners = new Map<string, Entry<ConnectionRoute>>();
        for (const route of routes) {
          const { hostnames } = route.value.spec;
          for (const name of hostnames.length === 0 ? [''] : hostnames) {
            const first = owners.get(name);
            if (first === undefined) owners.set(name, route);
            else this.warn(route, ['spec'], sharedText(first, service.key, port.port, name));
          }
        }
      }
    }
  }

  /** A rule's attempt timeout against the whole's, wherever that comes from. */
  private lintTimeouts(): void {
    const tooLong = new Set<string>();
    for (const { ports } of this.snapshot.services) {
      for (const { name, requestTimeoutMs, attemptTimeoutMs } of ports.flatMap(({ rules }) => rules)) {
        if (requestTimeoutMs > 0 && attemptTimeoutMs > requestTimeoutMs) tooLong.add(name);
      }
    }
    for (const route of this.catalog.routes) {
      for (const [i, rule] of route.value.spec.rules.entries()) {
        if (!tooLong.has(`${route.key}/${rule.name ?? i}`)) continue;
        const message = 'is longer than the timeout of the whole request that a TrafficPolicy sets';
        this.warn(route, ['spec', 'rules', i, 'timeouts', 'backendRequest'], message);
      }
    }
  }

  /** A policy's attempt timeout against the whole's: its own, or that of a Service it targets. */
  private lintAttempts(policy: Entry<TrafficPolicy>): void {
    const { targetRefs, timeout, retry } = policy.value.spec;
    const attemptMs = retry?.perRetry?.timeout;
    if (attemptMs === undefined) return;
    const targets = new Set(targetRefs.map(({ kind, name }) => `${kind} ${policy.namespace}/${name}`));
    const wholes = this.snapshot.clusters
      .filter(({ namespace, service }) => targets.has(`Service ${namespace}/${service}`))
      .filter(({ attemptTimeoutMs }) => attemptTimeoutMs === attemptMs)
      .map(({ requestTimeoutMs }) => requestTimeoutMs);
    const whole = [timeout?.http?.requestTimeout ?? 0, ...wholes].find((ms) => ms > 0 && ms < attemptMs);
    if (whole === undefined) return;
    const message = `is longer than the whole request may take: ${formatDuration(whole)}`;
    this.warn(policy, ['spec', 'retry', 'perRetry', 'timeout'], message);
  }

  private lintTargets(policy: Entry<TrafficPolicy>): void {
    for (const [i, ref] of policy.value.spec.targetRefs.entries()) {
      const wrong = this.wrongTarget(policy, ref);
      if (wrong !== null) this.warn(policy, ['spec', 'targetRefs', i], `${wrong}: the policy selects nothing there`);
    }
  }

  private lintChecks(policy: Entry<TrafficPolicy>): void {
    const { targetRefs, healthCheck } = policy.value.spec;
    if (healthCheck?.active?.type !== 'TCP') return;
    const targets = new Set(targetRefs.map(({ name }) => `${policy.namespace}/${name}`));
    const meshed = this.snapshot.clusters.some(
      ({ namespace, service, endpoints }) =>
        targets.has(`${namespace}/${service}`) && endpoints.some(({ meshTls }) => meshTls),
    );
    if (!meshed) return;
    const message = 'proves of a meshed endpoint only that its sidecar listens';
    this.warn(policy, ['spec', 'healthCheck', 'active', 'type'], message, 'HTTP or GRPC');
  }

  private wrongTarget(policy: Entry<TrafficPolicy>, ref: TargetRef): string | null {
    const key = `${policy.namespace}/${ref.name}`;
    if (ref.kind === 'Service') {
      const fits = (port: ServicePort): boolean => ref.sectionName === undefined || port.name === ref.sectionName;
      return this.missing(key, fits, `port ${ref.sectionName}`);
    }
    const route = this.catalog.routes.find((each) => each.value.kind === ref.kind && each.key === key);
    if (route === undefined) return `there is no ${ref.kind} ${key}`;
    const named = ref.sectionName === undefined || route.value.spec.rules.some(({ name }) => name === ref.sectionName);
    return named ? null : `${ref.kind} ${key} has no rule ${ref.sectionName}`;
  }

  /** Of two documents for one scope the first by name holds; a selector in the root namespace reaches no other one. */
  private lintScopes<T extends Envelope & { readonly spec: { readonly selector?: Selector | undefined } }>(
    entries: readonly Entry<T>[],
  ): void {
    const first = new Map<string, Entry<T>>();
    for (const entry of entries) {
      const { selector } = entry.value.spec;
      const labels = Object.entries(selector?.matchLabels ?? {}).toSorted(([a], [b]) => compareText(a, b));
      const scope = `${entry.namespace} ${JSON.stringify(labels)}`;
      const before = first.get(scope);
      if (before === undefined) first.set(scope, entry);
      else
        this.warn(
          entry,
          ['spec'],
          `has no effect: ${before.value.kind} ${before.key} has the same scope and comes first`,
        );
      if (hasLabels(selector) && entry.namespace === this.catalog.mesh.rootNamespace) {
        const message = `selects nothing outside ${entry.namespace}: with a selector the root namespace is like any other`;
        this.warn(entry, ['spec', 'selector'], message);
      }
    }
  }
}

function sharedText(first: Entry<ConnectionRoute>, service: string, port: number, name: string): string {
  const what = name === '' ? 'connections' : `connections for ${name}`;
  return `gets no ${what} at Service ${service} port ${port}: ${first.value.kind} ${first.key} comes first`;
}
