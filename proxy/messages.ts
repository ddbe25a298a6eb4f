/**
 * What the control thread and a data thread say to each other. Everything crosses by postMessage: plain data, file
 * descriptors as numbers, policy in parts, as JSON slices (config/slices).
 */
import type { Identity } from '../certs/identity.ts';
import type { Http2Windows } from '../shared/http2-windows.ts';
import type { SnapshotPart } from './config/snapshot.ts';
import type { MetricsReport } from './telemetry/metrics.ts';
import type { Party, SpanRecord } from './telemetry/record.ts';
import type { TracingSettings } from './telemetry/sampling.ts';

export type { TracingSettings } from './telemetry/sampling.ts';

/** Who this workload is and how it was told to behave; fixed for the life of the process. */
export interface DataSettings {
  readonly thread: number;
  readonly threads: number;
  readonly self: Party;
  readonly namespace: string;
  readonly zone: string;
  /** `host:port` of the application, null without. */
  readonly app: { readonly host: string; readonly port: number } | null;
  readonly accessLog: 'json' | 'text' | 'off';
  readonly http2Windows: Http2Windows;
  /** Of weft's own listeners, for loop detection. */
  readonly ownPorts: readonly number[];
  /** Those of them that the application sends to. */
  readonly outboundPorts: readonly number[];
  readonly ownAddresses: readonly string[];
  /** Tracing is configured: sampled requests make spans. */
  readonly tracing: TracingSettings | null;
}

export interface ListenerHandle {
  readonly direction: 'inbound' | 'outbound';
  readonly address: string;
  /** A duplicate that belongs to the data thread from the message on. */
  readonly fd: number;
}

export type ToData =
  | { readonly type: 'snapshot'; readonly generation: number; readonly parts: readonly SnapshotPart[] }
  | { readonly type: 'swap'; readonly generation: number }
  | { readonly type: 'identity'; readonly identity: Identity; readonly ticketKeys: Uint8Array }
  | { readonly type: 'listen'; readonly listeners: readonly ListenerHandle[] }
  | { readonly type: 'report'; readonly id: number }
  /** What active checks say, unhealthy endpoints by cluster; replaces what was said before. */
  | { readonly type: 'health'; readonly unhealthy: Readonly<Record<string, readonly string[]>> }
  /** Of a batch of the access log that has been written: the next may have it. */
  | { readonly type: 'log-memory'; readonly memory: ArrayBuffer }
  | { readonly type: 'drain' }
  /** Stops listening; `closed` follows when what was accepted until then has been served. */
  | { readonly type: 'close' }
  /** Ends what is left: connections are destroyed, then the thread exits by itself. */
  | { readonly type: 'stop' };

export type FromData =
  | { readonly type: 'up' }
  /** `longestTurnMs`: for so long the thread served nobody, at most, while it linked or swapped. */
  | {
      readonly type: 'linked';
      readonly generation: number;
      readonly error: string | null;
      readonly longestTurnMs: number;
    }
  | { readonly type: 'swapped'; readonly generation: number; readonly longestTurnMs: number }
  | { readonly type: 'listening' }
  | {
      readonly type: 'report';
      readonly id: number;
      readonly metrics: MetricsReport;
      readonly clusters: readonly ClusterReport[];
    }
  | { readonly type: 'spans'; readonly spans: readonly SpanRecord[] }
  /** Access log: whole lines, each ending in a line feed. */
  | { readonly type: 'log'; readonly lines: Uint8Array<ArrayBuffer> }
  /** Something an operator must see, through the control thread's own log. */
  | {
      readonly type: 'notice';
      readonly level: 'info' | 'warn' | 'error';
      readonly message: string;
      readonly fields: Readonly<Record<string, unknown>>;
    }
  /** Nothing is open any more in this direction, and nothing came for the quiet time (CONTRACT, Drain). */
  | { readonly type: 'drained' }
  | { readonly type: 'closed' };

export interface ClusterReport {
  readonly key: string;
  readonly activeRequests: number;
  readonly connections: number;
  /** Of adaptive concurrency: requests at a time that are admitted now (0: it is off), and those turned away. */
  readonly concurrencyLimit: number;
  readonly concurrencyRefused: number;
  readonly breaker: string;
  /** Of the requests in the breaker's window: those that failed, and all. */
  readonly breakerFailures: number;
  readonly breakerRequests: number;
  /** Attempts after the first, since the start. */
  readonly retries: number;
  readonly endpoints: readonly EndpointReport[];
}

export interface EndpointReport {
  readonly address: string;
  readonly state: string;
  readonly ready: boolean;
  readonly weight: number;
  readonly activeRequests: number;
  readonly connections: number;
  readonly requests: number;
  readonly failures: number;
}
