/**
 * Sees the application end, so that a classic sidecar does not keep a Job's pod alive. Injection gives such a pod one process
 * namespace (`shareProcessNamespace`): the pause process is number 1 there, weft's processes have weft's user, and whatever
 * else runs is the application. No Kubernetes API is asked.
 */
import { readdirSync, readFileSync } from 'node:fs';
import type { Clock, Timer } from '../../shared/clock.ts';

/** Often until the application is seen, since it may live a tenth of a second only; then as promised: gone within 2 s. */
const SEEK_MS = 50;
const WATCH_MS = 500;

/** Whether anything runs that is not weft's. */
export type AppLives = () => boolean;

/** Calls back once, when an application that was there is gone. The owner closes it. */
export class AppWatch {
  private readonly clock: Clock;
  private readonly lives: AppLives;
  private readonly onGone: () => void;
  private timer: Timer | null = null;
  private seen = false;

  constructor(clock: Clock, lives: AppLives, onGone: () => void) {
    this.clock = clock;
    this.lives = lives;
    this.onGone = onGone;
  }

  start(): void {
    const alive = this.lives();
    if (this.seen && !alive) {
      this.onGone();
      return;
    }
    this.seen ||= alive;
    this.timer = this.clock.after(this.seen ? WATCH_MS : SEEK_MS, () => this.start());
  }

  close(): void {
    this.timer?.cancel();
  }
}

/** By /proc (proc(5)): a living process of another user than `uid`, the namespace's first one left out. */
export function appLives(uid: number): AppLives {
  return () => readdirSync('/proc').some((name) => /^[0-9]+$/.test(name) && name !== '1' && isApp(name, uid));
}

function isApp(pid: string, uid: number): boolean {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1');
    const state = /^State:\s+(\S)/m.exec(status)?.[1];
    const effective = /^Uid:\s+\d+\s+(\d+)/m.exec(status)?.[1];
    return state !== 'Z' && state !== 'X' && Number(effective) !== uid;
  } catch {
    // It ended while we looked.
    return false;
  }
}
