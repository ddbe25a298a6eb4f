/**
 * The fields that say where a request came from: kept from callers that CONTRACT trusts, replaced for all others, so
 * that an application can believe what it reads. One pass over the names; most requests have none of them.
 */
import type { Random } from '../../shared/random.ts';
import { ownCopy } from '../http/h2-names.ts';
import { type Fields, initialOf, type RequestHead } from '../http/message.ts';
import type { PolicyContext } from './policy.ts';

/** What stamping must know of the caller beyond what policies may. */
export interface Sender extends PolicyContext {
  /** SHA-256 of the verified certificate, hex; empty without. */
  readonly certificateHash: string;
  /** Its forwarding headers are believed (CONTRACT, "What a caller sees"). */
  readonly trusted: boolean;
  /** Its connection is TLS. */
  readonly encrypted: boolean;
}

const LOWER_F = 0x66;
const LOWER_X = 0x78;
const LOWER_W = 0x77;
const ASCII_CASE = 0x20;
const STAMPED: number = initialOf(LOWER_F) | initialOf(LOWER_X) | initialOf(LOWER_W);
const NONE: readonly string[] = [];
/** A longer one is replaced: it stands in every log line on the way. */
const MAX_REQUEST_ID = 128;

const CERT = 'x-forwarded-client-cert';
/** Between sidecars: what the first caller spoke, where the hop between them does not show it. */
const ORIGIN = 'weft-origin';
/** Time left for the request, in milliseconds. */
export const DEADLINE = 'weft-deadline-ms';
/** Sent from the second attempt on: whoever gets it does not multiply attempts by its own. */
export const ATTEMPT = 'weft-attempt';
/** Longer digits are no time or count that a sidecar sends. */
const MAX_DIGITS = 9;

/** Beside all `x-forwarded-` and `x-envoy-` fields. */
const FORWARDED_NAMES: ReadonlySet<string> = new Set(['forwarded', 'x-real-ip', 'x-request-id']);

// What a name is to a sidecar; numbers, since every request of the mesh has some of them.
const OTHER = 0;
/** Between sidecars, and ends at each. */
const HOP = 1;
const FORWARDED = 2;
const REQUEST_ID = 3;
const PROTO = 4;
const CLIENT_CERT = 5;
/** What a server might take for the client certificate's. */
const CLIENT_CERT_TWIN = 6;

/** Names as they came, met before. */
const MOST_NAMES = 1024;
const LONGEST_NAME = 64;
const kinds = new Map<string, number>();

function kindOf(name: string): number {
  let kind = kinds.get(name);
  if (kind === undefined) {
    kind = tell(name.toLowerCase());
    if (kinds.size >= MOST_NAMES) kinds.clear();
    if (name.length <= LONGEST_NAME) kinds.set(ownCopy(name), kind);
  }
  return kind;
}

/** Some servers take an underscore for a hyphen, so names are judged as if they did. */
function tell(lower: string): number {
  const dashed = lower.replaceAll('_', '-');
  if (dashed.startsWith('weft-')) return HOP;
  if (dashed === CERT) return lower === CERT ? CLIENT_CERT : CLIENT_CERT_TWIN;
  if (lower === 'x-request-id') return REQUEST_ID;
  if (lower === 'x-forwarded-proto') return PROTO;
  const forwarded = dashed.startsWith('x-forwarded-') || dashed.startsWith('x-envoy-') || FORWARDED_NAMES.has(dashed);
  return forwarded ? FORWARDED : OTHER;
}

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
    const kind = kindOf(name);
    if (kind === OTHER) continue;
    const value = fields.values[i] as string;
    if (kind === HOP && caller.principal !== '') readHop(head, name.toLowerCase(), value);
    if (!passes(kind, caller)) {
      fields.removeAt(i);
      i--;
    } else if (kind === REQUEST_ID) {
      hasRequestId = true;
      requestId = value;
    } else if (kind === PROTO) {
      hasProto = true;
    } else if (kind === CLIENT_CERT) {
      clientCert = clientCert === '' ? value : `${clientCert},${value}`;
    }
  }
  if (requestId === '' || requestId.length > MAX_REQUEST_ID) {
    if (hasRequestId) fields.remove('x-request-id');
    requestId = random.uuid();
    fields.append('x-request-id', requestId);
  }
  if (!hasProto) fields.append('x-forwarded-proto', schemeOf(head, caller));
  if (!caller.trusted) fields.append('x-forwarded-for', caller.sourceAddress);
  if (caller.direction === 'inbound' && caller.principal !== '') appendClientCert(fields, clientCert, caller, own);
  return requestId;
}

/** A target in absolute form and `:scheme` are the caller's own words: of a stranger we believe what we see. */
function schemeOf(head: RequestHead, { trusted, encrypted }: Sender): 'http' | 'https' {
  if (trusted) return head.scheme;
  return encrypted ? 'https' : 'http';
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

/** May this field of the caller reach the far side? */
function passes(kind: number, caller: Sender): boolean {
  if (kind === HOP || kind === CLIENT_CERT_TWIN) return false;
  return kind === CLIENT_CERT ? caller.principal !== '' : caller.trusted;
}

/** Envoy's APPEND_FORWARD: one element per hop, the last is ours. */
function appendClientCert(fields: Fields, before: string, caller: Sender, own: string): void {
  const element = `By=${own};Hash=${caller.certificateHash};Subject="";URI=${caller.principal}`;
  fields.set(CERT, before === '' ? element : `${before},${element}`);
}
