/**
 * The addresses behind DNS names that policy gives as endpoints (ExternalName, headless Services without slices), on the
 * control thread: asked again when the time to live of an answer is over, kept for a while when there is no answer.
 */
import type { Clock, Timer } from '../../shared/clock.ts';

export interface NameAnswer {
  /** IP address. */
  readonly address: string;
  readonly ttlSeconds: number;
}

/** Resolves with what stands behind a name, perhaps nothing; rejects where nobody could be asked. */
export type AskName = (name: string) => Promise<readonly NameAnswer[]>;

/** Milliseconds between two questions, whatever the time to live: an answer of 0 must not make a storm. */
const SHORTEST_MS = 5_000;
const LONGEST_MS = 300_000;
/** The pause after a question without an answer doubles up to this: names that do not exist are asked for, too. */
const LONGEST_RETRY_MS = 60_000;
/** Milliseconds for which addresses outlive the last answer that had some: an outage of DNS is none of the upstream. */
const LAST_GOOD_MS = 300_000;
/** Of one name; an answer with more is cut, so that nobody else's zone file fills our memory. */
const MOST_ADDRESSES = 256;

export class Names {
  private readonly clock: Clock;
  private readonly ask: AskName;
  private readonly onChange: () => void;
  private readonly watched = new Map<string, WatchedName>();

  /** `onChange` is told of every change of what `addressesOf` answers. */
  constructor(clock: Clock, ask: AskName, onChange: () => void) {
    this.clock = clock;
    this.ask = ask;
    this.onChange = onChange;
  }

  /** From now on exactly these; ones that stay keep what is known of them. */
  watch(names: ReadonlySet<string>): void {
    for (const [name, watched] of this.watched) {
      if (names.has(name)) continue;
      this.watched.delete(name);
      watched.close();
    }
    for (const name of names) {
      if (this.watched.has(name)) continue;
      const watched = new WatchedName(name);
      this.watched.set(name, watched);
      void this.renew(watched);
    }
  }

  /** In an order of their own that does not change by itself; empty while nothing is known. */
  addressesOf(name: string): readonly string[] {
    return this.watched.get(name)?.addresses ?? [];
  }

  close(): void {
    this.watch(new Set());
  }

  private async renew(watched: WatchedName): Promise<void> {
    const answers = await this.ask(watched.name).catch(() => []);
    if (watched.closed) return;
    const changed = watched.take(answers, this.clock.now());
    const waitMs = answers.length === 0 ? retryMs(watched.failures) : ttlMs(answers);
    watched.timer = this.clock.after(waitMs, () => void this.renew(watched));
    if (changed) this.onChange();
  }
}

function ttlMs(answers: readonly NameAnswer[]): number {
  const shortest = answers.reduce((least, { ttlSeconds }) => Math.min(least, ttlSeconds * 1_000), LONGEST_MS);
  return Math.max(SHORTEST_MS, shortest);
}

function retryMs(failures: number): number {
  return Math.min(LONGEST_RETRY_MS, SHORTEST_MS * 2 ** (failures - 1));
}

class WatchedName {
  readonly name: string;
  addresses: readonly string[] = [];
  /** Questions in a row without an answer. */
  failures = 0;
  closed = false;
  timer: Timer | null = null;
  private lastGoodAt = 0;

  constructor(name: string) {
    this.name = name;
  }

  /** True if that changed the addresses. An answer without any is none: nobody means to have no upstream. */
  take(answers: readonly NameAnswer[], now: number): boolean {
    const before = this.addresses;
    this.failures = answers.length > 0 ? 0 : this.failures + 1;
    if (answers.length > 0) {
      this.lastGoodAt = now;
      const distinct = new Set(answers.map(({ address }) => address));
      this.addresses = [...distinct].sort().slice(0, MOST_ADDRESSES);
    } else if (now - this.lastGoodAt > LAST_GOOD_MS) {
      this.addresses = [];
    }
    return before.join(' ') !== this.addresses.join(' ');
  }

  close(): void {
    this.closed = true;
    this.timer?.cancel();
  }
}
