/** Nobody mends a thousand mistakes at once, and a log line or kubectl's terminal cannot hold them. */
import type { Complaint } from '../../proxy/config/wording.ts';

const MAX_COMPLAINTS = 20;

/** The first of them, and how many more there are, at the place where these begin. */
export function bounded(complaints: readonly Complaint[]): Complaint[] {
  const path = complaints[MAX_COMPLAINTS]?.path.slice(0, 2) ?? [];
  return [...complaints.slice(0, MAX_COMPLAINTS), ...andMore(complaints.length - MAX_COMPLAINTS, path)];
}

/** None where `count` is not above zero. */
export function andMore(count: number, path: Complaint['path']): Complaint[] {
  return count > 0 ? [{ path, message: `and ${count} more`, advice: '', at: 'key' }] : [];
}
