/** What `Connection` says (RFC 9110 section 7.6.1), and which fields a sender may not touch by it or by trailers. */
import { isToken } from './chars.ts';

/**
 * Fields meant for every recipient. RFC 9110 forbids a sender to nominate such; obeying would let a client strip what a
 * proxy before us vouched for (identity, addresses, trace), so a request that does it is refused.
 */
const NOT_TO_NOMINATE = new Set(
  (
    'host content-length content-type content-encoding content-range transfer-encoding expect range authorization ' +
    'proxy-authorization cookie origin referer forwarded via x-real-ip x-request-id traceparent tracestate baggage b3 ' +
    'cache-control user-agent date accept'
  ).split(' '),
);
const NOT_TO_NOMINATE_PREFIXES = ['x-forwarded-', 'x-envoy-', 'x-b3-', 'x-istio-', 'weft-', 'grpc-', 'sec-', 'if-'];

/**
 * Fields that mean nothing, or the wrong thing, after a body (RFC 9110 section 6.5.1): framing, routing, authentication,
 * content and response control. They are dropped, not refused: head and body stood alone and unambiguous before them,
 * and nothing of them goes on.
 */
const NOT_IN_TRAILERS = new Set(
  (
    'authorization proxy-authorization proxy-authenticate proxy-authentication-info authentication-info www-authenticate ' +
    'cookie set-cookie content-encoding content-type content-range content-location trailer cache-control max-forwards range ' +
    'pragma age date expires location retry-after vary warning origin forwarded via x-real-ip x-request-id traceparent ' +
    'tracestate baggage b3 proxy-status'
  ).split(' '),
);
const NOT_IN_TRAILERS_PREFIXES = ['x-forwarded-', 'x-envoy-', 'x-b3-', 'x-istio-', 'weft-', 'sec-', 'if-'];

export function mayBeNominated(name: string): boolean {
  return !NOT_TO_NOMINATE.has(name) && !NOT_TO_NOMINATE_PREFIXES.some((prefix) => name.startsWith(prefix));
}

/** `name` in lower case; an underscore counts as the hyphen that some servers take it for. */
export function mayBeTrailer(name: string): boolean {
  const dashed = name.includes('_') ? name.replaceAll('_', '-') : name;
  return !NOT_IN_TRAILERS.has(dashed) && !NOT_IN_TRAILERS_PREFIXES.some((prefix) => dashed.startsWith(prefix));
}

/** The options of all `Connection` fields of one head. */
export class ConnectionOptions {
  close = false;
  keepAlive = false;
  upgrade = false;
  /** Other field names nominated, lower case. */
  nominated: string[] | null = null;

  clear(): void {
    this.close = false;
    this.keepAlive = false;
    this.upgrade = false;
    this.nominated = null;
  }

  /** Adds one field's value; false if it is no list of tokens. */
  add(value: string): boolean {
    // The two spellings that nearly all heads have, without taking a list apart.
    if (value === 'keep-alive') {
      this.keepAlive = true;
      return true;
    }
    if (value === 'close') {
      this.close = true;
      return true;
    }
    for (const part of value.split(',')) {
      const option = part.trim().toLowerCase();
      if (option === '') continue;
      if (!isToken(option)) return false;
      this.addOption(option);
    }
    return true;
  }

  private addOption(option: string): void {
    switch (option) {
      case 'close':
        this.close = true;
        break;
      case 'keep-alive':
        this.keepAlive = true;
        break;
      case 'upgrade':
        this.upgrade = true;
        break;
      case 'te':
        break;
      default:
        (this.nominated ??= []).push(option);
    }
  }
}
