import { once } from 'node:events';
import { closeSync, fstatSync, openSync } from 'node:fs';
import { BoundSocket, connect, type Socket } from 'node:net';
import koffi from 'koffi';
import { afterEach, expect, test } from 'vitest';
import { accept } from '../../../proxy/listener/accept.ts';
import { bind } from '../../../proxy/listener/bind.ts';
import { OriginalDestinations } from '../../../proxy/listener/original-destination.ts';
import { ManualClock } from '../../../shared/clock.ts';

let open = new DisposableStack();
afterEach(() => {
  open.dispose();
  open = new DisposableStack();
});

class Stage {
  readonly clock = new ManualClock();
  readonly sockets: Socket[] = [];
  readonly told: string[] = [];
  /** Resolves when it listens, or never will. */
  readonly settled: Promise<void>;
  readonly server: ReturnType<typeof accept>;

  constructor(fd: number) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.settled = promise;
    this.server = accept(fd, new OriginalDestinations(() => {}), {
      clock: this.clock,
      onSocket: (socket) => this.sockets.push(socket),
      onSettled: resolve,
      onProblem: (message) => this.told.push(message),
    });
    open.defer(() => this.server.close());
  }
}

test('a connection that cannot be accepted costs neither the listener nor a line each', async () => {
  const [binding] = bind('127.0.0.1', 0, 1);
  if (binding === undefined) throw new Error('nothing is bound');
  open.defer(() => binding.close());
  const [fd = -1, ...others] = binding.duplicate();
  for (const other of others) closeSync(other);
  const stage = new Stage(fd);
  await stage.settled;
  // What libuv reports where the reserve that it turns connections away with is gone, too.
  const out = Object.assign(new Error('accept EMFILE'), { code: 'EMFILE', syscall: 'accept' });
  for (let i = 0; i < 1000; i++) stage.server.emit('error', out);
  stage.clock.advance(60_000);
  stage.server.emit('error', out);
  expect(stage.told).toEqual(['cannot accept connections', 'cannot accept connections']);
  const caller = connect(binding.port, '127.0.0.1');
  open.defer(() => caller.destroy());
  if (stage.sockets.length === 0) await once(stage.server, 'connection');
  expect(stage.sockets).toHaveLength(1);
  for (const socket of stage.sockets) socket.destroy();
});

test('a descriptor that is no socket is told of and holds nobody up', async () => {
  const stage = new Stage(openSync('/dev/null', 'r'));
  await stage.settled;
  expect(stage.told).toEqual(['cannot listen']);
});

const dup = koffi.load(null).func('int dup(int fd)') as (fd: number) => number;

/** A descriptor of a socket that is bound there, without leave to share. */
function boundTo(port: number): { readonly fd: number; readonly port: number } {
  const socket = new BoundSocket({ host: '127.0.0.1', port });
  const bound = { fd: dup(socket.fd()), port: (socket.address() as { port: number }).port };
  socket.close();
  return bound;
}

test('a socket that another one listens in place of is told of, and its descriptor closed once', async () => {
  const first = boundTo(0);
  const second = boundTo(first.port);
  const listening = new Stage(first.fd);
  await listening.settled;
  const refused = new Stage(second.fd);
  await refused.settled;
  expect([listening.told, refused.told]).toEqual([[], ['cannot listen']]);
  expect(() => fstatSync(second.fd)).toThrow('EBADF');
});
