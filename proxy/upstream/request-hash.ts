/** What equal requests have in common, as a number: the way of a request into consistent hashing. */
import type { Random } from '../../shared/random.ts';
import type { RequestHead } from '../http/message.ts';
import { hash32 } from './balance/hash.ts';
import type { HashSpec } from './spec.ts';

export class RequestHash {
  readonly spec: HashSpec;
  private readonly random: Random;

  constructor(spec: HashSpec, random: Random) {
    this.spec = spec;
    this.random = random;
  }

  /** 32 bits. A request that has none of what is hashed goes anywhere, as under Envoy. */
  of(head: RequestHead, sourceAddress: string): number {
    const { on, names } = this.spec;
    if (on === 'SourceIP') return hash32(sourceAddress);
    let text = '';
    for (const name of names) text += `${valueOf(on, name, head) ?? ''}\n`;
    return text.length === names.length ? this.random.uint32() : hash32(text);
  }

  /** Of opaque bytes nothing is known but where they come from. */
  ofConnection(sourceAddress: string): number {
    return this.spec.on === 'SourceIP' ? hash32(sourceAddress) : this.random.uint32();
  }
}

function valueOf(on: 'Header' | 'Cookie' | 'QueryParam', name: string, head: RequestHead): string | undefined {
  if (on === 'Header') return head.fields.get(name);
  return on === 'Cookie' ? cookieOf(head, name) : parameterOf(head.path, name);
}

/** The value of a cookie (RFC 6265 section 5.4); the first of this name. */
export function cookieOf(head: RequestHead, name: string): string | undefined {
  for (const line of head.fields.getAll('cookie')) {
    for (const pair of line.split(';')) {
      const equals = pair.indexOf('=');
      if (equals > 0 && pair.slice(0, equals).trim() === name) return pair.slice(equals + 1).trim();
    }
  }
  return undefined;
}

/** As written, without unescaping: equal text is equal, and that is all that is asked. */
function parameterOf(path: string, name: string): string | undefined {
  const query = path.indexOf('?');
  if (query < 0) return undefined;
  for (const pair of path.slice(query + 1).split('&')) {
    if (pair.startsWith(`${name}=`)) return pair.slice(name.length + 1);
  }
  return undefined;
}
