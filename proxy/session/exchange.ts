/**
 * One request and its answer: the state between a downstream stream and the attempts upstream.
 *
 * Every field is set in the constructor in one order, so that all exchanges have one shape. It keeps the snapshot it
 * started with and is judged by that alone. `finish` runs exactly once, whatever ends it.
 */
import { FAILURES, type Failure } from '../../shared/errors.ts';
import type { Backend, Destination, LinkedSnapshot, Route } from '../config/link.ts';
import { type Fields, isGrpc, type RequestHead, type ResponseHead } from '../http/message.ts';
import type { DownstreamStream } from '../http/stream.ts';
import { chooseBackend } from '../policy/choice.ts';
import { stampForwarding } from '../policy/forwarding-fields.ts';
import type { LocalAnswer } from '../policy/policy.ts';
import type { PolicyWaiter } from '../policy/runner.ts';
import { type RequestRecord, responseFlags } from '../telemetry/record.ts';
import { clientSpan, serverSpan } from '../telemetry/span.ts';
import type { Cluster } from '../upstream/cluster.ts';
import type { Endpoint } from '../upstream/endpoint.ts';
import { mayUpgrade } from '../upstream/spec.ts';
import { denialOf, destinationOf, keepsAbsolute, nameHost } from './admission.ts';
import type { Caller } from './caller.ts';
import { attemptRecord, ExchangeTrace } from './exchange-trace.ts';
import { Forward } from './forward.ts';
import type { ForwardHost } from './forward-host.ts';
import { endingCode, grpcRefusal, grpcStatus, grpcTrailers, localReply } from './grpc.ts';
import { type Mirrors, startMirrors } from './mirrors.ts';
import { dropForgedRefusal, type Reply, refusal } from './reply.ts';
import type { Judged, Room } from './room.ts';
import { keepCaller, keptEndpoint } from './sticky.ts';
import { hopLines, type TimeLimits, timeLimits } from './time-left.ts';

export class Exchange implements ForwardHost, PolicyWaiter, Judged {
  readonly head: RequestHead;
  private readonly room: Room;
  private readonly snapshot: LinkedSnapshot;
  private readonly caller: Caller;
  private readonly downstream: DownstreamStream;
  private readonly startedAt: number;
  private requestId = '';
  /** null without tracing. */
  private trace: ExchangeTrace | null = null;
  private route: Route | null = null;
  /** null: what the request names is not known, or nobody has looked. */
  private destination: Destination | null = null;
  private backend: Backend | null = null;
  private forward: Forward | null = null;
  /** null for the many requests that no time bounds. */
  private limits: TimeLimits | null = null;
  /** null for the many requests that are mirrored nowhere. */
  private copies: Mirrors | null = null;
  /** Policies have not decided: one read may wait here, for of a caller that is not read nobody notices that it goes. */
  private undecided = false;
  private waitFlag = '';
  private early: Buffer[] | null = null;
  private requestEnded = false;
  private requestTrailers: Fields | null = null;
  private requestBytes = 0;
  private responseBytes = 0;
  private status = 0;
  private headSent = false;
  private readonly grpc: boolean;
  private grpcStatus = -1;
  private failure: Failure | null = null;
  private detail = '';
  private finished = false;

  constructor(room: Room, snapshot: LinkedSnapshot, caller: Caller, downstream: DownstreamStream, head: RequestHead) {
    this.room = room;
    this.snapshot = snapshot;
    this.caller = caller;
    this.downstream = downstream;
    this.head = head;
    this.grpc = isGrpc(head);
    this.startedAt = room.io.clock.now();
    room.openRequests++;
  }

  start(): void {
    const { room, head } = this;
    if (room.io.overload.refusesRequest(this.startedAt)) {
      this.refuse(FAILURES.overloaded, `the event loop is ${Math.round(room.io.overload.delayMs)} ms late`);
      return;
    }
    // First the caller's context: most callers send none, which the initials tell until we add an `x-request-id`.
    if (room.story.sampler !== null) this.trace = new ExchangeTrace(head.fields, room.story.sampler, room.io.random);
    this.requestId = stampForwarding(head, this.caller, room.io.mesh?.identity.spiffeId ?? '', room.io.random);
    const destination = destinationOf(room, this.snapshot, this.caller, head.authority);
    if ('failure' in destination) {
      this.refuse(destination.failure, destination.detail);
      return;
    }
    if (head.authority === '') nameHost(room, head, destination, this.caller.original);
    if (head.absolute) head.absolute = keepsAbsolute(this.caller, destination);
    const { routes, otherwise } = destination;
    const route = routes === null ? otherwise : (routes.lookup(head.method, head.path, head.fields) ?? otherwise);
    this.route = route;
    this.destination = destination;
    const decision = route.policies.request(head, this.caller, this);
    if (decision === 'pending') {
      this.undecided = true;
      this.waitFlag = route.policies.waitFlag;
    } else {
      this.decided(decision);
    }
  }

  policiesDone(decision: LocalAnswer | undefined): void {
    if (this.finished) return;
    this.undecided = false;
    this.decided(decision);
    this.downstream.resumeRequest();
  }

  // What the caller does

  receiveBytes(bytes: Buffer, start: number, end: number): void {
    this.requestBytes += end - start;
    this.limits?.touch();
    if (this.undecided) {
      (this.early ??= []).push(Buffer.from(bytes.subarray(start, end)));
      this.downstream.pauseRequest();
      return;
    }
    this.copies?.sendBytes(bytes, start, end);
    if (this.forward?.sendBytes(bytes, start, end) === true) this.downstream.pauseRequest();
  }

  receiveEnd(trailers: Fields | null): void {
    this.requestEnded = true;
    this.requestTrailers = trailers;
    this.copies?.sendEnd(trailers);
    this.forward?.sendEnd(trailers);
  }

  /** After 101: the caller's side of the new protocol is at its end. */
  receiveTunnelEnd(): void {
    this.forward?.sendTunnelEnd();
  }

  /** The caller closed, stalled, or sent what cannot be read: nothing can be told to it any more. */
  abandon(failure: Failure, detail: string): void {
    if (this.finished) return;
    this.fail(failure, detail);
    this.forward?.cancel(failure);
    this.finish();
  }

  /** It cannot go on, by the caller's fault or our own decision; the answer says so if none has started, else it is cut. */
  spoil(failure: Failure, detail: string): void {
    if (this.finished) return;
    this.forward?.cancel(failure);
    if (this.headSent) this.breakOff(failure, detail);
    else this.refuse(failure, detail);
  }

  /** After 101 nothing else looks at what policy says by then. */
  judgeAgain(snapshot: LinkedSnapshot): void {
    const denial = denialOf(this.room, snapshot, this.caller);
    if (denial !== null) this.spoil(denial.failure, denial.detail);
  }

  downstreamCongested(): void {
    this.forward?.pause();
  }

  downstreamWritable(): void {
    this.forward?.resume();
  }

  // What the attempts say

  attemptLines(attempt: number, toWeft: boolean): string {
    const lines = this.trace === null ? '' : this.trace.lines(this.head.fields, attempt);
    if (!toWeft || (attempt === 1 && this.limits === null)) return lines;
    return lines + hopLines(attempt, this.limits?.leftMs(this.room.io.clock.now()) ?? 0);
  }

  onAttemptEnd(
    endpoint: Endpoint,
    attempt: number,
    startedAt: number,
    status: number,
    failure: Failure | null,
    principal: string,
  ): void {
    const { trace } = this;
    if (trace === null || !trace.sampled || this.caller.direction === 'inbound') return;
    const { clock } = this.room.io;
    const now = clock.now();
    const made = attemptRecord(endpoint.key, startedAt, now, clock.wall(), attempt - 1, status, failure, principal);
    this.room.story.span(clientSpan(this.record(now), made, trace.endAttempt(attempt)));
  }

  onInterim(head: ResponseHead): void {
    this.downstream.sendInterim(head);
  }

  onHead(head: ResponseHead): void {
    if (head.status === 101) this.room.upgraded.add(this);
    if (this.caller.direction === 'inbound' && head.fields.has('proxy-status')) dropForgedRefusal(head.fields);
    this.limits?.answered(head.status);
    keepCaller(head, this.forward, this.route?.session ?? null);
    this.shape(head);
    this.status = head.status;
    this.headSent = true;
    if (this.grpc) this.grpcStatus = grpcStatus(head.fields);
    this.downstream.sendHead(head, head.length);
  }

  onBytes(bytes: Buffer, start: number, end: number): void {
    this.responseBytes += end - start;
    this.limits?.touch();
    this.downstream.sendBytes(bytes, start, end);
  }

  onEnd(trailers: Fields | null): void {
    if (this.grpc) this.grpcStatus = endingCode(trailers, this.grpcStatus, this.status);
    this.finish();
    this.downstream.sendEnd(trailers);
  }

  onFailed(failure: Failure, detail: string): void {
    if (this.headSent) this.breakOff(failure, detail);
    else this.refuse(failure, detail);
  }

  onCongested(): void {
    this.downstream.pauseRequest();
  }

  onWritable(): void {
    if (!this.undecided) this.downstream.resumeRequest();
  }

  private decided(local: LocalAnswer | undefined): void {
    if (local !== undefined) {
      this.answerLocally(localReply(local, this.grpc), local.failure, local.detail);
      return;
    }
    const route = this.route as Route;
    if (!route.found) {
      this.refuse(FAILURES.noRoute, '');
      return;
    }
    const backend = chooseBackend(route, this.room.io.random.float());
    const cluster = backend?.cluster ?? null;
    if (backend === null || cluster === null) {
      this.refuse(FAILURES.invalidBackend, '');
      return;
    }
    const { upgrade } = this.head;
    if (upgrade !== null && !mayUpgrade(route.upgrades, upgrade)) {
      this.refuse(FAILURES.upgradeRefused, `Upgrade: ${upgrade} is not allowed by TrafficPolicy httpUpgrade`);
      return;
    }
    this.backend = backend;
    const decision = backend.policies.request(this.head, this.caller, this);
    if (decision !== undefined && decision !== 'pending') {
      this.answerLocally(localReply(decision, this.grpc), decision.failure, decision.detail);
      return;
    }
    this.dispatch(route, cluster);
  }

  private dispatch(route: Route, cluster: Cluster): void {
    this.limits = timeLimits(this.room.io, route, this.head, this.grpc, this);
    const forward = new Forward(this.room, this, cluster, this.head, route);
    if (cluster.hash !== null) forward.hash = cluster.hash.of(this.head, this.caller.sourceAddress);
    if (route.session !== null) forward.preferred = keptEndpoint(cluster, this.head, route.session);
    this.copies = startMirrors(this.room, route, this.backend, this.head, this.caller);
    this.forward = forward;
    const refused = forward.start();
    if (refused !== null) {
      this.forward = null;
      this.refuse(refused, '');
    } else if (!this.finished) {
      this.catchUp(forward);
    }
  }

  /** What of the request came while policies waited. */
  private catchUp(forward: Forward): void {
    const { early } = this;
    if (early !== null) {
      this.early = null;
      for (const bytes of early) {
        this.copies?.sendBytes(bytes, 0, bytes.length);
        forward.sendBytes(bytes, 0, bytes.length);
      }
    }
    if (!this.requestEnded) return;
    this.copies?.sendEnd(this.requestTrailers);
    forward.sendEnd(this.requestTrailers);
  }

  private refuse(failure: Failure, detail: string): void {
    const reply = refusal(failure, detail);
    this.answerLocally(this.grpc ? grpcRefusal(reply, failure) : reply, failure, detail);
  }

  /** The answer has begun and cannot be completed: gRPC callers are told why, others see it cut. */
  private breakOff(failure: Failure, detail: string): void {
    this.fail(failure, detail);
    const trailers = this.grpc && this.head.version === 20 ? grpcTrailers(failure, detail) : null;
    if (trailers !== null) this.grpcStatus = grpcStatus(trailers);
    this.finish();
    if (trailers === null) this.downstream.abort();
    else this.downstream.sendEnd(trailers);
  }

  private answerLocally(reply: Reply, failure: Failure | null, detail: string): void {
    if (failure !== null) {
      this.fail(failure, detail);
      if (failure.status === 0) {
        this.finish();
        this.downstream.abort();
        return;
      }
    }
    this.shape(reply.head);
    this.status = reply.head.status;
    this.headSent = true;
    if (this.grpc) this.grpcStatus = endingCode(reply.head.fields, -1, this.status);
    this.responseBytes = reply.body.length;
    this.finish();
    this.downstream.sendHead(reply.head, reply.body.length);
    if (reply.body.length > 0 && this.head.method !== 'HEAD')
      this.downstream.sendBytes(reply.body, 0, reply.body.length);
    this.downstream.sendEnd(null);
  }

  /** Response policies, those near the upstream first. */
  private shape(head: ResponseHead): void {
    this.backend?.policies.response(head, this.head, this.caller);
    this.route?.policies.response(head, this.head, this.caller);
  }

  private fail(failure: Failure, detail: string): void {
    this.failure = failure;
    this.detail = detail;
    this.room.story.refused(failure);
  }

  private finish(): void {
    if (this.finished) return;
    this.finished = true;
    const { room, forward, caller } = this;
    const { story, io } = room;
    this.limits?.clear();
    this.copies?.callerDone(this.requestEnded);
    room.openRequests--;
    if (this.status === 101) room.upgraded.delete(this);
    const now = io.clock.now();
    room.lastBusyAt = now;
    const protocol = this.grpc ? 'grpc' : 'http';
    const series =
      caller.direction === 'inbound'
        ? story.inboundSeries(caller.principal, protocol)
        : story.outboundSeries(this.destination ?? room.unplaced, forward === null ? '' : forward.principal, protocol);
    const flag = responseFlags(this.failure, this.waitFlag);
    series.record(this.status, flag, this.grpcStatus, now - this.startedAt, this.requestBytes, this.responseBytes);
    if (story.log !== null) story.log.request(this.record(now));
    if (this.trace?.sampled === true && caller.direction === 'inbound') {
      story.span(serverSpan(this.record(now), this.trace.context));
    }
  }

  private record(now: number): RequestRecord {
    const { room, head, caller, forward } = this;
    const durationMs = now - this.startedAt;
    return {
      direction: caller.direction,
      startedAt: room.io.clock.wall() - durationMs,
      durationMs,
      upstreamMs: forward === null || forward.headAt < 0 ? -1 : forward.headAt - this.startedAt,
      method: head.method,
      scheme: head.scheme,
      authority: head.authority,
      path: head.path,
      version: head.version,
      status: this.status,
      grpcStatus: this.grpc ? this.grpcStatus : null,
      failure: this.failure,
      waitFlag: this.waitFlag,
      detail: this.detail,
      requestBytes: this.requestBytes,
      responseBytes: this.responseBytes,
      requestId: this.requestId,
      traceId: this.trace?.context.traceId ?? '',
      route: this.route?.name ?? '',
      cluster: forward?.cluster.key ?? '',
      upstream: forward?.endpoint?.key ?? '',
      attempts: forward?.attempts ?? 0,
      downstream: `${caller.sourceAddress}:${caller.sourcePort}`,
      downstreamPrincipal: caller.principal,
      upstreamPrincipal: forward?.principal ?? '',
      userAgent: head.fields.get('user-agent') ?? '',
    };
  }
}
