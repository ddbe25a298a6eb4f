/**
 * Work that is done once at the end of a turn of the event loop, however often it was asked for: what many requests add
 * to one connection leaves in one write. `setImmediate` runs right after the poll phase that read them; a microtask or
 * `nextTick` runs after every single read, which is right only for who has nothing to wait for: with one stream open the
 * extra turn of the loop would cost four system calls and bring nobody's bytes along.
 */
export interface TurnEnd {
  /** Called once for each time it was added. */
  onTurnEnd(): void;
}

export class Turns {
  private readonly later = new Batch();
  private readonly soon = new Batch();

  /** At the end of the turn. The caller adds itself at most once until it is called. */
  add(item: TurnEnd): void {
    if (this.later.push(item)) setImmediate(this.later.run);
  }

  /** At the end of the read that is being handled: for work that nothing else in this turn will join. */
  addSoon(item: TurnEnd): void {
    if (this.soon.push(item)) process.nextTick(this.soon.run);
  }
}

class Batch {
  private waiting: TurnEnd[] = [];
  private spare: TurnEnd[] = [];
  readonly run = (): void => this.finish();

  /** True if this is the first of the batch. */
  push(item: TurnEnd): boolean {
    this.waiting.push(item);
    return this.waiting.length === 1;
  }

  private finish(): void {
    const due = this.waiting;
    this.waiting = this.spare;
    for (let i = 0; i < due.length; i++) (due[i] as TurnEnd).onTurnEnd();
    due.length = 0;
    this.spare = due;
  }
}
