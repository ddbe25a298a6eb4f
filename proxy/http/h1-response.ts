/** From a scanned section to a ResponseHead: framing by status, request method and fields (RFC 9112 section 6.3). */
import { type Fault, fault } from './faults.ts';
import { endToEndFields, SpecialFields } from './field-section.ts';
import type { HeadScanner } from './head-scanner.ts';
import { ResponseHead, UNKNOWN_LENGTH, UNTIL_CLOSE } from './message.ts';

const UNASKED_SWITCH = fault('upgrade', '101 to a request that asked for no upgrade');
const WRONG_SWITCH = fault('upgrade', '101 without the protocol that was asked for');
const BODY_NOT_ALLOWED = fault('length', 'a body announced by a response that has none (1xx, 204, CONNECT)');

/** Shared by all responses of a thread: filled and read within one call of buildResponse. */
const special = new SpecialFields();

/** The head in `scanner`, or what is wrong with it; `method` and `upgrade` of the request that it answers. */
export function buildResponse(scanner: HeadScanner, method: string, upgrade: string | null): ResponseHead | Fault {
  const { text, status, version } = scanner;
  const reason = special.read(scanner) ?? checkSwitch(status, version, upgrade);
  if (reason !== null) return reason;
  const bodiless = isInterim(status) || status === 204 || isTunnel(method, status);
  if (bodiless && (special.chunked || special.length > 0)) return BODY_NOT_ALLOWED;
  const empty = bodiless || method === 'HEAD' || status === 304;
  const length = empty ? 0 : bodyLength();
  const { connection } = special;
  return new ResponseHead(
    status,
    text.slice(scanner.reasonStart, scanner.reasonEnd),
    endToEndFields(scanner, connection.nominated, null),
    length,
    empty && !bodiless ? special.length : -1,
    version,
    connection.close || (version === 10 && !connection.keepAlive) || length === UNTIL_CLOSE,
    special.keepAlive === null ? -1 : timeoutOf(special.keepAlive),
    status === 101 ? special.upgrade : null,
  );
}

export function isInterim(status: number): boolean {
  return status < 200;
}

/** True if the connection becomes a tunnel after this head. */
function isTunnel(method: string, status: number): boolean {
  return status === 101 || (method === 'CONNECT' && status >= 200 && status < 300);
}

function bodyLength(): number {
  if (special.chunked) return UNKNOWN_LENGTH;
  return special.length >= 0 ? special.length : UNTIL_CLOSE;
}

/** RFC 9110 section 15.2.2: a server switches only to what was offered, and names it. */
function checkSwitch(status: number, version: number, upgrade: string | null): Fault | null {
  if (status !== 101) return null;
  if (upgrade === null) return UNASKED_SWITCH;
  const named = special.upgrade !== null && special.upgrade.toLowerCase() === upgrade.toLowerCase();
  return named && version === 11 && special.connection.upgrade ? null : WRONG_SWITCH;
}

/** Seconds of `timeout=` in a Keep-Alive value, -1 without. */
function timeoutOf(keepAlive: string): number {
  const match = /(?:^|[\s,;])timeout="?([0-9]{1,6})(?![0-9])/i.exec(keepAlive);
  return match === null ? -1 : Number(match[1]);
}
