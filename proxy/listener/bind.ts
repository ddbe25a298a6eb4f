/**
 * Listening sockets, bound by the control thread and handed to data threads as duplicates.
 *
 * Each socket is bound once without `reusePort`, so that a port in use is an error and not shared in silence, then as
 * often as there are listeners with it: libuv accepts one connection per turn and listener. Bound is not listening:
 * until a data thread listens on its duplicate, connections are refused. The originals stay open here, so that a data
 * thread that dies leaves nobody refused while it is replaced.
 */
import { closeSync } from 'node:fs';
import { BoundSocket } from 'node:net';
import koffi from 'koffi';
import { formatHostPort } from '../../shared/address.ts';

/** Listeners per port and data thread: a burst of 200 connections is accepted in a third of the time one needs. */
const LISTENERS_PER_THREAD = 4;

const F_DUPFD_CLOEXEC = 1030;
/** Lowest number a duplicate may get: standard streams stay what they are. */
const LOWEST_FD = 3;

export interface Binding {
  /** As bound: with the port chosen by the kernel if 0 was asked for. */
  readonly host: string;
  readonly port: number;
  /** New descriptors of the same sockets, for one data thread; the caller owns them. Throws where there are not enough. */
  duplicate(): number[];
  close(): void;
}

/** Throws as `listen` does (EADDRINUSE, EACCES, …), the address in the message. */
export function bind(host: string, port: number, threads: number): Binding[] {
  const first = new BoundSocket({ host, port });
  const actual = (first.address() as { port: number }).port;
  first.close();
  return Array.from({ length: threads }, () => bindThread(host, actual));
}

function bindThread(host: string, port: number): Binding {
  const sockets = Array.from({ length: LISTENERS_PER_THREAD }, () => new BoundSocket({ host, port, reusePort: true }));
  return {
    host,
    port,
    duplicate: () => {
      const copies: number[] = [];
      try {
        for (const socket of sockets) copies.push(duplicateFd(socket.fd(), formatHostPort(host, port)));
      } catch (error) {
        for (const copy of copies) closeSync(copy);
        throw error;
      }
      return copies;
    },
    close: () => {
      for (const socket of sockets) socket.close();
    },
  };
}

const fcntl = koffi.load(null).func('int fcntl(int fd, int command, int argument)') as (
  fd: number,
  command: number,
  argument: number,
) => number;

function duplicateFd(fd: number, what: string): number {
  const copy = fcntl(fd, F_DUPFD_CLOEXEC, LOWEST_FD);
  if (copy < 0) throw new Error(`cannot duplicate the listening socket of ${what}: out of file descriptors?`);
  return copy;
}
