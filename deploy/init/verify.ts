/** Sees with an own connection that the redirect captures: it must arrive here, at weft's outbound port, not where it was sent. */
import { readFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { formatHostPort } from '../../shared/address.ts';
import { err, ok, type Result } from '../../shared/result.ts';
import type { Redirect } from './options.ts';
import { type Target, targetsOf } from './target.ts';

/** A captured connection stays in this kernel: longer than this it went out. */
const CONNECT_MS = 1_000;

const LOOPBACK: Readonly<Record<4 | 6, string>> = { 4: '127.0.0.1', 6: '::1' };
/** Errors by which the kernel says that it has no way there, before any rule was asked. */
const NO_WAY: ReadonlySet<string> = new Set(['ENETUNREACH', 'EHOSTUNREACH', 'EADDRNOTAVAIL', 'EACCES', 'EINVAL']);

type Outcome = 'captured' | 'no route' | 'escaped';

/** Where connections were captured, as text; none where the redirect leaves all of them alone. The error is a sentence. */
export async function verifyCapture(redirect: Redirect): Promise<Result<string[], string>> {
  const verified: string[] = [];
  const unreachable: string[] = [];
  for (const family of [4, 6] as const) {
    const own = ownAddresses(redirect, family);
    if (own.length === 0) continue;
    const targets = targetsOf(redirect, family, own);
    const result = await tryFamily(family, redirect, targets);
    if (!result.ok) return result;
    if (result.value !== null) verified.push(result.value);
    else unreachable.push(...targets.map(({ host, port }) => formatHostPort(host, port)));
  }
  if (verified.length > 0 || unreachable.length === 0) return ok(verified);
  return err(`there is no route to ${unreachable.join(' or ')}: give the pod its network before weft init`);
}

/** null where no target has a route. */
async function tryFamily(
  family: 4 | 6,
  redirect: Redirect,
  targets: readonly Target[],
): Promise<Result<string | null, string>> {
  const listener = await listen(LOOPBACK[family], redirect.outboundPort);
  try {
    for (const { host, port } of targets) {
      const outcome = await attempt(listener, host, port, redirect.outboundPort);
      if (outcome === 'captured') return ok(formatHostPort(host, port));
      if (outcome === 'escaped') return err(`a connection to ${formatHostPort(host, port)} was not captured`);
    }
    return ok(null);
  } finally {
    listener?.close();
  }
}

/** null where the port is taken: weft runs already and takes the connection in our place, as the kernel's list shows. */
function listen(host: string, port: number): Promise<Server | null> {
  const { promise, resolve } = Promise.withResolvers<Server | null>();
  const server = createServer();
  server.once('listening', () => resolve(server)).once('error', () => resolve(null));
  server.listen({ host, port, exclusive: true });
  return promise;
}

async function attempt(listener: Server | null, host: string, port: number, capturedAt: number): Promise<Outcome> {
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  const socket = connect({ host, port });
  const arrived = (accepted: Socket): void => {
    if (accepted.remotePort === socket.localPort) resolve('captured');
    accepted.destroy();
  };
  listener?.on('connection', arrived);
  socket.on('connect', () => {
    if (listener === null) resolve(isBetween(capturedAt, socket.localPort ?? 0) ? 'captured' : 'escaped');
  });
  socket.on('error', ({ code }: NodeJS.ErrnoException) => resolve(NO_WAY.has(code ?? '') ? 'no route' : 'escaped'));
  // After a stall the time is up before the loop has looked at what arrived meanwhile: it looks first.
  const timer = setTimeout(() => setImmediate(() => resolve('escaped')), CONNECT_MS);
  const outcome = await promise;
  clearTimeout(timer);
  listener?.off('connection', arrived);
  socket.destroy();
  return outcome;
}

/** Has this network namespace a connection from one of its ports to the other? Ports stand there in hexadecimal (proc(5)). */
function isBetween(to: number, from: number): boolean {
  const ends = new RegExp(`: [0-9A-F]+:${hex(to)} [0-9A-F]+:${hex(from)} `);
  return ['/proc/net/tcp', '/proc/net/tcp6'].some((file) => ends.test(readText(file)));
}

function hex(port: number): string {
  return port.toString(16).toUpperCase().padStart(4, '0');
}

/** Empty where there is no such file: a host without IPv6. */
function readText(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}

/** By which the pod reaches others: neither loopback nor link-local, nor of an interface that is left alone. */
export function ownAddresses({ excludeInterfaces }: Redirect, family: 4 | 6): string[] {
  return Object.entries(networkInterfaces()).flatMap(([name, addresses]) =>
    excludeInterfaces.includes(name)
      ? []
      : (addresses ?? [])
          .filter((each) => !each.internal && each.family === `IPv${family}` && !each.address.startsWith('fe80:'))
          .map(({ address }) => address),
  );
}
