/**
 * Kubelet's calls to the application, made in its stead: injection has pointed probes and network hooks at the readiness port, since
 * a STRICT sidecar refuses what kubelet sends in plain text (deploy/inject/probes.ts). As kubelet makes them: any
 * certificate will do, and 200 to 399 is good.
 *
 * Control thread only.
 */
import { formatHostPort } from '../shared/address.ts';
import { codeOf } from '../shared/error-code.ts';
import { isObject, type JsonObject, parseObject } from '../shared/json.ts';
import { err, ok, type Result } from '../shared/result.ts';
import { type AppAnswer, connectApp, requestApp } from './app-call.ts';
import { askGrpcHealth } from './upstream/probe.ts';

/** Kubernetes' default for a probe, in seconds; hooks have none of their own. */
const PROBE_SECONDS = 1;
const HOOK_SECONDS = 30;
const MAX_SECONDS = 300;
const LIFECYCLE = '/app-lifecycle/';
/** A health answer is a word; what is beyond is not read. */
const MAX_ANSWER_BYTES = 65_536;

interface HttpTarget {
  readonly kind: 'http';
  readonly path: string;
  readonly https: boolean;
  readonly headers: readonly (readonly [string, string])[];
}

export interface AppCall {
  readonly path: string;
  readonly port: number;
  readonly timeoutMs: number;
  readonly target: HttpTarget | { readonly kind: 'tcp' } | { readonly kind: 'grpc'; readonly service: string };
}

/** Reads `WEFT_APP_PROBES`. The error is a sentence. */
export function readAppProbes(text: string | undefined): Result<readonly AppCall[], string> {
  if (text === undefined || text === '') return ok([]);
  const calls: AppCall[] = [];
  for (const [path, value] of Object.entries(parseObject(text) ?? { '': null })) {
    const call = readCall(path, value);
    if (call === null) return err(`WEFT_APP_PROBES: is not what injection writes, at "${path}"`);
    calls.push(call);
  }
  return ok(calls);
}

/** Calls the application at `address`, its pod's own. Never rejects: what goes wrong is an answer of 503. */
export async function callApp(call: AppCall, address: string): Promise<AppAnswer> {
  const signal = AbortSignal.timeout(call.timeoutMs);
  try {
    if (call.target.kind === 'http') return await callHttp(call, call.target, address, signal);
    if (call.target.kind === 'tcp') {
      (await connectApp(call.port, address, signal)).destroy();
      return { status: 200, text: 'connected\n' };
    }
    const origin = formatHostPort(address, call.port);
    const dial = (): ReturnType<typeof connectApp> => connectApp(call.port, address, signal);
    const wrong = await askGrpcHealth(dial, origin, origin, call.target.service, signal);
    return wrong === null ? { status: 200, text: 'serving\n' } : { status: 503, text: `${wrong}\n` };
  } catch (error) {
    const reason = signal.aborted ? `no answer within ${call.timeoutMs} ms` : reasonOf(error);
    return { status: 503, text: `the application at port ${call.port}: ${reason}\n` };
  }
}

async function callHttp(call: AppCall, target: HttpTarget, address: string, signal: AbortSignal): Promise<AppAnswer> {
  const { path, https } = target;
  const headers = fieldsOf(target, formatHostPort(address, call.port));
  const wanted = { port: call.port, path, https, headers, maxBytes: MAX_ANSWER_BYTES, cut: true };
  const { status } = await requestApp(wanted, address, signal);
  // A redirect names a place that kubelet would look for at weft.
  return { status: status >= 200 && status < 400 ? 200 : status, text: `the application answers ${status}\n` };
}

function fieldsOf({ headers }: HttpTarget, host: string): string[] {
  const names = headers.map(([name]) => name.toLowerCase());
  const own: [string, string][] = [
    ['Host', host],
    ['User-Agent', 'kube-probe/weft'],
    ['Accept', '*/*'],
    ['Connection', 'close'],
  ];
  return [...own.filter(([name]) => !names.includes(name.toLowerCase())), ...headers].flat();
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return codeOf(error) ?? error.message;
}

/** `{handler, port}` by path, the handler in Kubernetes' words. */
function readCall(path: string, value: unknown): AppCall | null {
  if (!isObject(value) || !isObject(value['handler'])) return null;
  const { handler, port } = value;
  if (typeof port !== 'number' || !Number.isInteger(port) || port < 1 || port > 65_535) return null;
  const seconds = Number(handler['timeoutSeconds'] ?? (path.startsWith(LIFECYCLE) ? HOOK_SECONDS : PROBE_SECONDS));
  if (!(seconds >= 1)) return null;
  const target = readTarget(handler);
  return target === null ? null : { path, port, timeoutMs: Math.min(seconds, MAX_SECONDS) * 1000, target };
}

function readTarget({ httpGet, tcpSocket, grpc }: JsonObject): AppCall['target'] | null {
  if (isObject(httpGet)) {
    const path = typeof httpGet['path'] === 'string' ? httpGet['path'] : '/';
    const listed = Array.isArray(httpGet['httpHeaders']) ? (httpGet['httpHeaders'] as unknown[]) : [];
    const headers = listed
      .filter(isObject)
      .map(({ name, value }) => [String(name), typeof value === 'string' ? value : ''] as const);
    const https = String(httpGet['scheme']).toUpperCase() === 'HTTPS';
    return { kind: 'http', path: path.startsWith('/') ? path : `/${path}`, https, headers };
  }
  if (isObject(tcpSocket)) return { kind: 'tcp' };
  if (!isObject(grpc)) return null;
  return { kind: 'grpc', service: typeof grpc['service'] === 'string' ? grpc['service'] : '' };
}
