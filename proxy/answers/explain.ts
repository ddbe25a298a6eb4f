/**
 * What would happen to a request of the own application, and why. Parsing, stamping, lookup, filters and the choice of an
 * endpoint are the data path's own code, run on heads that go nowhere.
 */
import { FAILURES, type Failure } from '../../shared/errors.ts';
import { Random } from '../../shared/random.ts';
import type { Backend, Destination, IsOwnListener, LinkedSnapshot, Route } from '../config/link.ts';
import type { BackendSpec, FilterSpec, RuleSpec, ServicePortSpec, Snapshot } from '../config/snapshot.ts';
import { Fields, RequestHead, ResponseHead } from '../http/message.ts';
import { type Sender, stampForwarding } from '../policy/forwarding-fields.ts';
import type { HeaderModifierConfig } from '../policy/header-modifier.ts';
import type { Decision, LocalAnswer } from '../policy/policy.ts';
import { RouteTable } from '../policy/route.ts';
import { PolicyChain } from '../policy/runner.ts';
import type { Cluster } from '../upstream/cluster.ts';
import { mayUpgrade } from '../upstream/spec.ts';
import { backendView, connectionView, type Fate, requestView, routeView, serviceView } from './describe.ts';
import { accessTo } from './explain-access.ts';
import { retriesOf } from './explain-retries.ts';
import type { BackendView, Change, Explanation, FilterView, Verdict } from './explanation.ts';
import { OfflineLink } from './offline.ts';
import { type Question, readQuestion } from './question.ts';

/** Our own application, as outbound sees it. */
const APPLICATION: Sender = {
  direction: 'outbound',
  principal: '',
  certificateHash: '',
  sourceAddress: '127.0.0.1',
  trusted: true,
  encrypted: false,
};

/** Stamps a request id where the caller sent none; it is taken out of what is shown. */
const SEED = 1;

/** Links the snapshot for this one question. `isOwn` tells the asked sidecar's own listeners. */
export async function explainSnapshot(
  snapshot: Snapshot,
  question: Question,
  isOwn?: IsOwnListener,
): Promise<Explanation> {
  using link = await OfflineLink.of(snapshot, isOwn);
  return explain(link.linked, question);
}

export function explain(linked: LinkedSnapshot, question: Question): Explanation {
  const head = readQuestion(question, linked.snapshot.mesh.pathNormalization);
  return head instanceof RequestHead ? new Inquiry(linked, head, question).run() : unread(head.failure, head.detail);
}

function unread(failure: Failure, detail: string): Explanation {
  const nothing = {
    request: null,
    service: null,
    route: null,
    connection: null,
    filters: [],
    backends: [],
    mirrors: [],
  };
  return { ...nothing, verdict: refused(failure, detail), timeouts: NO_TIMEOUTS, upgrades: [], ...NO_RETRIES };
}

const NO_RETRIES = { retries: 0, retriedAfter: [], repeatable: false };
const NO_TIMEOUTS = { requestMs: 0, attemptMs: 0, streamIdleMs: 0 };

/** The way of one request, as session/exchange takes it. */
class Inquiry {
  private readonly linked: LinkedSnapshot;
  private readonly head: RequestHead;
  private readonly asked: RequestHead;
  private readonly ownId: boolean;
  private readonly question: Question;

  constructor(linked: LinkedSnapshot, head: RequestHead, question: Question) {
    this.linked = linked;
    this.head = head;
    this.question = question;
    this.asked = copy(head);
    this.ownId = head.fields.has('x-request-id');
  }

  run(): Explanation {
    const { linked, head } = this;
    stampForwarding(head, APPLICATION, '', new Random(SEED));
    const destination = linked.find(head.authority);
    if ('word' in destination) return this.told(unread(destination, ''));
    const port = this.portOf(destination);
    if (head.method === 'CONNECT') return this.tunnel(destination, port);
    const { routes, otherwise } = destination;
    const passing = port?.connections?.kind === 'TCPRoute' ? port.connections.rules[0] : undefined;
    const route = routes?.lookup(head.method, head.path, head.fields) ?? otherwise;
    const entry = port === null ? null : entryOf(port, head);
    const rule = entry === null ? null : (port?.rules[entry.rule] ?? null);
    const filters = new FilterRun(route.policies, rule?.filters ?? [], head);
    const backends = filters.decision === undefined && route.found ? this.backends(route, rule) : [];
    return this.told({
      request: null,
      verdict: overall(route, filters.decision, backends),
      service: serviceView(destination, port),
      route: entry === null || rule === null ? null : routeView(rule, entry.match),
      connection: passing === undefined ? null : connectionView(passing),
      filters: filters.views,
      timeouts: timeoutsOf(route),
      ...retriesOf(route.retries, route.retryPolicy, head),
      upgrades: route.upgrades,
      backends,
      mirrors: backends.length === 0 ? [] : mirrorsOf(route),
    });
  }

  private told(explanation: Explanation): Explanation {
    return { ...explanation, request: requestView(this.asked, this.ownId) };
  }

  /** The snapshot's words for a destination; null for a stranger. */
  private portOf({ cluster }: Destination): ServicePortSpec | null {
    for (const { ports } of this.linked.snapshot.services) {
      const port = ports.find((each) => each.cluster === cluster.key);
      if (port !== undefined) return port;
    }
    return null;
  }

  /** CONNECT asks for bytes: no rule reads them, but a TLSRoute the server name that they may begin with. */
  private tunnel(destination: Destination, port: ServicePortSpec | null): Explanation {
    const { otherwise, cluster, connections } = destination;
    const rule = connections === null ? null : connections.find(this.question.serverName?.toLowerCase() ?? null);
    const spec = port?.connections?.rules.find(({ name }) => name === rule?.name);
    const ways = connections === null ? [{ cluster, weight: 1 }] : (rule?.backends ?? []);
    const total = ways.reduce((sum, { weight }) => sum + weight, 0);
    const backends = ways.map((way) => {
      const share = total === 0 ? 0 : way.weight / total;
      return this.view({ ...way, policies: NO_POLICIES, mirrors: null }, share, otherwise, null, null);
    });
    return this.told({
      ...unread(FAILURES.noRoute, ''),
      verdict: ways.length === 0 ? refused(FAILURES.noRoute, this.unnamed()) : summary(backends),
      service: serviceView(destination, port),
      connection: spec === undefined ? null : connectionView(spec),
      backends,
    });
  }

  /** Why no TLSRoute takes what comes in the tunnel. */
  private unnamed(): string {
    const { serverName } = this.question;
    if (serverName === undefined) return 'TLSRoutes take TLS alone (ask with --server-name NAME)';
    return `no TLSRoute takes the server name "${serverName}"`;
  }

  private backends(route: Route, rule: RuleSpec | null): BackendView[] {
    return route.backends.map((backend, i) => {
      const share = route.totalWeight === 0 ? 0 : backend.weight / route.totalWeight;
      return this.view(backend, share, route, rule, rule?.backends[i] ?? null);
    });
  }

  private view(
    backend: Backend,
    share: number,
    route: Route,
    rule: RuleSpec | null,
    spec: BackendSpec | null,
  ): BackendView {
    const { trustDomain } = this.linked.snapshot.mesh;
    const { cluster } = backend;
    const failure = obstacle(cluster, route, this.head);
    if (failure !== null) {
      const verdict = refused(failure, '');
      return backendView(cluster, { ...NO_FATE, share, verdict }, trustDomain);
    }
    const head = copy(this.head);
    const run = new FilterRun(backend.policies, spec?.filters ?? [], head);
    const access = cluster === null ? null : accessTo(this.linked, cluster, this.question.from);
    const here = verdictOf(run.decision) ?? admission(cluster);
    const verdict = here.outcome === 'forwarded' ? (access?.denied ?? here) : here;
    const request = here.outcome === 'forwarded' ? requestView(head, this.ownId) : null;
    const changes = responseChanges(route, backend, head, [...(rule?.filters ?? []), ...(spec?.filters ?? [])]);
    const authorization = access?.views ?? [];
    const fate = { share, verdict, filters: run.views, request, responseChanges: changes, authorization };
    return backendView(cluster, fate, trustDomain);
  }
}

const NO_FATE: Omit<Fate, 'share' | 'verdict'> = { filters: [], request: null, responseChanges: [], authorization: [] };

/** What ends a request before the backend's own filters see it. */
function obstacle(cluster: Cluster | null, { upgrades }: Route, { upgrade }: RequestHead): Failure | null {
  if (cluster === null) return FAILURES.invalidBackend;
  return upgrade === null || mayUpgrade(upgrades, upgrade) ? null : FAILURES.upgradeRefused;
}

function timeoutsOf({ requestTimeoutMs, attemptTimeoutMs, streamIdleMs }: Route): Explanation['timeouts'] {
  return { requestMs: requestTimeoutMs, attemptMs: attemptTimeoutMs, streamIdleMs };
}

/** Of all requests of the route: those of a backend see its share of them. */
function mirrorsOf({ mirrors, backends, totalWeight }: Route): Explanation['mirrors'] {
  const ofBackends = backends.flatMap(({ mirrors: own, weight }) =>
    weight === 0 ? [] : (own ?? []).map(({ cluster, share }) => ({ cluster, share: (share * weight) / totalWeight })),
  );
  return [...(mirrors ?? []), ...ofBackends].map(({ cluster, share }) => ({ cluster: cluster.key, share }));
}

const NO_POLICIES = new PolicyChain([]);

/** The match that decides, found by a table like the one that the data path looks into. */
function entryOf({ entries, routed }: ServicePortSpec, head: RequestHead): ServicePortSpec['entries'][number] | null {
  if (!routed) return null;
  const table = new RouteTable(entries.map((entry) => ({ match: entry.match, target: entry })));
  return table.lookup(head.method, head.path, head.fields);
}

/** The policies of a chain one by one, so that the change each makes can be told. */
class FilterRun {
  readonly views: FilterView[] = [];
  readonly decision: Decision;

  constructor(chain: PolicyChain, specs: readonly FilterSpec[], head: RequestHead) {
    let decision: Decision;
    for (const [i, policy] of chain.policies.entries()) {
      if (decision !== undefined) break;
      const before = copy(head);
      if (policy.byChance === undefined) decision = new PolicyChain([policy]).request(head, APPLICATION, NOBODY);
      const { file = '', line = 0 } = specs[i]?.source ?? {};
      const chance = policy.byChance ?? '';
      this.views.push({ kind: policy.kind, file, line, requestChanges: requestChanges(before, head), chance });
    }
    this.decision = decision;
  }
}

const NOBODY = { policiesDone() {} };

/** null: it goes on. What a policy must ask the network for, nobody can tell from here: it counts as going on. */
function verdictOf(decision: Decision): Verdict | null {
  return decision === undefined || decision === 'pending' ? null : answered(decision);
}

function answered({ status, detail, headers }: LocalAnswer): Verdict {
  return { outcome: 'answered', status, word: '', detail, advice: '', headers };
}

function refused(failure: Failure, detail: string): Verdict {
  const { status, word, advice } = failure;
  return { outcome: 'refused', status, word, detail, advice, headers: [] };
}

const FORWARDED: Verdict = { outcome: 'forwarded', status: 0, word: '', detail: '', advice: '', headers: [] };

function admission(cluster: Cluster | null): Verdict {
  return cluster?.pick(null) === null ? refused(FAILURES.noReadyEndpoint, '') : FORWARDED;
}

function overall(route: Route, decision: Decision, backends: readonly BackendView[]): Verdict {
  const answer = verdictOf(decision);
  if (answer !== null) return answer;
  return route.found ? summary(backends) : refused(FAILURES.noRoute, '');
}

/** One that takes it is enough; else the first that does not says why. */
function summary(backends: readonly BackendView[]): Verdict {
  const chosen = backends.filter(({ share }) => share > 0).map(({ verdict }) => verdict);
  const invalid = refused(FAILURES.invalidBackend, '');
  return chosen.find(({ outcome }) => outcome === 'forwarded') ?? chosen[0] ?? invalid;
}

function copy(head: RequestHead): RequestHead {
  const { method, scheme, authority, path, fields, length, version, close } = head;
  const { expectContinue, acceptsTrailers, upgrade } = head;
  const twin = [copyFields(fields), length, version, close, expectContinue, acceptsTrailers, upgrade] as const;
  return new RequestHead(method, scheme, authority, path, ...twin);
}

function requestChanges(before: RequestHead, after: RequestHead): Change[] {
  const parts = (['authority', 'path'] as const).flatMap((part) =>
    before[part] === after[part] ? [] : [{ name: `:${part}`, before: before[part], after: after[part] }],
  );
  // Host follows the authority and says nothing of its own.
  return [...parts, ...fieldChanges(before.fields, after.fields).filter(({ name }) => name !== 'host')];
}

/** On a plain 200 that has every header which a filter would take away. */
function responseChanges(route: Route, backend: Backend, request: RequestHead, specs: readonly FilterSpec[]): Change[] {
  const removed = specs.flatMap(({ kind, config }) =>
    kind === 'ResponseHeaderModifier' ? (config as HeaderModifierConfig).remove : [],
  );
  const before = new Fields([...removed], Array(removed.length).fill(SOME_VALUE));
  const head = new ResponseHead(200, 'OK', copyFields(before), 0, -1, 11, false, -1, null);
  backend.policies.response(head, request, APPLICATION);
  route.policies.response(head, request, APPLICATION);
  return fieldChanges(before, head.fields);
}

const SOME_VALUE = '…';

function copyFields({ names, values }: Fields): Fields {
  return new Fields([...names], [...values]);
}

/** By lower-case name, several values joined as RFC 9110 section 5.3 joins them. */
function fieldChanges(before: Fields, after: Fields): Change[] {
  const names = new Set([...before.names, ...after.names].map((name) => name.toLowerCase()));
  const joined = (fields: Fields, name: string): string | null =>
    fields.has(name) ? fields.getAll(name).join(', ') : null;
  return [...names]
    .map((name) => ({ name, before: joined(before, name), after: joined(after, name) }))
    .filter((change) => change.before !== change.after);
}
