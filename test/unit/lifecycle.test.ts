import { describe, expect, test } from 'vitest';
import { AppWatch } from '../../deploy/lifecycle/app-watch.ts';
import { runDrain } from '../../deploy/lifecycle/drain.ts';
import { socketsOfOthers } from '../../deploy/lifecycle/sockets.ts';
import { runWait } from '../../deploy/lifecycle/wait.ts';
import { ManualClock } from '../../shared/clock.ts';
import { startBackend, status, text } from '../support/backend.ts';

class Lines {
  readonly lines: string[] = [];
  out(line: string): void {
    this.lines.push(line);
  }
  err(line: string): void {
    this.lines.push(line);
  }
}

describe('the sockets of the application', () => {
  const head = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode';
  const line = (uid: number, inode: number, state = '0A'): string =>
    `   0: 0100007F:1F90 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000 ${uid} 0 ${inode} 1 0 100 0 0 10 0`;
  const table = (...lines: string[]): string => `${[head, ...lines].join('\n')}\n`;

  test('are those of other users, listening ones included', () => {
    expect(socketsOfOthers(1337, () => table(line(1000, 7), line(1337, 8), line(0, 9, '01')))).toBe(4);
    expect(socketsOfOthers(1337, (file) => (file.endsWith('6') ? '' : table(line(1000, 7))))).toBe(1);
  });

  test('are none that the kernel keeps by itself', () => {
    expect(socketsOfOthers(1337, () => table(line(0, 0, '06'), line(1337, 8)))).toBe(0);
    expect(socketsOfOthers(1337, () => '')).toBe(0);
  });

  test('are read from this host', () => {
    expect(socketsOfOthers(4_000_000_000)).toBeGreaterThanOrEqual(0);
  });
});

describe('weft drain', () => {
  test('asks the sidecar once, and lasts as long as the application has sockets', async () => {
    await using backend = await startBackend(status(202));
    const lines = new Lines();
    const counts = [3, 1, 0];
    const sockets = (): number => counts.shift() ?? 0;
    expect(await runDrain(['--admin', backend.address, '--wait', '30'], {}, lines, sockets)).toBe(0);
    expect(backend.requests.map(({ method, target }) => `${method} ${target}`)).toEqual(['POST /drain']);
    expect([counts, lines.lines]).toEqual([[], ['draining']]);
  });

  test('does not wait unless it is told to', async () => {
    await using backend = await startBackend(status(202));
    const never = (): number => {
      throw new Error('nobody asked');
    };
    expect(await runDrain([], { WEFT_ADMIN: backend.address }, new Lines(), never)).toBe(0);
  });

  test('says that no sidecar is there, or what it answers', async () => {
    const lines = new Lines();
    expect(await runDrain(['--admin', '127.0.0.1:1'], {}, lines)).toBe(1);
    expect(lines.lines).toEqual(['weft drain: no sidecar answers on 127.0.0.1:1 (ECONNREFUSED)']);
    await using backend = await startBackend(text('go away', 403));
    const more = new Lines();
    expect(await runDrain(['--admin', backend.address], {}, more)).toBe(1);
    expect(more.lines).toEqual(['weft drain: the sidecar answers 403: go away']);
  });

  test.each([[['--wait', 'long']], [['--admin', 'nowhere']], [['--nonsense']], [['word']]])(
    'refuses %j',
    async (args) => {
      expect(await runDrain(args, {}, new Lines())).toBe(2);
    },
  );
});

describe('weft wait', () => {
  test('ends when the sidecar is ready', async () => {
    let asked = 0;
    await using backend = await startBackend((_request, response) => response.writeHead(++asked < 3 ? 503 : 200).end());
    expect(await runWait(['--ready', backend.address], {}, new Lines())).toBe(0);
    expect(asked).toBe(3);
  });

  test('gives up in time, with the reason of the sidecar', async () => {
    await using backend = await startBackend(text('not ready\nno policy is in force\n', 503));
    const lines = new Lines();
    expect(await runWait(['--timeout', '0'], { WEFT_READY: backend.address }, lines)).toBe(1);
    expect(lines.lines).toEqual(['weft wait: not ready within 0 s: not ready; no policy is in force']);
  });

  test.each([[['--timeout', 'x']], [['--ready', 'x']], [['--x']]])('refuses %j', async (args) => {
    expect(await runWait(args, {}, new Lines())).toBe(2);
  });
});

describe('the end of the application', () => {
  test('is told once, after it has been there, within half a second', () => {
    const clock = new ManualClock();
    let alive = false;
    let gone = 0;
    new AppWatch(
      clock,
      () => alive,
      () => gone++,
    ).start();
    clock.advance(60_000);
    expect(gone).toBe(0);
    alive = true;
    clock.advance(50);
    alive = false;
    clock.advance(500);
    expect(gone).toBe(1);
    clock.advance(60_000);
    expect(gone).toBe(1);
  });

  test('is not told by a watch that was closed', () => {
    const clock = new ManualClock();
    const seen = [true, false];
    let gone = 0;
    const watch = new AppWatch(
      clock,
      () => seen.shift() ?? false,
      () => gone++,
    );
    watch.start();
    watch.close();
    clock.advance(10_000);
    expect([seen, gone]).toEqual([[false], 0]);
  });
});
