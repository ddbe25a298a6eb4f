/** Ports of programs that cannot be told "any free port" (nginx, HAProxy, Envoy), and ports where nobody listens. */
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import type { Program } from './process.ts';

const LEAST_PORT = 10_000;
/** Attempts for one port; on a machine with any left, the chance of missing so often is nil. */
const MOST_TRIES = 100;

/** The first port that the kernel gives to outgoing connections and to those who ask for any. */
function firstEphemeral(): number {
  return Number.parseInt(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8'), 10);
}

/**
 * `count` different loopback ports that were free a moment ago, below those that the kernel gives away by itself: an
 * outgoing connection of any other process would take such a one before it is used (EADDRINUSE), and a listener on
 * "any port" would wake up one that shall be dead. Whoever starts a program on it checks that the program came up.
 */
export async function freePorts(count: number): Promise<number[]> {
  const end = firstEphemeral();
  const held = new Map<number, Server>();
  for (let tries = count * MOST_TRIES; held.size < count; tries--) {
    if (tries === 0) throw new Error(`no ${count} free ports between ${LEAST_PORT} and ${end}`);
    const port = randomInt(LEAST_PORT, end);
    const server = held.has(port) ? null : await listening(port);
    if (server !== null) held.set(port, server);
  }
  await Promise.all([...held.values()].map((server) => once(server.close(), 'close')));
  return [...held.keys()];
}

/** Null where the port is in use. */
async function listening(port: number): Promise<Server | null> {
  const server = createServer().listen(port, '127.0.0.1');
  return once(server, 'listening').then(
    () => server,
    () => null,
  );
}

export async function freePort(): Promise<number> {
  const [port] = await freePorts(1);
  if (port === undefined) throw new Error('no port');
  return port;
}

/** True when every port accepts; undefined while not yet. Throws when the program has ended. */
export async function answersOn(program: Program, ports: readonly number[]): Promise<true | undefined> {
  if (program.exited !== null) throw new Error(program.output);
  const answers = await Promise.all(ports.map(accepts));
  return answers.every(Boolean) || undefined;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const done = (accepted: boolean): void => {
      socket.destroy();
      resolve(accepted);
    };
    socket.once('connect', () => done(true));
    socket.once('error', () => done(false));
  });
}
