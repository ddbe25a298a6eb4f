/**
 * Scanners of this thread that no message needs right now. A head mostly comes whole and needs its scanner for
 * microseconds, so an idle connection holds none.
 */
import { HeadScanner } from './head-scanner.ts';

/** More are in use only while that many heads are half read at once. */
const KEPT = 16;
const free: HeadScanner[] = [];

export function takeScanner(): HeadScanner {
  return free.pop() ?? new HeadScanner();
}

export function giveScannerBack(scanner: HeadScanner): void {
  scanner.release();
  if (free.length < KEPT) free.push(scanner);
}
