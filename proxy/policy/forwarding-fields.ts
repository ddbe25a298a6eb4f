/**
 * The fields that say where a request came from: kept from callers that CONTRACT trusts, replaced for all others, so
 * that an application can believe what it reads. One pass over the names; most requests have none of them.
 */
import type { Random } from '../../shared/random.ts';
import { type Fields, initialOf, type RequestHead } from '../http/message.ts';
import type { PolicyContext } from './policy.ts';

/** What stamping must know of the caller beyond what policies may. */
export interface Sender extends PolicyContext {
  /** SHA-256 of the verified certificate, hex; empty without. */
  readonly certificateHash: string;
  /** Its forwarding headers are believed (CONTRACT, "What a caller sees"). */
  readonly trusted: boolean;
}

const LOWER_F = 0x66;
const LOWER_X = 0x78;
const LOWER_W = 0x77;
const ASCII_CASE = 0x20;
const STAMPED: number = initialOf(LOWER_F) | initialOf(LOWER_X) | initialOf(LOWER_W);
const NONE: readonly string[] = [];
/** A longer one is replaced: it stands in every log line on the way. */
const MAX_REQUEST_ID = 128;

/** Between sidecars: what the first caller spoke, where the hop between them does not show it. */
const ORIGIN = 'weft-origin';
/** Time left for the request, in milliseconds. */
export const DEADLINE = 'weft-deadline-ms';
/** Sent from the second attempt on: whoever gets it does not multiply attempts by its own. */
export const ATTEMPT = 'weft-attempt';
/** Longer digits are no time or count that a sidecar sends. */
const MAX_DIGITS = 9;

/** Beside all `x-forwarded-` and `x-envoy-` fields. */
const FORWARDED: ReadonlySet<string> = new Set(['forwarded', 'x-real-ip', 'x-request-id']);

/** Stamps the request with our view of the caller and returns its request id. `own` is this sidecar's SPIFFE ID. */
export function stampForwarding(head: RequestHead, caller: Sender, own: string, random: Random): string {
  const { fields } = head;
  let requestId = '';
  let hasRequestId = false;
  let hasProto = false;
  let clientCert = '';
  const names = fields.mayHold(STAMPED) ? fields.names : NONE;
  for (let i = 0; i < names.length; i++) {
    const name = names[i] as string;
    const first = name.charCodeAt(0) | ASCII_CASE;
    if (first !== LOWER_X && first !== LOWER_W && first !== LOWER_F) continue;
    const lower = name.toLowerCase();
    if (first === LOWER_W && caller.principal !== '') readHop(head, lower, fields.values[i] as string);
    if (!passes(lower, caller)) {
      fields.remove(lower);
      i--;
    } else if (lower === 'x-request-id') {
      hasRequestId = true;
      requestId = fields.values[i] as string;
    } else if (lower === 'x-forwarded-proto') {
      hasProto = true;
    } else if (lower === 'x-forwarded-client-cert') {
      clientCert = clientCert === '' ? (fields.values[i] as string) : `${clientCert},${fields.values[i]}`;
    }
  }
  if (requestId === '' || requestId.length > MAX_REQUEST_ID) {
    if (hasRequestId) fields.remove('x-request-id');
    requestId = random.uuid();
    fields.append('x-request-id', requestId);
  }
  if (!hasProto) fields.append('x-forwarded-proto', head.scheme);
  if (!caller.trusted) fields.append('x-forwarded-for', caller.sourceAddress);
  if (caller.direction === 'inbound' && caller.principal !== '') appendClientCert(fields, clientCert, caller, own);
  return requestId;
}

/** What the caller's sidecar, whose identity is verified, says of the request. */
function readHop(head: RequestHead, name: string, value: string): void {
  if (name === ORIGIN) head.origin = value === 'http/1.1' ? 11 : 20;
  else if (name === DEADLINE) head.leftMs = wholeNumber(value) ?? -1;
  else if (name === ATTEMPT) head.attempt = wholeNumber(value) ?? 1;
}

function wholeNumber(text: string): number | null {
  return text.length <= MAX_DIGITS && /^[0-9]+$/.test(text) ? Number(text) : null;
}

/**
 * May this field of the caller reach the far side? `weft-` fields are between sidecars and end at each. Some servers take
 * an underscore for a hyphen, so names are judged as if they did.
 */
function passes(lower: string, caller: Sender): boolean {
  const dashed = lower.includes('_') ? lower.replaceAll('_', '-') : lower;
  if (dashed.startsWith('weft-')) return false;
  if (dashed === 'x-forwarded-client-cert') return caller.principal !== '' && lower === dashed;
  if (caller.trusted) return true;
  return !dashed.startsWith('x-forwarded-') && !dashed.startsWith('x-envoy-') && !FORWARDED.has(dashed);
}

/** Envoy's APPEND_FORWARD: one element per hop, the last is ours. */
function appendClientCert(fields: Fields, before: string, caller: Sender, own: string): void {
  const element = `By=${own};Hash=${caller.certificateHash};Subject="";URI=${caller.principal}`;
  fields.set('x-forwarded-client-cert', before === '' ? element : `${before},${element}`);
}
