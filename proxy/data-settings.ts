/** What every data thread is told at its start, from the command line and what was bound. */
import { networkInterfaces } from 'node:os';
import type { Bootstrap } from './config/bootstrap.ts';
import type { DataSettings } from './messages.ts';
import type { Party } from './telemetry/record.ts';
import type { ThreadBindings } from './threads.ts';

/** `tracing` null: no spans are made. */
export function dataSettings(
  bootstrap: Bootstrap,
  traffic: readonly ThreadBindings[],
  tracing: DataSettings['tracing'],
): Omit<DataSettings, 'thread'> {
  return {
    threads: bootstrap.threads,
    self: selfOf(bootstrap),
    namespace: bootstrap.namespace,
    zone: bootstrap.zone,
    app: bootstrap.app,
    accessLog: bootstrap.accessLog,
    http2Windows: bootstrap.http2Windows,
    ownPorts: [...traffic.map(portOf), bootstrap.admin.port, bootstrap.metrics.port, bootstrap.ready.port],
    outboundPorts: traffic.filter(({ direction }) => direction === 'outbound').map(portOf),
    ownAddresses: ownAddresses(traffic),
    tracing,
  };
}

function portOf({ bindings }: ThreadBindings): number {
  return bindings[0]?.port ?? 0;
}

/** Istio's labels of this workload; the workload's name is the service account's where no label says better. */
export function selfOf({ namespace, labels, serviceAccount }: Bootstrap): Party {
  const app = labels['app.kubernetes.io/name'] ?? labels['app'] ?? 'unknown';
  return {
    workload: app === 'unknown' ? serviceAccount : app,
    namespace,
    app,
    version: labels['app.kubernetes.io/version'] ?? labels['version'] ?? 'unknown',
    principal: 'unknown',
    cluster: 'unknown',
  };
}

/** Every address at which somebody reaches our own ports. */
function ownAddresses(traffic: readonly ThreadBindings[]): string[] {
  const bound = traffic.map(({ bindings }) => bindings[0]?.host ?? '');
  const interfaces = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return [...new Set([...bound, ...interfaces.map(({ address }) => address), '127.0.0.1', '::1', 'localhost'])];
}
