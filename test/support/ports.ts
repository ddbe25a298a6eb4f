/** Ports of programs that cannot be told "any free port" (nginx, HAProxy, Envoy): chosen before, tried after the start. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import type { Program } from './process.ts';

/**
 * `count` different loopback ports that were free a moment ago. Another process may take one before it is used:
 * whoever starts a program on it checks that the program came up.
 */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
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
