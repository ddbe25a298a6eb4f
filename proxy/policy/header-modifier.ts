/**
 * RequestHeaderModifier and ResponseHeaderModifier (Gateway API v1, HTTPHeaderFilter): removes, sets and adds fields,
 * in this order. The API leaves the order open; as in Envoy removal comes first, so that no filter takes away what it
 * has written itself.
 */
import type { Fields } from '../http/message.ts';
import { fieldProblem } from './field-rules.ts';
import type { Policy, PolicyKind } from './policy.ts';

type NameValue = readonly [string, string];

/** Names in the case in which they go out; fieldProblem has nothing against any of them. */
export interface HeaderModifierConfig {
  readonly set: readonly NameValue[];
  readonly add: readonly NameValue[];
  readonly remove: readonly string[];
}

class HeaderChanges {
  private readonly set: readonly NameValue[];
  private readonly add: readonly NameValue[];
  private readonly remove: readonly string[];

  /** Throws where fieldProblem has something against a field: compile must have refused it. */
  constructor(config: HeaderModifierConfig) {
    for (const [name, value] of config.set) assertWritable(name, value);
    for (const [name, value] of config.add) assertWritable(name, value);
    for (const name of config.remove) assertWritable(name, '');
    this.set = config.set;
    this.add = config.add;
    this.remove = config.remove.map((name) => name.toLowerCase());
  }

  apply(fields: Fields): void {
    const { set, add, remove } = this;
    for (let i = 0; i < remove.length; i++) fields.remove(remove[i] as string);
    for (let i = 0; i < set.length; i++) {
      const field = set[i] as NameValue;
      fields.set(field[0], field[1]);
    }
    for (let i = 0; i < add.length; i++) {
      const field = add[i] as NameValue;
      fields.append(field[0], field[1]);
    }
  }
}

function assertWritable(name: string, value: string): void {
  const problem = fieldProblem(name, value);
  if (problem !== null) throw new Error(problem);
}

class RequestHeaderModifier implements Policy {
  readonly kind = 'RequestHeaderModifier';
  private readonly changes: HeaderChanges;

  constructor(config: HeaderModifierConfig) {
    this.changes = new HeaderChanges(config);
  }

  onRequest(head: { readonly fields: Fields }): undefined {
    this.changes.apply(head.fields);
  }
}

class ResponseHeaderModifier implements Policy {
  readonly kind = 'ResponseHeaderModifier';
  private readonly changes: HeaderChanges;

  constructor(config: HeaderModifierConfig) {
    this.changes = new HeaderChanges(config);
  }

  onResponse(head: { readonly fields: Fields }): void {
    this.changes.apply(head.fields);
  }
}

export const REQUEST_HEADER_MODIFIER: PolicyKind = {
  kind: 'RequestHeaderModifier',
  prepare: (config) => new RequestHeaderModifier(config as HeaderModifierConfig),
};

export const RESPONSE_HEADER_MODIFIER: PolicyKind = {
  kind: 'ResponseHeaderModifier',
  prepare: (config) => new ResponseHeaderModifier(config as HeaderModifierConfig),
};
