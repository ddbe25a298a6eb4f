/**
 * Composition root of the control thread: binds, starts the servers and the data threads, feeds them policy and identity,
 * answers for them, and takes them down. It never touches a proxied byte.
 */
import { getRandomValues } from 'node:crypto';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import pino, { type Logger } from 'pino';
import type { Identity } from '../certs/identity.ts';
import { formatHostPort, type HostPort } from '../shared/address.ts';
import { type Clock, systemClock } from '../shared/clock.ts';
import { listenProblem } from '../shared/listen-error.ts';
import { formatProblem, type Problem } from '../shared/problem.ts';
import { systemRandom } from '../shared/random.ts';
import { mergeClusters } from './admin/clusters.ts';
import {
  type AdminSources,
  createAdminServer,
  createMetricsServer,
  createReadinessServer,
  type Readiness,
} from './admin/routes.ts';
import { AppBehind } from './app-behind.ts';
import type { Bootstrap } from './config/bootstrap.ts';
import type { IsOwnListener } from './config/link.ts';
import type { Snapshot } from './config/snapshot.ts';
import { PolicySource } from './config/sources.ts';
import { dataSettings, selfOf } from './data-settings.ts';
import { hasIPv6, ipv4Only } from './families.ts';
import { type Binding, bind } from './listener/bind.ts';
import { MemoryAtRest } from './memory-at-rest.ts';
import { OwnCertificate } from './own-certificate.ts';
import { explainInForce, policyTestsOf } from './questions.ts';
import { Rollout } from './rollout.ts';
import { LogOutput } from './telemetry/log-output.ts';
import { Metrics } from './telemetry/metrics.ts';
import type { SpanExport } from './telemetry/otel.ts';
import { ThreadReports } from './telemetry/prometheus.ts';
import { tracingSettings } from './telemetry/sampling.ts';
import { policyReloads, registerControlGauges, threadRestarts } from './telemetry/weft-series.ts';
import { DataThreads, type ThreadBindings } from './threads.ts';
import { dnsQuestions } from './upstream/dns.ts';
import { HealthChecks } from './upstream/health.ts';
import { makeProbe } from './upstream/probe.ts';
import { VERSION } from './version.ts';

/** AES key, HMAC key and name of TLS session tickets (OpenSSL); one set per identity, shared by all data threads. */
const TICKET_KEY_BYTES = 48;
/** After the start the first requests come first: memory is tidied up when they have had their time. */
const SETTLED_MS = 1_000;
/** The end of a drain's patience is kept for what was accepted before the listeners closed: this long, or a quarter. */
const LAST_REQUESTS_MS = 3_000;
const STDOUT = 1;
/** For a reader of the log to take the last of it. */
const LAST_LINES_MS = 2_000;

export interface ControlOptions {
  readonly bootstrap: Bootstrap;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The file a data thread starts from. */
  readonly workerEntry: URL;
}

export class Control {
  private readonly bootstrap: Bootstrap;
  private readonly env: ControlOptions['env'];
  private readonly app: AppBehind;
  private readonly clock: Clock = systemClock;
  private readonly logger: Logger;
  private readonly stdout: LogOutput = new LogOutput(STDOUT, this.clock);
  private readonly memory = new MemoryAtRest(this.clock);
  private readonly metrics = new Metrics();
  private readonly reports = new ThreadReports();
  private readonly threads: DataThreads;
  private readonly policy: PolicySource;
  private readonly certificate: OwnCertificate;
  private readonly health: HealthChecks;
  private readonly rollout: Rollout;
  private readonly bindings: Binding[][] = [];
  private readonly servers: Server[] = [];
  private isOwn: IsOwnListener = () => false;
  private spanExport: SpanExport | null = null;
  private snapshot: Snapshot | null = null;
  private listening = false;
  private drained: Promise<void> | null = null;
  private drainingSince = 0;
  private ended: Promise<void> | null = null;
  private readonly onQuit: () => void;

  /**
   * Binds every port; throws if one is taken, or what injection wrote cannot be read. `onQuit` is called when the admin
   * server asks for the end.
   */
  constructor({ bootstrap, env, workerEntry }: ControlOptions, onQuit: () => void) {
    process.once('exit', () => this.stdout.end());
    this.bootstrap = hasIPv6() ? bootstrap : ipv4Only(bootstrap);
    this.env = env;
    this.onQuit = onQuit;
    this.app = new AppBehind(env, (problem) => this.logger.debug({ problem }, "the application's metrics"));
    const base = { pod: bootstrap.pod, namespace: bootstrap.namespace };
    this.logger = pino({ base }, { write: (line) => this.stdout.write(Buffer.from(line)) });
    const { namespace, labels, serviceAccount } = bootstrap;
    this.policy = new PolicySource(
      bootstrap.policy,
      { namespace, labels, serviceAccount },
      {
        onSnapshot: (snapshot) => void this.rollout.apply(snapshot),
        onProblems: (problems) => this.refusePolicy(problems),
        onTestFailures: (failures) => {
          for (const failure of failures) this.logger.warn({ problem: formatProblem(failure) }, 'policy test fails');
        },
      },
      this.clock,
      policyTestsOf(bootstrap),
    );
    this.health = this.makeHealthChecks();
    this.rollout = this.makeRollout();
    this.certificate = new OwnCertificate(this.clock, this.logger, this.metrics, (identity) =>
      this.useIdentity(identity),
    );
    this.threads = this.makeThreads(workerEntry, this.bindTraffic());
    registerControlGauges(this.metrics, VERSION, {
      certificateNotAfter: () => this.certificate.identity?.notAfter ?? 0,
      certificateRotatedAt: () => this.certificate.rotatedAt,
      certificateFailedAt: () => this.certificate.failedAt,
      policyHash: () => this.snapshot?.hash ?? '',
      policyAppliedAt: () => (this.snapshot === null ? 0 : this.policy.counts.lastGoodAt),
      ready: () => this.readiness().ready,
      dataThreads: () => this.threads.count,
      logWritesDropped: () => this.stdout.dropped,
    });
  }

  /** Resolves when the admin, metrics and readiness servers are up; traffic follows as policy and certificate allow. */
  async start(): Promise<void> {
    const { bootstrap } = this;
    const sources = this.adminSources();
    this.threads.start();
    await this.serve('admin', createAdminServer(sources), bootstrap.admin);
    await this.serve('metrics', createMetricsServer(this.app.metricsBeside(sources)), bootstrap.metrics);
    await this.serve('ready', createReadinessServer(sources, this.app.questions), bootstrap.ready);
    await this.certificate.start({ ...bootstrap, workloadApi: this.env['SPIFFE_ENDPOINT_SOCKET'] ?? '' });
    await this.policy.start();
  }

  /** Serves on until nothing is open (CONTRACT, "Drain"), at most for the time that `--drain` gives; then stops. */
  async drain(): Promise<void> {
    const patience = this.bootstrap.drain * 1000;
    const last = Math.min(LAST_REQUESTS_MS, patience / 4);
    const drained = this.startDrain();
    // A preStop hook may have begun it: the pod's grace period counts from there.
    await atMost(Math.max(0, patience - last - (this.clock.now() - this.drainingSince)), drained);
    this.closeBindings();
    await atMost(last, this.threads.close());
    await this.stop();
  }

  /** Unready from now on; resolves when nothing is open any more. */
  private startDrain(): Promise<void> {
    if (this.drained === null) {
      this.logger.info('draining');
      this.drainingSince = this.clock.now();
      this.drained = this.threads.drain();
    }
    return this.drained;
  }

  /** Ends everything at once; resolves when the last log line and span are out. */
  stop(): Promise<void> {
    this.ended ??= this.end();
    return this.ended;
  }

  private async end(): Promise<void> {
    this.policy.close();
    this.health.close();
    this.rollout.close();
    this.certificate.close();
    await this.threads.stop();
    for (const server of this.servers) {
      server.close();
      server.closeAllConnections();
    }
    this.closeBindings();
    await this.spanExport?.shutdown();
    this.logger.info('ended');
    await atMost(LAST_LINES_MS, this.stdout.flushed());
  }

  private closeBindings(): void {
    for (const threads of this.bindings.splice(0)) for (const binding of threads) binding.close();
  }

  private bindTraffic(): ThreadBindings[] {
    const { inbound, outbound, threads } = this.bootstrap;
    const bindOne = (direction: 'inbound' | 'outbound', { host, port }: HostPort): ThreadBindings => {
      const bindings = bindOrExplain(direction, host, port, threads);
      this.bindings.push(bindings);
      return { direction, bindings };
    };
    return [bindOne('inbound', inbound), ...outbound.map((address) => bindOne('outbound', address))];
  }

  private makeThreads(workerEntry: URL, traffic: readonly ThreadBindings[]): DataThreads {
    const { bootstrap, logger } = this;
    const settings = dataSettings(bootstrap, traffic, tracingSettings(this.env));
    this.isOwn = (host, port) => settings.ownPorts.includes(port) && settings.ownAddresses.includes(host);
    return new DataThreads(workerEntry, settings, traffic, this.clock, {
      onSpans: (spans) => this.spanExport?.add(spans),
      onLog: (lines, written) => this.stdout.write(lines, written),
      onNotice: (level, message, fields) => logger[level](fields, message),
      onReport: ({ thread, metrics }) => this.reports.update(thread, metrics),
      onDeath: (thread, reason, error) => {
        threadRestarts(this.metrics, reason).inc();
        this.reports.retire(thread);
        logger.error({ thread, reason, err: error ?? undefined }, 'a data thread has died and is being replaced');
      },
    });
  }

  private makeHealthChecks(): HealthChecks {
    const probe = makeProbe({
      identity: () => this.certificate.identity,
      trust: () => this.certificate.trust,
    });
    return new HealthChecks(this.clock, systemRandom(), probe, {
      onChange: (change) => this.logger[change.healthy ? 'info' : 'warn']({ ...change }, 'health check'),
      onUnhealthy: (unhealthy) => this.threads.useHealth(unhealthy),
    });
  }

  private makeRollout(): Rollout {
    return new Rollout((snapshot) => this.threads.apply(snapshot), this.clock, dnsQuestions(), {
      onApplied: (snapshot, isNew, longestTurnMs) => {
        this.snapshot = snapshot;
        const { trustDomain, trustDomainAliases: aliases } = snapshot.mesh;
        this.certificate.useTrust({ trustDomain, aliases });
        this.health.update(snapshot.clusters);
        if (isNew) this.policyCame('applied');
        const turnMs = Math.round(longestTurnMs * 100) / 100;
        const fields = { hash: snapshot.hash, services: snapshot.services.length, turnMs };
        this.logger.info(fields, isNew ? 'policy applied' : 'addresses applied');
        this.listenWhenReady();
      },
      onRefused: ({ hash }, error) => {
        this.policyCame('refused');
        this.logger.error({ error, hash }, 'a data thread cannot use the policy: the last one stays');
      },
    });
  }

  private refusePolicy(problems: readonly Problem[]): void {
    this.policyCame('refused');
    const kept = this.snapshot === null ? 'no policy is in force' : 'the last good policy stays in force';
    for (const problem of problems) this.logger.error({ problem: formatProblem(problem) }, `policy problem: ${kept}`);
  }

  private policyCame(result: 'applied' | 'refused'): void {
    policyReloads(this.metrics, result).inc();
    if (this.listening) this.memory.after();
  }

  private useIdentity(identity: Identity): void {
    this.threads.useIdentity(identity, getRandomValues(new Uint8Array(TICKET_KEY_BYTES)));
    this.listenWhenReady();
  }

  /** Traffic is taken from the first moment both are there, and not refused again afterwards. */
  private listenWhenReady(): void {
    if (this.listening || this.snapshot === null || this.certificate.identity === null) return;
    void this.threads.listen().then(() => {
      if (this.listening) return;
      this.listening = true;
      for (const [i, threads] of this.bindings.entries()) {
        const { host, port } = threads[0] as Binding;
        this.announce(i === 0 ? 'inbound' : 'outbound', formatHostPort(host, port));
      }
      void this.startTracing().then(() => this.memory.after(SETTLED_MS));
    });
  }

  /** After the listeners are up: the SDK takes half a second to load. */
  private async startTracing(): Promise<void> {
    if (tracingSettings(this.env) === null) return;
    const { startSpanExport } = await import('./telemetry/otel.ts');
    this.spanExport = await startSpanExport({
      workload: selfOf(this.bootstrap).workload,
      version: VERSION,
      warn: (message) => this.logger.warn({ detail: message }, 'tracing'),
    });
  }

  private readiness(): Readiness {
    const reasons: string[] = [];
    if (this.drained !== null) reasons.push('draining');
    if (this.snapshot === null) reasons.push('no policy is in force');
    const uncertified = this.certificate.unready();
    if (uncertified !== null) reasons.push(uncertified);
    if (!this.listening) reasons.push('not listening');
    return { ready: reasons.length === 0, reasons };
  }

  private adminSources(): AdminSources {
    return {
      ready: () => this.readiness(),
      configDump: () => ({
        version: VERSION,
        bootstrap: this.bootstrap,
        policy: {
          ...this.policy.counts,
          problems: this.policy.problems.map(formatProblem),
          test_failures: this.policy.testFailures.map(formatProblem),
        },
        snapshot: this.snapshot,
      }),
      clusters: async () => mergeClusters((await this.threads.report()).map(({ clusters }) => clusters)),
      explain: (question) => explainInForce(this.snapshot, question, this.certificate.identity?.spiffeId, this.isOwn),
      certs: () => (this.certificate.identity === null ? [] : [this.certificate.identity]),
      metricsText: async () => {
        await this.threads.report();
        return this.reports.text(this.metrics.report());
      },
      setLogLevel: (level) => {
        this.logger.level = level;
      },
      drain: () => void this.startDrain(),
      quit: () => this.onQuit(),
      onError: (error) => this.logger.error({ err: error }, 'admin'),
    };
  }

  private async serve(name: string, server: Server, { host, port }: HostPort): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once('error', (error) =>
      reject(new Error(`--${name} ${formatHostPort(host, port)}: ${listenProblem(error)}`)),
    );
    server.listen({ host, port }, resolve);
    await promise;
    this.servers.push(server);
    const { address, port: actual } = server.address() as AddressInfo;
    this.announce(name, formatHostPort(address, actual));
  }

  private announce(listener: string, address: string): void {
    this.logger.info({ listener, address }, 'listening');
  }
}

/** Resolves with `done`, or when the time is up. */
async function atMost(ms: number, done: Promise<void>): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timeout = setTimeout(resolve, ms);
  await Promise.race([done, late]);
  clearTimeout(timeout);
}

function bindOrExplain(name: string, host: string, port: number, threads: number): Binding[] {
  try {
    return bind(host, port, threads);
  } catch (error) {
    throw new Error(`--${name} ${formatHostPort(host, port)}: ${listenProblem(error)}`, { cause: error });
  }
}
