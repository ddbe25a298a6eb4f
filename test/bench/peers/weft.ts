/** weft as it stands in this source tree, bundled, with a warm compile cache and every default policy on. */

import { mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { eventually } from '../../support/eventually.ts';
import { endpointSlice, PLAIN, policyText, service } from '../../support/policy.ts';
import { answersOn, freePorts } from '../../support/ports.ts';
import { type Ports, startWeft, type Weft, type WeftOptions } from '../../support/weft.ts';
import { cpuMicros } from '../cpu.ts';
import { type Deployment, deploymentOf, type Peer, pairOf } from '../peer.ts';
import { backendPolicy, grpcPolicy } from '../policies.ts';
import type { Site } from '../site.ts';

export interface WeftVariant {
  readonly name?: string;
  /** Routes of the one Service, each with a path prefix of its own, beside a rule for everything. */
  readonly routes?: number;
  readonly tracing?: boolean;
  readonly accessLog?: 'json' | 'off';
}

/** CPU microseconds in 100 ms below which a sidecar counts as settled, and how often that must hold in a row. */
const QUIET_MICROS = 2_000;
const QUIET_TURNS = 3;

export function weftPeer(variant: WeftVariant = {}): Peer {
  return {
    name: variant.name ?? 'weft',
    compilesUnderLoad: true,
    missing: () => null,

    async hop(site) {
      const documents = backendPolicy(site.origin.port, variant.routes ?? 10, PLAIN);
      const weft = await launch(site, variant, { account: 'caller', documents });
      return deploymentOf(weft.program, weft.ports.outbound);
    },

    callee: (site) => weftCallee(site, site.origin.port, variant),

    async pair(site) {
      const callee = await weftCallee(site, site.origin.port, variant);
      return pairOf(await weftCaller(site, callee.port, variant), callee);
    },

    async grpcHop(site) {
      const weft = await launch(site, variant, { account: 'caller', documents: grpcPolicy(site.grpc.port, PLAIN) });
      return deploymentOf(weft.program, weft.ports.outbound);
    },

    async grpcPair(site) {
      const callee = await weftCallee(site, site.grpc.port, variant);
      const caller = await launch(site, variant, { account: 'caller', documents: grpcPolicy(callee.port, {}) });
      return pairOf(deploymentOf(caller.program, caller.ports.outbound), callee);
    },

    tunnel: (site) => openTunnel(site, variant, site.stream.port, PLAIN),

    async tunnelPair(site) {
      const app = `127.0.0.1:${site.stream.port}`;
      const weft = await launch(site, variant, { account: 'callee', documents: [], app });
      const callee = deploymentOf(weft.program, weft.ports.inbound);
      return pairOf(await openTunnel(site, variant, callee.port, {}), callee);
    },
  };
}

/** A caller that carries CONNECT to the Service `stream`, whose one endpoint is `target`. */
async function openTunnel(
  site: Site,
  variant: WeftVariant,
  target: number,
  annotations: Readonly<Record<string, string>>,
): Promise<Deployment> {
  const documents = [
    service({ name: 'stream', ports: [{ port: 80, targetPort: target, appProtocol: 'tcp' }], annotations }),
    endpointSlice({ service: 'stream', ports: [{ port: target }], endpoints: ['127.0.0.1'] }),
  ];
  const weft = await launch(site, variant, { account: 'caller', documents });
  const preamble = 'CONNECT stream:80 HTTP/1.1\r\nHost: stream:80\r\n\r\n';
  return { ...deploymentOf(weft.program, weft.ports.outbound), preamble };
}

/** The half of a pair that calls, over mutual TLS, whoever listens on `meshPort`. */
export async function weftCaller(site: Site, meshPort: number, variant: WeftVariant = {}): Promise<Deployment> {
  const documents = backendPolicy(meshPort, variant.routes ?? 10, {});
  const weft = await launch(site, variant, { account: 'caller', documents });
  return deploymentOf(weft.program, weft.ports.outbound);
}

/** The half of a pair that is called over mutual TLS, before an application on `appPort`. */
export async function weftCallee(site: Site, appPort: number, variant: WeftVariant = {}): Promise<Deployment> {
  const app = `127.0.0.1:${appPort}`;
  const weft = await launch(site, variant, { account: 'callee', documents: [], app });
  return deploymentOf(weft.program, weft.ports.inbound);
}

async function somePorts(): Promise<Ports> {
  const [inbound = 0, outbound = 0, admin = 0, metrics = 0, ready = 0] = await freePorts(5);
  return { inbound, outbound, admin, metrics, ready };
}

/** Environment of a sidecar of the bench: its compile cache, and tracing at its default of 1 % or none. */
function environment(site: Site, tracing: boolean): Record<string, string | undefined> {
  return {
    NODE_COMPILE_CACHE: join(site.folder, 'compile-cache'),
    OTEL_TRACES_SAMPLER: undefined,
    OTEL_TRACES_EXPORTER: undefined,
    OTEL_EXPORTER_OTLP_ENDPOINT: tracing ? site.collector : undefined,
  };
}

interface Workload {
  readonly account: 'caller' | 'callee';
  readonly documents: readonly string[];
  readonly app?: string;
}

async function launch(site: Site, variant: WeftVariant, workload: Workload): Promise<Weft> {
  const weft = await startWeft(await benchOptions(site, variant, workload));
  const { inbound, outbound } = weft.ports;
  await eventually('weft accepts', () => answersOn(weft.program, [inbound, outbound]));
  await settled(weft.pid);
  return weft;
}

/** Policy folder, ports and log file of its own under the site's folder. */
export async function benchOptions(
  site: Site,
  variant: WeftVariant,
  workload: Workload,
): Promise<WeftOptions & { ports: Ports }> {
  const { account, documents, app } = workload;
  const ports = await somePorts();
  const policy = mkdtempSync(join(site.folder, 'policy-'));
  writeFileSync(join(policy, 'policy.yaml'), policyText(documents));
  return {
    main: site.bundle,
    policy,
    certs: account === 'caller' ? site.callerCerts : site.calleeCerts,
    app,
    ports,
    flags: ['--service-account', account, '--access-log', variant.accessLog ?? 'off'],
    env: environment(site, variant.tracing ?? true),
    cpu: site.proxyCpu,
    outputFile: join(site.folder, `weft-${ports.ready}.log`),
  };
}

/**
 * Fills the compile cache of a site, as building the image does: Node writes it when a process ends by itself, which
 * those of the bench never do.
 */
export async function fillCompileCache(site: Site): Promise<void> {
  const options = await benchOptions(site, { accessLog: 'json' }, { account: 'caller', documents: [] });
  const sidecar = await startWeft(options);
  await settled(sidecar.pid);
  await sidecar.stop();
}

/** Resolves when what loads after the listeners (the OpenTelemetry SDK) has loaded. */
export async function settled(pid: number): Promise<void> {
  let quiet = 0;
  await eventually(`${pid} settles`, async () => {
    const before = cpuMicros([pid]);
    await pause(100);
    quiet = cpuMicros([pid]) - before < QUIET_MICROS ? quiet + 1 : 0;
    return quiet >= QUIET_TURNS || undefined;
  });
}

export const weft: Peer = weftPeer();
