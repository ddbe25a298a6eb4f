import { describe, expect, test } from 'vitest';
import { Fields, type RequestHead, type ResponseHead } from '../../../proxy/http/message.ts';
import type { Decision, LocalAnswer, Policy, PolicyContext } from '../../../proxy/policy/policy.ts';
import { PolicyChain, prepare } from '../../../proxy/policy/runner.ts';
import { requestHead, responseHead } from './heads.ts';

const CONTEXT: PolicyContext = { direction: 'outbound', principal: '', sourceAddress: '127.0.0.1' };
const ANSWER: LocalAnswer = { status: 418, failure: null, detail: '', headers: [], body: '' };

class Verdicts {
  readonly heard: (LocalAnswer | undefined)[] = [];

  policiesDone(answer: LocalAnswer | undefined): void {
    this.heard.push(answer);
  }
}

/** Notes its name in the request and in the response, then says `decision`. */
function noting(name: string, decision?: LocalAnswer): Policy {
  return {
    kind: name,
    onRequest: (head: RequestHead): Decision => {
      head.fields.append('seen', name);
      return decision;
    },
    onResponse: (head: ResponseHead): void => head.fields.append('seen', name),
  };
}

/** Waits, and hands its resume function out. */
class Waiting implements Policy {
  readonly kind = 'Waiting';
  readonly waits = true;
  resume: (decision: Decision) => void = () => {
    throw new Error('nobody waits');
  };

  onRequest(_head: RequestHead, _context: PolicyContext, resume: (decision: Decision) => void): Decision {
    this.resume = resume;
    return 'pending';
  }
}

describe('a chain', () => {
  test('asks its policies in the order written and goes on if none answers', () => {
    const head = requestHead();
    const decision = new PolicyChain([noting('a'), noting('b')]).request(head, CONTEXT, new Verdicts());
    expect(decision).toBeUndefined();
    expect(head.fields.getAll('seen')).toEqual(['a', 'b']);
  });

  test('stops at the first local answer', () => {
    const head = requestHead();
    const chain = new PolicyChain([noting('a'), noting('b', ANSWER), noting('c')]);
    expect(chain.request(head, CONTEXT, new Verdicts())).toBe(ANSWER);
    expect(head.fields.getAll('seen')).toEqual(['a', 'b']);
  });

  test('shows responses to its policies in reverse order', () => {
    const head = responseHead();
    new PolicyChain([noting('a'), noting('b'), { kind: 'none' }]).response(head, requestHead(), CONTEXT);
    expect(head.fields.getAll('seen')).toEqual(['b', 'a']);
  });

  test('without filters does nothing at all', () => {
    const chain = prepare([]);
    const head = requestHead(new Fields(['a'], ['b']));
    expect(chain.request(head, CONTEXT, new Verdicts())).toBeUndefined();
    expect(head.fields.wire).toBe('a: b\r\n');
    expect(chain.policies).toEqual([]);
  });

  test('refuses a kind that is not in the registry', () => {
    expect(() => prepare([{ kind: 'Teleport', config: {} }])).toThrow('Teleport');
  });
});

describe('a policy that waits', () => {
  test('holds the chain until it resumes, then the rest runs and the waiter hears the verdict once', () => {
    const waiting = new Waiting();
    const verdicts = new Verdicts();
    const head = requestHead();
    const chain = new PolicyChain([noting('a'), waiting, noting('b')]);
    expect(chain.request(head, CONTEXT, verdicts)).toBe('pending');
    expect(head.fields.getAll('seen')).toEqual(['a']);
    waiting.resume(undefined);
    waiting.resume(ANSWER);
    expect(head.fields.getAll('seen')).toEqual(['a', 'b']);
    expect(verdicts.heard).toEqual([undefined]);
  });

  test('can answer, and then nothing after it runs', () => {
    const waiting = new Waiting();
    const verdicts = new Verdicts();
    const head = requestHead();
    new PolicyChain([waiting, noting('b')]).request(head, CONTEXT, verdicts);
    waiting.resume(ANSWER);
    expect(head.fields.getAll('seen')).toEqual([]);
    expect(verdicts.heard).toEqual([ANSWER]);
  });

  test('may be followed by another one that waits', () => {
    const first = new Waiting();
    const second = new Waiting();
    const verdicts = new Verdicts();
    new PolicyChain([first, second, noting('c', ANSWER)]).request(requestHead(), CONTEXT, verdicts);
    first.resume(undefined);
    expect(verdicts.heard).toEqual([]);
    second.resume(undefined);
    expect(verdicts.heard).toEqual([ANSWER]);
  });

  test('keeps the requests of one chain apart', () => {
    const waiting = new Waiting();
    const chain = new PolicyChain([waiting, noting('b')]);
    const [one, two] = [new Verdicts(), new Verdicts()];
    chain.request(requestHead(), CONTEXT, one);
    const resumeOne = waiting.resume;
    chain.request(requestHead(), CONTEXT, two);
    resumeOne(ANSWER);
    expect([one.heard, two.heard]).toEqual([[ANSWER], []]);
  });

  test('must say so: resuming without the mark is a bug', () => {
    const liar: Policy = {
      kind: 'Liar',
      onRequest: (_head, _context, resume) => {
        resume(undefined);
        return 'pending';
      },
    };
    expect(() => new PolicyChain([liar]).request(requestHead(), CONTEXT, new Verdicts())).toThrow('not marked');
  });
});
