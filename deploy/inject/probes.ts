/**
 * Under STRICT, kubelet's plain calls to the application are refused. So its probes and network hooks go to weft's own
 * readiness port, which calls the application in kubelet's stead (proxy/app-probes.ts), by what `WEFT_APP_PROBES` says.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Container, Handler } from './pod.ts';

/** One call to make, by the path that kubelet asks for. JSON in the variable. */
export interface AppProbe {
  /** As the pod has it; to put it back. */
  readonly handler: Handler;
  /** The number behind a named port. */
  readonly port: number;
}

export type AppProbes = Readonly<Record<string, AppProbe>>;

export const READY_PORT = 15_021;

/** Field of a container, and the last part of the path. */
const PROBES = { livenessProbe: 'livez', readinessProbe: 'readyz', startupProbe: 'startupz' } as const;
const HOOKS = { postStart: 'poststart', preStop: 'prestop' } as const;
const NETWORK = ['httpGet', 'tcpSocket', 'grpc'] as const;

/** The container with its probes redirected; adds to `probes` what was there before. */
export function redirectProbes(container: Container, probes: Record<string, AppProbe>): Container {
  const redirect = (handler: Handler | null | undefined, path: string): Handler | null | undefined => {
    const found = networkPort(handler, container);
    if (found === null) return handler;
    const { kind, port } = found;
    const original = handler as Handler;
    probes[path] = { handler: original, port };
    return redirected(original, kind, path);
  };
  return changeHandlers(container, redirect);
}

/** The container as it was before `redirectProbes`; what others have made of a probe's other fields since stays. */
export function restoreProbes(container: Container, probes: AppProbes): Container {
  return changeHandlers(container, (handler, path) => {
    if (!Object.hasOwn(probes, path) || handler?.httpGet?.path !== path) return handler;
    const { handler: original } = probes[path] as AppProbe;
    const kind = kindOf(original);
    if (kind === undefined || isDeepStrictEqual(handler, redirected(original, kind, path))) return original;
    return replaceKey(handler, 'httpGet', kind, original[kind]);
  });
}

type Kind = (typeof NETWORK)[number];

function redirected(original: Handler, kind: Kind, path: string): Handler {
  // The API server would write the scheme itself, and then what stands would not be what is made.
  return replaceKey(original, kind, 'httpGet', { path, port: READY_PORT, scheme: 'HTTP' });
}

function kindOf(handler: Handler | null | undefined): Kind | undefined {
  return NETWORK.find((each) => handler?.[each] !== undefined && handler[each] !== null);
}

type Change = (handler: Handler | null | undefined, path: string) => Handler | null | undefined;

/** The same object where nothing changes. */
function changeHandlers(container: Container, change: Change): Container {
  const changed: Record<string, unknown> = {};
  for (const [field, word] of Object.entries(PROBES)) {
    const before = container[field] as Handler | null | undefined;
    const after = change(before, `/app-health/${container.name}/${word}`);
    if (after !== before) changed[field] = after;
  }
  const hooks: Record<string, unknown> = {};
  for (const [field, word] of Object.entries(HOOKS)) {
    const before = container.lifecycle?.[field as keyof typeof HOOKS];
    const after = change(before, `/app-lifecycle/${container.name}/${word}`);
    if (after !== before) hooks[field] = after;
  }
  if (Object.keys(hooks).length > 0) changed['lifecycle'] = { ...container.lifecycle, ...hooks };
  return Object.keys(changed).length === 0 ? container : { ...container, ...changed };
}

/** Null for what kubelet does without the pod's network (exec), at another host, or at a port that is not declared. */
function networkPort(
  handler: Handler | null | undefined,
  container: Container,
): { readonly kind: Kind; readonly port: number } | null {
  const kind = kindOf(handler);
  if (kind === undefined) return null;
  const target = handler?.[kind] as { readonly port: number | string; readonly host?: string | null };
  if ((target.host ?? '') !== '') return null;
  const named = container.ports?.find(({ name }) => name === target.port)?.containerPort;
  const port = named ?? Number(target.port);
  return Number.isInteger(port) && port >= 1 && port <= 65_535 ? { kind, port } : null;
}

/** In the place of the old key, so that a reader finds the probe as he knows it. Of the new one there is only null so far. */
function replaceKey(object: Handler, from: string, to: string, value: unknown): Handler {
  const others = Object.entries(object).filter(([key]) => key === from || key !== to);
  return Object.fromEntries(others.map(([key, old]) => (key === from ? [to, value] : [key, old])));
}
