/**
 * ConsistentHash: equal requests go to the same endpoint from every sidecar, and few move when endpoints come and go.
 *
 * RingHash (Karger; Ketama's points) moves exactly the share of what went or came, but is uneven by some percent.
 * Maglev (Eisenbud and others, NSDI 2016, section 3.4) is even to a percent and moves a little more. Both are one table
 * in which neighbours belong to others, so an endpoint that was tried gives way to the next entry.
 */
import type { Pickable, Picker, PickerKind } from '../picker.ts';
import { hash32, mix32 } from './hash.ts';
import { layOutTurns, mark, placesInOrder, sharesOf } from './turns.ts';

/** Entries hold places in `endpoints`; every endpoint has at least one. */
abstract class HashTable<E extends Pickable> implements Picker<E> {
  private readonly endpoints: readonly E[];
  private readonly table: Uint32Array;

  constructor(endpoints: readonly E[], table: Uint32Array) {
    this.endpoints = endpoints;
    this.table = table;
  }

  pick(tried: readonly E[] | null, hash = 0): E {
    const { endpoints, table } = this;
    const entry = this.entryOf(hash);
    const first = endpoints[table[entry] as number] as E;
    if (tried === null || !tried.includes(first)) return first;
    // Counting does not tell: what was tried may have left the table since.
    if (endpoints.every((endpoint) => tried.includes(endpoint))) return first;
    for (let step = 1; step < table.length; step++) {
      const next = entry + step;
      const endpoint = endpoints[table[next < table.length ? next : next - table.length] as number] as E;
      if (!tried.includes(endpoint)) return endpoint;
    }
    return first;
  }

  protected abstract entryOf(hash: number): number;
}

/** A prime (Envoy's default), above 100 times the endpoints of all but the largest clusters. */
const MAGLEV_SIZE = 65_537;

class Maglev<E extends Pickable> extends HashTable<E> {
  constructor(endpoints: readonly E[]) {
    super(endpoints, fillMaglev(endpoints));
  }

  protected entryOf(hash: number): number {
    return hash % MAGLEV_SIZE;
  }
}

/** Endpoints take turns, by weight, in claiming the next free entry of their own permutation. */
function fillMaglev(endpoints: readonly Pickable[]): Uint32Array {
  const free = 0xffff_ffff;
  const table = new Uint32Array(MAGLEV_SIZE).fill(free);
  const order = placesByKey(endpoints);
  const ordered = order.map((place) => endpoints[place] as Pickable);
  const turns = layOutTurns(
    sharesOf(
      ordered.map((endpoint) => endpoint.weight),
      MAGLEV_SIZE,
    ),
  );
  const next = Uint32Array.from(ordered, (endpoint) => hash32(endpoint.key) % MAGLEV_SIZE);
  const skip = Uint32Array.from(ordered, (endpoint) => (hash32(endpoint.key, 1) % (MAGLEV_SIZE - 1)) + 1);
  for (let filled = 0, turn = 0; filled < MAGLEV_SIZE; filled++) {
    const rank = turns[turn] as number;
    const step = skip[rank] as number;
    let entry = next[rank] as number;
    while (table[entry] !== free) entry = entry + step < MAGLEV_SIZE ? entry + step : entry + step - MAGLEV_SIZE;
    table[entry] = order[rank] as number;
    next[rank] = entry;
    turn = turn + 1 === turns.length ? 0 : turn + 1;
  }
  return table;
}

/**
 * Points of the heaviest endpoint, others have their weight's share of it: a number that does not depend on how many
 * endpoints there are, so that adding one moves nothing between the others. Ketama's 160 give shares within some 8 %.
 */
const POINTS = 160;
/** Of the whole ring, which must be sorted while requests wait; more than 200 endpoints have fewer points each. */
const MAX_POINTS = 32_768;

/** Equal arcs of the ring, each belonging to the first point at or after its start: a pick reads one, and searches nothing. */
const ARC_BITS = 16;
const ARC_SHIFT = 32 - ARC_BITS;

class RingHash<E extends Pickable> extends HashTable<E> {
  constructor(endpoints: readonly E[]) {
    super(endpoints, fillArcs(endpoints));
  }

  protected entryOf(hash: number): number {
    return hash >>> ARC_SHIFT;
  }
}

function fillArcs(endpoints: readonly Pickable[]): Uint32Array {
  const { points, places } = layRing(endpoints);
  const arcs = new Uint32Array(2 ** ARC_BITS);
  const owned = new Uint8Array(endpoints.length);
  let next = 0;
  for (let arc = 0; arc < arcs.length; arc++) {
    while (next < points.length && (points[next] as number) < arc * 2 ** ARC_SHIFT) next++;
    const place = places[next === points.length ? 0 : next] as number;
    arcs[arc] = place;
    owned[place] = 1;
  }
  // Who has few points may have them all in arcs of others: then the arc of its first one.
  for (let i = 0; i < points.length; i++) {
    const place = places[i] as number;
    if (owned[place] === 1) continue;
    arcs[(points[i] as number) >>> ARC_SHIFT] = place;
    owned[place] = 1;
  }
  return arcs;
}

function layRing(endpoints: readonly Pickable[]): { points: Uint32Array; places: Uint32Array } {
  const order = placesByKey(endpoints);
  const shares = pointsOf(order.map((place) => (endpoints[place] as Pickable).weight));
  const marks = new Float64Array(shares.reduce((sum, share) => sum + share, 0));
  let filled = 0;
  for (const [rank, place] of order.entries()) {
    const own = hash32((endpoints[place] as Pickable).key);
    const share = shares[rank] as number;
    for (let k = 0; k < share; k++) marks[filled++] = mark(mix32(own + Math.imul(k, GOLDEN)), rank, order.length);
  }
  const ranks = placesInOrder(marks, order.length);
  const points = new Uint32Array(marks.length);
  for (let i = 0; i < marks.length; i++) points[i] = Math.floor((marks[i] as number) / order.length);
  return { points, places: ranks.map((rank) => order[rank] as number) };
}

/** How many points each of these weights has on the ring. */
function pointsOf(weights: readonly number[]): number[] {
  const heaviest = Math.max(...weights);
  const most = Math.min(POINTS, Math.floor(MAX_POINTS / weights.length));
  return weights.map((weight) => Math.max(1, Math.round((most * weight) / heaviest)));
}

/** 2^32 by the golden ratio: steps by it reach evenly spread numbers. */
const GOLDEN = 0x9e37_79b1;

/** By key, so that every sidecar makes the same table whatever order it learned the endpoints in. */
function placesByKey(endpoints: readonly Pickable[]): number[] {
  const keys = endpoints.map((endpoint) => endpoint.key);
  return keys
    .map((_, place) => place)
    .sort((a, b) => {
      const [one, other] = [keys[a] as string, keys[b] as string];
      return one < other ? -1 : one > other ? 1 : 0;
    });
}

export const RING_HASH: PickerKind = { type: 'RingHash', build: (endpoints) => new RingHash(endpoints) };
export const MAGLEV: PickerKind = { type: 'Maglev', build: (endpoints) => new Maglev(endpoints) };
