import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { type Gathering, Turns } from '../../../proxy/net/turns.ts';
import { ManualClock } from '../../../shared/clock.ts';

class Thread {
  readonly clock = new ManualClock();
  readonly activity = { events: 1 };
  readonly turns: Turns = new Turns(this.clock, this.activity);
  readonly sent: string[] = [];

  connection(name: string, waitingBytes: number): Gathering {
    return { waitingBytes, onTurnEnd: () => this.sent.push(name) };
  }

  /** A turn of the loop in which as much happened, and the time that it took. */
  async turn(events: number, ms: number): Promise<void> {
    this.activity.events += events;
    this.clock.advance(ms);
    await turn();
  }
}

test('what is gathered leaves when one more look at the sockets finds nothing new', async () => {
  const thread = new Thread();
  thread.turns.gather(thread.connection('a', 100));
  thread.turns.gather(thread.connection('b', 100));
  await thread.turn(0, 0);
  expect(thread.sent).toEqual([]);
  await thread.turn(0, 0);
  expect(thread.sent).toEqual(['a', 'b']);
});

test('while every turn brings something, bytes wait, but a quarter of a millisecond at most', async () => {
  const thread = new Thread();
  thread.turns.gather(thread.connection('a', 100));
  for (const _ of [1, 2, 3]) {
    await thread.turn(1, 0.08);
    expect(thread.sent).toEqual([]);
  }
  await thread.turn(1, 0.08);
  expect(thread.sent).toEqual(['a']);
  await thread.turn(1, 0.08);
  expect(thread.sent).toEqual(['a']);
});

test('a turn that took long itself is the last one waited for', async () => {
  const thread = new Thread();
  thread.turns.gather(thread.connection('a', 100));
  await thread.turn(50, 2);
  expect(thread.sent).toEqual(['a']);
});

test('a full record waits for nobody, nor do others wait less because of it', async () => {
  const thread = new Thread();
  thread.turns.gather(thread.connection('full', 20_000));
  thread.turns.gather(thread.connection('small', 100));
  await thread.turn(1, 0);
  expect(thread.sent).toEqual(['full']);
  await thread.turn(0, 0);
  await thread.turn(0, 0);
  expect(thread.sent).toEqual(['full', 'small']);
});

test('who has more to send after it sent is called again, and a new quarter of a millisecond begins', async () => {
  const thread = new Thread();
  let left = 2;
  const connection: Gathering = {
    waitingBytes: 100,
    onTurnEnd: () => {
      thread.sent.push(`${thread.clock.now()}`);
      left--;
      if (left > 0) thread.turns.gather(connection);
    },
  };
  thread.turns.gather(connection);
  await thread.turn(1, 1);
  await thread.turn(1, 0.2);
  expect(thread.sent).toEqual(['1']);
  await thread.turn(1, 0.2);
  expect(thread.sent).toEqual(['1', '1.4']);
});

test('work for the end of the turn or of the read is not put off', async () => {
  const thread = new Thread();
  thread.turns.add(thread.connection('turn', 0));
  thread.turns.addSoon(thread.connection('read', 0));
  await new Promise((resolve) => process.nextTick(resolve));
  expect(thread.sent).toEqual(['read']);
  await thread.turn(1, 0);
  expect(thread.sent).toEqual(['read', 'turn']);
});
